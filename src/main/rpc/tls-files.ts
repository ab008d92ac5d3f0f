import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import type { TlsMaterial } from './listener.ts';

/** Paths of PEM files. */
export interface TlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
  readonly trustedCaFile: string | undefined;
}

/** Reads and checks the files. Throws an `Error` whose message is one line that names the flag to change. */
export function readTlsFiles(files: TlsFiles): TlsMaterial {
  const cert = certificateIn('--cert-file', files.certFile);
  const key = contentOf('--key-file', files.keyFile);
  try {
    createSecureContext({ cert, key });
  } catch (error) {
    throw new Error(`--key-file: ${files.keyFile} is not the key of --cert-file (${messageOf(error)})`);
  }
  const { trustedCaFile } = files;
  return { cert, key, ...(trustedCaFile && { ca: certificateIn('--trusted-ca-file', trustedCaFile) }) };
}

function certificateIn(flag: string, path: string): Buffer {
  const content = contentOf(flag, path);
  try {
    new X509Certificate(content);
  } catch {
    throw new Error(`${flag}: ${path} is not a certificate in PEM form`);
  }
  return content;
}

function contentOf(flag: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new Error(`${flag}: can't be read: ${messageOf(error)}`);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
