import type { IncomingMessage } from 'node:http';
import type { Answer, Backend } from './backend.ts';
import { MemoryObjects, ObjectError, type StoredObject } from './memory-objects.ts';

/**
 * S3's REST API over objects in memory, as far as a store of chunks needs it (Amazon S3 API
 * Reference, 2006-03-01): objects with conditional creates and ranges, ListObjectsV2, multipart
 * uploads. Path style only; signatures are not verified; whatever else is asked for is refused
 * with NotImplemented rather than half done.
 */
export function memoryBackend(buckets: readonly string[]): Backend {
  const objects = new Map(buckets.map((bucket) => [bucket, new MemoryObjects()]));
  return {
    name: 'memory (no signatures verified, nothing on disk)',
    close: () => objects.clear(),
    async handle(request) {
      const body = await readBody(request);
      try {
        return answerTo(objects, request, body);
      } catch (error) {
        if (!(error instanceof ObjectError)) throw error;
        return errorAnswer(error);
      }
    },
  };
}

interface Call {
  readonly request: IncomingMessage;
  readonly body: Uint8Array;
  readonly bucket: MemoryObjects;
  readonly bucketName: string;
  /** A byte string; see `MemoryObjects`. */
  readonly key: string;
  readonly query: URLSearchParams;
}

async function readBody(request: IncomingMessage): Promise<Uint8Array> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece as Buffer);
  return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
}

function answerTo(buckets: Map<string, MemoryObjects>, request: IncomingMessage, body: Uint8Array): Answer {
  const url = new URL(request.url ?? '/', 'http://store');
  const [, bucketName = '', ...rest] = url.pathname.split('/');
  const key = byteString(decodeURIComponent(rest.join('/')));
  if (request.method === 'PUT' && key === '' && !buckets.has(bucketName)) {
    buckets.set(bucketName, new MemoryObjects());
    return { status: 200, headers: [], body: undefined };
  }
  const bucket = buckets.get(bucketName);
  if (!bucket) throw new ObjectError(404, 'NoSuchBucket', 'The specified bucket does not exist');
  const call = { request, body, bucket, bucketName, key, query: url.searchParams };
  return key === '' ? bucketAnswer(call) : objectAnswer(call);
}

function bucketAnswer(call: Call): Answer {
  if (call.request.method === 'HEAD') return { status: 200, headers: [], body: undefined };
  if (call.request.method === 'GET' && call.query.get('list-type') === '2') return listAnswer(call);
  throw notImplemented(call.request);
}

function objectAnswer(call: Call): Answer {
  const { request, query } = call;
  switch (request.method) {
    case 'GET':
    case 'HEAD':
      return readAnswer(call);
    case 'PUT':
      return query.has('uploadId') ? partAnswer(call) : putAnswer(call);
    case 'POST':
      if (query.has('uploads')) return startUploadAnswer(call);
      if (query.has('uploadId')) return completeUploadAnswer(call);
      throw notImplemented(request);
    case 'DELETE':
      if (query.has('uploadId')) call.bucket.abortUpload(query.get('uploadId') ?? '');
      else call.bucket.delete(call.key);
      return { status: 204, headers: [], body: undefined };
    default:
      throw notImplemented(request);
  }
}

function header(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value[0] : value;
}

function putAnswer(call: Call): Answer {
  refuseChunkedSignature(call.request);
  if (header(call.request, 'x-amz-copy-source') !== undefined) throw notImplemented(call.request);
  const stored = call.bucket.put(
    call.key,
    call.body,
    header(call.request, 'if-none-match'),
    header(call.request, 'if-match'),
  );
  return { status: 200, headers: ['ETag', stored.etag], body: undefined };
}

function readAnswer(call: Call): Answer {
  const stored = call.bucket.get(call.key);
  if (!stored) throw new ObjectError(404, 'NoSuchKey', 'The specified key does not exist.');
  const range = wantedRange(header(call.request, 'range'), stored);
  const body = range ? stored.body.subarray(range.start, range.end) : stored.body;
  const headers = ['ETag', stored.etag, 'Last-Modified', stored.modified.toUTCString()];
  headers.push('Content-Length', String(body.length), 'Accept-Ranges', 'bytes');
  headers.push('Content-Type', 'application/octet-stream');
  if (range) headers.push('Content-Range', `bytes ${range.start}-${range.end - 1}/${stored.body.length}`);
  return { status: range ? 206 : 200, headers, body: call.request.method === 'HEAD' ? undefined : body };
}

