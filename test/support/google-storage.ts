import { createHash, createHmac } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { escapeXml } from '../../src/main/store/s3-xml.ts';
import { closeHttp, listen, portOf } from './loopback.ts';

const ID = 'GOOG1EXAMPLE';
const SECRET = 'secret-of-the-hmac-key';
const BUCKET = 'google';
const PAGE = 40;

interface Stored {
  readonly body: Buffer;
  readonly at: Date;
}

/**
 * Google Cloud Storage's XML API as far as its documentation goes, in memory: HMAC keys with GOOG4-HMAC-SHA256, no
 * request with x-amz- headers, `If-None-Match` ignored with a write, and `x-goog-if-generation-match: 0` honoured.
 * https://cloud.google.com/storage/docs/xml-api/overview
 */
export class GoogleStorage {
  readonly environment = { AWS_ACCESS_KEY_ID: ID, AWS_SECRET_ACCESS_KEY: SECRET };
  readonly bucket = BUCKET;
  /** What was refused, in words. */
  readonly refused: string[] = [];
  readonly #objects = new Map<string, Stored>();
  readonly #uploads = new Map<string, Map<number, Buffer>>();
  readonly #server: Server;
  #uploadsBegun = 0;

  private constructor() {
    this.#server = createServer((request, response) => {
      const pieces: Buffer[] = [];
      request.on('data', (piece: Buffer) => pieces.push(piece));
      request.on('end', () => this.#answer(request, Buffer.concat(pieces), response));
    });
  }

  static async start(): Promise<GoogleStorage> {
    const storage = new GoogleStorage();
    await listen(storage.#server);
    return storage;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${portOf(this.#server)}`;
  }

  async stop(): Promise<void> {
    await closeHttp(this.#server);
  }

  #answer(request: IncomingMessage, body: Buffer, response: ServerResponse): void {
    const wrong = problemWith(request, body);
    if (wrong !== undefined) {
      this.refused.push(wrong);
      return problem(response, 403, 'SignatureDoesNotMatch');
    }
    const url = new URL(request.url ?? '', 'http://google');
    const key = decodeURIComponent(url.pathname.slice(BUCKET.length + 2));
    if (!url.pathname.startsWith(`/${BUCKET}/`)) return problem(response, 404, 'NoSuchBucket');
    if (key === '') return this.#list(url.searchParams, response);
    if (url.searchParams.has('uploads') || url.searchParams.has('uploadId'))
      return this.#multipart(request, url.searchParams, key, body, response);
    if (request.method === 'PUT') return this.#put(request, key, body, response);
    if (request.method === 'DELETE') {
      if (!this.#objects.delete(key)) return problem(response, 404, 'NoSuchKey');
      response.writeHead(204).end();
      return;
    }
    this.#get(request, key, response);
  }

  #put({ headers }: IncomingMessage, key: string, body: Buffer, response: ServerResponse): void {
    const generation = headers['x-goog-if-generation-match'];
    if (generation !== undefined && generation !== '0') return problem(response, 400, 'InvalidArgument');
    if (generation === '0' && this.#objects.has(key)) return problem(response, 412, 'PreconditionFailed');
    this.#objects.set(key, { body, at: new Date() });
    response.writeHead(200, { etag: tagOf(body), 'x-goog-generation': '1' }).end();
  }

  #get({ headers }: IncomingMessage, key: string, response: ServerResponse): void {
    const stored = this.#objects.get(key);
    if (stored === undefined) return problem(response, 404, 'NoSuchKey');
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? '') ?? [];
    if (from === undefined) response.writeHead(200, { etag: tagOf(stored.body) }).end(stored.body);
    else if (Number(from) >= stored.body.length) problem(response, 416, 'InvalidRange');
    else response.writeHead(206).end(stored.body.subarray(Number(from), Number(to) + 1));
  }

  #list(query: URLSearchParams, response: ServerResponse): void {
    if (query.get('list-type') !== '2') return problem(response, 400, 'InvalidArgument');
    const prefix = query.get('prefix') ?? '';
    const after = query.get('continuation-token') ?? query.get('start-after') ?? '';
    const keys = [...this.#objects.keys()]
      .filter((key) => key.startsWith(prefix) && Buffer.compare(Buffer.from(key), Buffer.from(after)) > 0)
      .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    const page = keys.slice(0, PAGE);
    const contents = page.map((key) => {
      const { body, at } = this.#objects.get(key)!;
      return `<Contents><Key>${encodeURIComponent(key)}</Key><Generation>1</Generation><LastModified>${at.toISOString()}</LastModified><ETag>${escapeXml(tagOf(body))}</ETag><Size>${body.length}</Size></Contents>`;
    });
    const isLast = page.length === keys.length;
    const next = isLast ? '' : `<NextContinuationToken>${escapeXml(page.at(-1)!)}</NextContinuationToken>`;
    response.end(
      `<?xml version='1.0' encoding='UTF-8'?><ListBucketResult xmlns='http://doc.s3.amazonaws.com/2006-03-01'><Name>${BUCKET}</Name><EncodingType>url</EncodingType><IsTruncated>${!isLast}</IsTruncated>${next}${contents.join('')}</ListBucketResult>`,
    );
  }

  #multipart(
    { method }: IncomingMessage,
    query: URLSearchParams,
    key: string,
    body: Buffer,
    response: ServerResponse,
  ): void {
    if (query.has('uploads')) {
      const begun = `upload-${++this.#uploadsBegun}`;
      this.#uploads.set(begun, new Map());
      const result = `<UploadId>${begun}</UploadId>`;
      response.end(`<InitiateMultipartUploadResult>${result}</InitiateMultipartUploadResult>`);
      return;
    }
    const id = query.get('uploadId') ?? '';
    const parts = this.#uploads.get(id);
    if (parts === undefined) return problem(response, 404, 'NoSuchUpload');
    if (method === 'PUT') {
      parts.set(Number(query.get('partNumber')), body);
      response.writeHead(200, { etag: tagOf(body) }).end();
      return;
    }
    this.#uploads.delete(id);
    if (method === 'DELETE') {
      response.writeHead(204).end();
      return;
    }
    const asked = [...body.toString().matchAll(/<PartNumber>(\d+)<\/PartNumber><ETag>([^<]+)<\/ETag>/g)];
    const chosen = asked.map(([, number]) => parts.get(Number(number)));
    const areRight = asked.every(([, , tag], i) => tag === escapeXml(tagOf(chosen[i] ?? Buffer.alloc(0))));
    if (!areRight) return problem(response, 400, 'InvalidPart');
    this.#objects.set(key, { body: Buffer.concat(chosen.map((part) => part!)), at: new Date() });
    response.end('<CompleteMultipartUploadResult><ETag>"x"</ETag></CompleteMultipartUploadResult>');
  }
}

