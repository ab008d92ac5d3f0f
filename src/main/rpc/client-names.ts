import type { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import type { TLSSocket } from 'node:tls';

/** Whose certificates are let in. */
export interface AllowedClients {
  readonly by: 'common name' | 'host name';
  readonly names: readonly string[];
}

/** The common name of a certificate's subject: with several, the last, as in Go; undefined when there is none. */
export function lastCommonName(subject: { readonly CN?: string | string[] } | undefined): string | undefined {
  const names = subject?.CN;
  return Array.isArray(names) ? names.at(-1) : names;
}

/**
 * Why a client that has shown this certificate is not served, or undefined when it is. The certificate's signature is
 * verified elsewhere. Names are compared as etcd does for its peers: common names as they are; host names and
 * addresses with the certificate's alternative names (and their wildcards) alone, never with its common name.
 */
export function clientRefusal(allowed: AllowedClients, socket: TLSSocket): string | undefined {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return 'client certificate authentication failed: there is none';
  const admitted =
    allowed.by === 'common name'
      ? allowed.names.includes(lastCommonName(socket.getPeerCertificate().subject) ?? '')
      : allowed.names.some((name) => isFor(certificate, name));
  if (admitted) return undefined;
  return `client certificate authentication failed: its ${allowed.by} is not allowed (${shown(certificate)})`;
}

function isFor(certificate: X509Certificate, name: string): boolean {
  if (isIP(name) !== 0) return certificate.checkIP(name) !== undefined;
  return certificate.checkHost(name, { subject: 'never', partialWildcards: false }) !== undefined;
}

function shown({ subject, subjectAltName }: X509Certificate): string {
  const alternatives = subjectAltName === undefined ? '' : `; ${subjectAltName}`;
  return subject.replaceAll('\n', ', ') + alternatives;
}