/** The half-open range of `Range: bytes=a-b | a- | -n` (RFC 9110, 14.1); undefined means all. */
function wantedRange(
  text: string | undefined,
  stored: StoredObject,
): { start: number; end: number } | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(text ?? '');
  if (!match || (match[1] === '' && match[2] === '')) return undefined;
  const size = stored.body.length;
  const start = match[1] === '' ? Math.max(0, size - Number(match[2])) : Number(match[1]);
  const end = match[1] === '' || match[2] === '' ? size : Math.min(size, Number(match[2]) + 1);
  if (start >= end) throw new ObjectError(416, 'InvalidRange', 'The requested range is not satisfiable');
  return { start, end };
}

function listAnswer(call: Call): Answer {
  const { query } = call;
  if (query.has('delimiter')) throw notImplemented(call.request);
  const limit = Math.min(1000, Number(query.get('max-keys') ?? 1000));
  const token = query.get('continuation-token');
  const after = token === null ? byteString(query.get('start-after') ?? '') : fromToken(token);
  const page = call.bucket.list(byteString(query.get('prefix') ?? ''), after, limit);
  const url = query.get('encoding-type') === 'url';
  const last = page.keys.at(-1);
  const contents = page.keys.map((key) => {
    const stored = call.bucket.get(key)!;
    const name = url ? encodeURIComponent(text(key)).replaceAll('%2F', '/') : escapeXml(text(key));
    return `<Contents><Key>${name}</Key><LastModified>${stored.modified.toISOString()}</LastModified><ETag>${escapeXml(stored.etag)}</ETag><Size>${stored.body.length}</Size><StorageClass>STANDARD</StorageClass></Contents>`;
  });
  const next =
    page.truncated && last !== undefined
      ? `<NextContinuationToken>${toToken(last)}</NextContinuationToken>`
      : '';
  return xmlAnswer(
    200,
    `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>${call.bucketName}</Name><KeyCount>${page.keys.length}</KeyCount><MaxKeys>${limit}</MaxKeys>${url ? '<EncodingType>url</EncodingType>' : ''}<IsTruncated>${page.truncated}</IsTruncated>${next}${contents.join('')}</ListBucketResult>`,
  );
}

function startUploadAnswer(call: Call): Answer {
  const id = call.bucket.startUpload(call.key);
  return xmlAnswer(
    200,
    `<InitiateMultipartUploadResult><Bucket>${call.bucketName}</Bucket><Key>${escapeXml(text(call.key))}</Key><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`,
  );
}

function partAnswer(call: Call): Answer {
  refuseChunkedSignature(call.request);
  const number = Number(call.query.get('partNumber'));
  const part = call.bucket.putPart(call.query.get('uploadId') ?? '', number, call.body);
  return { status: 200, headers: ['ETag', part.etag], body: undefined };
}

function completeUploadAnswer(call: Call): Answer {
  const xml = Buffer.from(call.body).toString('utf8');
  const wanted = [...xml.matchAll(/<Part>(.*?)<\/Part>/gs)].map(([, part = '']) => ({
    number: Number(/<PartNumber>(\d+)</.exec(part)?.[1]),
    etag: `"${/<ETag>(.*?)<\/ETag>/.exec(part)?.[1]?.replaceAll(/&quot;|&#34;|"/g, '') ?? ''}"`,
  }));
  const ifNoneMatch = header(call.request, 'if-none-match');
  const stored = call.bucket.completeUpload(call.query.get('uploadId') ?? '', wanted, ifNoneMatch);
  return xmlAnswer(
    200,
    `<CompleteMultipartUploadResult><Bucket>${call.bucketName}</Bucket><Key>${escapeXml(text(call.key))}</Key><ETag>${escapeXml(stored.etag)}</ETag></CompleteMultipartUploadResult>`,
  );
}

/** A body in `aws-chunked` frames would be stored with its frames: refused instead. */
function refuseChunkedSignature(request: IncomingMessage): void {
  if (header(request, 'x-amz-content-sha256')?.startsWith('STREAMING-')) throw notImplemented(request);
}

function notImplemented(request: IncomingMessage): ObjectError {
  return new ObjectError(501, 'NotImplemented', `The memory store has no ${request.method} ${request.url}`);
}

function errorAnswer(error: ObjectError): Answer {
  return xmlAnswer(
    error.status,
    `<Error><Code>${error.code}</Code><Message>${escapeXml(error.message)}</Message></Error>`,
  );
}

function xmlAnswer(status: number, xml: string): Answer {
  const body = Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>\n${xml}`);
  const headers = ['Content-Type', 'application/xml', 'Content-Length', String(body.length)];
  return { status, headers, body };
}

const byteString = (key: string): string => Buffer.from(key, 'utf8').toString('latin1');
const text = (key: string): string => Buffer.from(key, 'latin1').toString('utf8');
const toToken = (key: string): string => Buffer.from(key, 'latin1').toString('base64url');
const fromToken = (token: string): string => Buffer.from(token, 'base64url').toString('latin1');

function escapeXml(value: string): string {
  return value
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
