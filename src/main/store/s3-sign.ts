import { createHash, createHmac, webcrypto } from 'node:crypto';
import aws4 from 'aws4';
import type { Credentials } from './s3-credentials.ts';

/** Above this a body is hashed on libuv's threads: hashing it on this one would delay everybody's answers. */
const HASH_INLINE_BYTES_MAX = 128 * 1024;

/**
 * The hex SHA-256 of a body, as SigV4 wants it. It is always the real one, never 'UNSIGNED-PAYLOAD', so that
 * the store refuses a body that was damaged on its way.
 */
export async function payloadHash(body: Uint8Array): Promise<string> {
  if (body.length <= HASH_INLINE_BYTES_MAX) return createHash('sha256').update(body).digest('hex');
  const digest = await webcrypto.subtle.digest('SHA-256', body as Uint8Array<ArrayBuffer>);
  return Buffer.from(digest).toString('hex');
}

export interface UnsignedRequest {
  readonly method: string;
  /** Host and port as the request's Host header has them. */
  readonly host: string;
  /** Percent-encoded, with its query. */
  readonly path: string;
  /** Not changed afterwards. */
  readonly headers: Readonly<Record<string, string>>;
  readonly region: string;
  readonly payloadHash: string;
  /** The time to sign with, in milliseconds since the Unix epoch. */
  readonly wallMs: number;
}

export interface SignedRequest {
  /** As signed; it may be encoded otherwise than in the unsigned request. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

type Signer = (request: UnsignedRequest, credentials: Credentials) => SignedRequest;

/** Signs as `sign` does, but the same request in the same second only once: the PUTs of one upload are alike. */
export function remembering(sign: Signer): Signer {
  let last: { request: UnsignedRequest; credentials: Credentials; signed: SignedRequest } | undefined;
  return (request, credentials) => {
    if (last === undefined || last.credentials !== credentials || !isSigned(request, last.request)) {
      last = { request, credentials, signed: sign(request, credentials) };
    }
    return last.signed;
  };
}

function isSigned(request: UnsignedRequest, signed: UnsignedRequest): boolean {
  return (
    request.path === signed.path &&
    request.payloadHash === signed.payloadHash &&
    request.headers === signed.headers &&
    request.method === signed.method &&
    request.host === signed.host &&
    request.region === signed.region &&
    Math.floor(request.wallMs / 1000) === Math.floor(signed.wallMs / 1000)
  );
}

/** Signs with AWS Signature Version 4 in headers. */
export function signRequest(request: UnsignedRequest, credentials: Credentials): SignedRequest {
  const headers = {
    ...request.headers,
    host: request.host,
    'x-amz-content-sha256': request.payloadHash,
    'x-amz-date': timestamp(request.wallMs),
  };
  const { method, path, region } = request;
  return aws4.sign({ service: 's3', region, method, path, headers }, credentials);
}

/** `20260301T120000Z` */
function timestamp(wallMs: number): string {
  return new Date(wallMs).toISOString().replace(/[:-]|\.\d{3}/g, '');
}

/**
 * Signs with Google's version of the same, which its own headers need: a request may not have both x-amz- and x-goog-.
 * https://cloud.google.com/storage/docs/authentication/signatures
 */
export function signGoogleRequest(request: UnsignedRequest, credentials: Credentials): SignedRequest {
  const { method, path, payloadHash: hash } = request;
  const time = timestamp(request.wallMs);
  const headers: Record<string, string> = {
    ...request.headers,
    host: request.host,
    'x-goog-content-sha256': hash,
    'x-goog-date': time,
  };
  const names = Object.keys(headers).sort();
  const [pathOnly = '', query = ''] = path.split('?', 2);
  const canonical = [
    method,
    pathOnly,
    query.split('&').sort().join('&'),
    ...names.map((name) => `${name}:${headers[name]?.trim()}`),
    '',
    names.join(';'),
    hash,
  ].join('\n');
  const scope = [time.slice(0, 8), 'auto', 'storage', 'goog4_request'];
  const digest = createHash('sha256').update(canonical).digest('hex');
  const text = ['GOOG4-HMAC-SHA256', time, scope.join('/'), digest].join('\n');
  const key = scope.reduce<string | Buffer>(hmac, `GOOG4${credentials.secretAccessKey}`);
  const authorization = `GOOG4-HMAC-SHA256 Credential=${credentials.accessKeyId}/${scope.join('/')}, SignedHeaders=${names.join(';')}, Signature=${hmac(key, text).toString('hex')}`;
  return { path, headers: { ...headers, authorization } };
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

/** Percent-encodes all but the characters that RFC 3986 leaves unreserved. */
export function encodeUri(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