function tagOf(body: Buffer): string {
  return `"${createHash('md5').update(body).digest('hex')}"`;
}

function problem(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { 'content-type': 'application/xml' });
  response.end(
    `<?xml version='1.0' encoding='UTF-8'?><Error><Code>${code}</Code><Message>no</Message></Error>`,
  );
}

/** Why Google would refuse a request, or undefined. */
function problemWith({ method, url = '', headers }: IncomingMessage, body: Buffer): string | undefined {
  const foreign = Object.keys(headers).filter((name) => name.startsWith('x-amz-'));
  if (foreign.length > 0) return `both x-amz and x-goog headers: ${foreign}`;
  const [, id, date, location, names = '', signature] =
    /^GOOG4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/storage\/goog4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/.exec(
      headers.authorization ?? '',
    ) ?? [];
  if (id !== ID || date === undefined) return `authorization is ${headers.authorization}`;
  const unsigned = Object.keys(headers).filter(
    (name) => /^(x-goog-|host$)/.test(name) && !names.split(';').includes(name),
  );
  if (unsigned.length > 0) return `not signed: ${unsigned}`;
  if (headers['x-goog-content-sha256'] !== createHash('sha256').update(body).digest('hex')) return 'body';
  const time = String(headers['x-goog-date']);
  const [path = '', query = ''] = url.split('?');
  const lines = names.split(';').map((name) => `${name}:${headers[name]}`);
  const hash = headers['x-goog-content-sha256'];
  const canonical = [method, path, query.split('&').sort().join('&'), ...lines, '', names, hash].join('\n');
  const scope = `${date}/${location}/storage/goog4_request`;
  const text = `GOOG4-HMAC-SHA256\n${time}\n${scope}\n${createHash('sha256').update(canonical).digest('hex')}`;
  let key: Buffer = Buffer.from(`GOOG4${SECRET}`);
  for (const part of scope.split('/')) key = createHmac('sha256', key).update(part).digest();
  return createHmac('sha256', key).update(text).digest('hex') === signature ? undefined : 'signature';
}
