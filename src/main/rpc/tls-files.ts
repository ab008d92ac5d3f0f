import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { createSecureContext, type SecureVersion } from 'node:tls';
import { certificatesTrouble } from '../../shared/base/certificates.ts';
import { errorMessage } from '../../shared/base/errors.ts';

/** Paths of PEM files; the CRL may be DER as well. */
export interface TlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
  readonly trustedCaFile: string | undefined;
  readonly clientCrlFile: string | undefined;
}

/** What TLS servers are made of, in the form that node takes. With `ca`, every client must show a certificate. */
export interface TlsMaterial {
  readonly cert: Buffer;
  readonly key: Buffer;
  readonly ca?: Buffer;
  readonly crl?: readonly string[];
}

/** What is not in the files. */
export interface TlsRules {
  readonly minVersion: SecureVersion;
  readonly maxVersion: SecureVersion;
  /** OpenSSL's form; undefined is node's choice. */
  readonly ciphers: string | undefined;
}

type Key = keyof TlsFiles;

const FLAGS: Readonly<Record<Key, string>> = {
  certFile: '--cert-file',
  keyFile: '--key-file',
  trustedCaFile: '--trusted-ca-file',
  clientCrlFile: '--client-crl-file',
};
const KEYS = Object.keys(FLAGS) as Key[];

type Contents = Partial<Record<Key, Buffer>>;

/** Reads and checks the files. Throws an `Error` whose message is one line that names the flag to change. */
export function readTlsFiles(files: TlsFiles): TlsMaterial {
  const contents: Contents = {};
  for (const key of KEYS) {
    const path = files[key];
    if (path !== undefined) contents[key] = orUnreadable(key, () => readFileSync(path));
  }
  return checked(files, contents);
}

/** As `readTlsFiles`, while other things go on. */
export async function rereadTlsFiles(files: TlsFiles): Promise<TlsMaterial> {
  const contents: Contents = {};
  for (const key of KEYS) {
    const path = files[key];
    if (path === undefined) continue;
    contents[key] = await readFile(path).catch((error: unknown) => {
      throw unreadable(key, error);
    });
  }
  return checked(files, contents);
}

/**
 * Which versions of the files are there: another text when one was written, replaced, or is reached through a symbolic
 * link that was changed. Files that are not there have a version too.
 */
export async function tlsFileVersions(files: TlsFiles): Promise<string> {
  const versions = KEYS.map(async (key) => {
    const path = files[key];
    if (path === undefined) return '';
    try {
      const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
      return [dev, ino, size, mtimeNs, ctimeNs].join(':');
    } catch (error) {
      return (error as NodeJS.ErrnoException).code ?? 'unknown';
    }
  });
  return (await Promise.all(versions)).join(' ');
}

/** Who the server says it is, and until when: what an operator wants to see in the log. */
export function describeCertificate({ cert }: TlsMaterial): Record<string, string> {
  const { subject, serialNumber, validTo } = new X509Certificate(cert);
  return { subject: subject.replaceAll('\n', ', '), serialNumber, validTo };
}

function orUnreadable<T>(key: Key, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw unreadable(key, error);
  }
}

function unreadable(key: Key, error: unknown): Error {
  return new Error(`${FLAGS[key]}: can't be read: ${errorMessage(error)}`);
}

function checked(files: TlsFiles, contents: Contents): TlsMaterial {
  const {
    certFile: cert,
    keyFile: key,
    trustedCaFile: ca,
    clientCrlFile: crlBytes,
  } = contents as {
    certFile: Buffer;
    keyFile: Buffer;
  } & Contents;
  checkCertificates('certFile', files, cert);
  if (/-----BEGIN ENCRYPTED|^Proc-Type:.*ENCRYPTED/m.test(key.toString('latin1'))) {
    throw new Error(`--key-file: ${files.keyFile} is encrypted; write it without a passphrase`);
  }
  try {
    createSecureContext({ cert, key });
  } catch (error) {
    throw new Error(`--key-file: ${files.keyFile} is not the key of --cert-file (${errorMessage(error)})`);
  }
  if (ca !== undefined) checkCertificates('trustedCaFile', files, ca);
  const crl = crlBytes && revocationLists(files, crlBytes);
  return { cert, key, ...(ca && { ca }), ...(crl && { crl }) };
}

function checkCertificates(key: Key, files: TlsFiles, content: Buffer): void {
  const trouble = certificatesTrouble(content.toString('latin1'));
  if (trouble !== undefined) throw new Error(`${FLAGS[key]}: ${files[key]} ${trouble}`);
}

const CRL_BEGIN = '-----BEGIN X509 CRL-----';
const CRL_END = '-----END X509 CRL-----';

/** One PEM text for each list: OpenSSL reads the first of a text alone. etcd's file is one list as DER. */
function revocationLists(files: TlsFiles, content: Buffer): readonly string[] {
  const text = content.toString('latin1');
  const lists = text.includes(CRL_BEGIN)
    ? text
        .split(CRL_BEGIN)
        .slice(1)
        .map((rest) => CRL_BEGIN + rest)
    : [`${CRL_BEGIN}\n${content.toString('base64').replace(/.{64}/g, '$&\n')}\n${CRL_END}\n`];
  try {
    createSecureContext({ crl: lists });
  } catch {
    throw new Error(`--client-crl-file: ${files.clientCrlFile} is not a list of revoked certificates (CRL)`);
  }
  return lists;
}
