import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** One key pair: its files, and their contents. */
export interface Certificate {
  readonly certFile: string;
  readonly keyFile: string;
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** An authority and what it signed, in a temporary directory. */
export interface Certificates {
  readonly authority: Certificate;
  /** For 127.0.0.1, ::1, localhost, s3.test and *.s3.test. */
  readonly server: Certificate;
  /** Common name `client`. */
  readonly client: Certificate;
  /** Common name `stranger`, signed by itself: nobody trusts it. */
  readonly stranger: Certificate;
  readonly directory: string;
  /** A new certificate of the authority's, with this common name and openssl's line of extensions, valid for a day or more. */
  sign(name: string, extension: string, days?: number): Certificate;
  /** Writes the authority's list of revoked certificates, as PEM, and says where. */
  revoke(...certificates: readonly Certificate[]): string;
  /** Deletes the directory. */
  remove(): void;
}

/** Makes throw-away certificates with the `openssl` program; they are valid for a day. */
export function makeCertificates(): Certificates {
  const directory = mkdtempSync(join(tmpdir(), 'netsy-certificates-'));
  const authority = selfSigned(directory, 'authority');
  return {
    authority,
    server: signed(
      directory,
      'server',
      authority,
      'subjectAltName=IP:127.0.0.1,IP:::1,DNS:localhost,DNS:s3.test,DNS:*.s3.test',
    ),
    client: signed(directory, 'client', authority, 'extendedKeyUsage=clientAuth'),
    stranger: selfSigned(directory, 'stranger'),
    directory,
    sign: (name, extension, days) => signed(directory, name, authority, extension, days),
    revoke: (...certificates) => revocationList(directory, authority, certificates),
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

function selfSigned(directory: string, name: string): Certificate {
  const { certFile, keyFile } = paths(directory, name);
  openssl(
    'req',
    '-x509',
    ...NEW_KEY,
    '-days',
    '1',
    '-subj',
    `/CN=${name}`,
    '-keyout',
    keyFile,
    '-out',
    certFile,
  );
  return read(certFile, keyFile);
}

function signed(
  directory: string,
  name: string,
  authority: Certificate,
  extension: string,
  days = 1,
): Certificate {
  const fileName = encodeURIComponent(name);
  const { certFile, keyFile } = paths(directory, fileName);
  const requestFile = join(directory, `${fileName}.csr`);
  const extensionFile = join(directory, `${fileName}.ext`);
  writeFileSync(extensionFile, `${extension}\n`);
  openssl('req', ...NEW_KEY, '-utf8', '-subj', `/CN=${name}`, '-keyout', keyFile, '-out', requestFile);
  const signer = ['-CA', authority.certFile, '-CAkey', authority.keyFile, '-CAcreateserial'];
  openssl(
    'x509',
    '-req',
    '-days',
    String(days),
    '-in',
    requestFile,
    ...signer,
    '-extfile',
    extensionFile,
    '-out',
    certFile,
  );
  return read(certFile, keyFile);
}

function revocationList(
  directory: string,
  authority: Certificate,
  certificates: readonly Certificate[],
): string {
  const at = (name: string): string => join(directory, name);
  writeFileSync(at('revoked.index'), '');
  writeFileSync(
    at('ca.conf'),
    `[ca]\ndefault_ca = own\n[own]\ndatabase = ${at('revoked.index')}\ndefault_md = sha256\n`,
  );
  const own = ['ca', '-config', at('ca.conf'), '-cert', authority.certFile, '-keyfile', authority.keyFile];
  for (const { certFile } of certificates) openssl(...own, '-revoke', certFile);
  openssl(...own, '-gencrl', '-crldays', '1', '-out', at('revoked.crl'));
  return at('revoked.crl');
}

function paths(directory: string, name: string): { certFile: string; keyFile: string } {
  return { certFile: join(directory, `${name}.crt`), keyFile: join(directory, `${name}.key`) };
}

function read(certFile: string, keyFile: string): Certificate {
  return { certFile, keyFile, cert: readFileSync(certFile), key: readFileSync(keyFile) };
}

function openssl(...words: string[]): void {
  execFileSync('openssl', words, { stdio: ['ignore', 'ignore', 'pipe'] });
}
