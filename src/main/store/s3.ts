import { asBuffer, NO_BYTES } from '../../shared/base/bytes.ts';
import { checkKey } from './keys.ts';
import { openS3Client, type S3Client, type S3Request } from './s3-client.ts';
import { type S3Options, type S3Target, s3Target } from './s3-config.ts';
import { problemOf, replyError, saysFailure } from './s3-errors.ts';
import type { S3Reply } from './s3-exchange.ts';
import { listObjects } from './s3-list.ts';
import { gatherParts, type MultipartUpload, uploadParts } from './s3-multipart.ts';
import type { ObjectInfo, ObjectStore } from './store.ts';

/** How long one part of a multipart upload is tried, in milliseconds. */
const PART_RETRY_MS = 60_000;

/** Opens `s3://bucket/prefix` (see `s3Target`). Connects to nothing yet: see `probe.ts`. */
export async function openS3Store(url: URL, options: S3Options): Promise<ObjectStore> {
  const target = await s3Target(url, options);
  return new S3Store(target, await openS3Client(target, options), options);
}

class S3Store implements ObjectStore {
  readonly url: string;
  readonly #client: S3Client;
  readonly #prefix: string;
  readonly #options: S3Options;

  constructor(target: S3Target, client: S3Client, options: S3Options) {
    this.url = `s3://${target.bucket}/${target.prefix}`;
    this.#client = client;
    this.#prefix = target.prefix;
    this.#options = options;
  }

  async get(key: string, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    const deed = `read ${key}`;
    const reply = await this.#send({ method: 'GET', key, signal, deed });
    if (reply.status === 200 && !saysFailure(reply)) return reply.body;
    if (isAbsent(reply)) return undefined;
    throw replyError(reply, deed);
  }

  async getRange(
    key: string,
    offset: number,
    length: number,
    signal?: AbortSignal,
  ): Promise<Uint8Array | undefined> {
    const deed = `read ${key} from byte ${offset}`;
    const headers = { range: `bytes=${offset}-${offset + length - 1}` };
    const reply = await this.#send({ method: 'GET', key, headers, signal, deed });
    if (reply.status === 206) return reply.body;
    // A store may ignore the range, which HTTP allows.
    if (reply.status === 200 && !saysFailure(reply)) return reply.body.slice(offset, offset + length);
    if (reply.status === 416) return NO_BYTES;
    if (isAbsent(reply)) return undefined;
    throw replyError(reply, deed);
  }

  async putIfAbsent(key: string, body: Uint8Array, signal?: AbortSignal): Promise<'created' | 'exists'> {
    const deed = `create ${key}`;
    const { createOnly: headers } = this.#client.dialect;
    const reply = await this.#send({ method: 'PUT', key, headers, body, signal, deed });
    if (isWritten(reply)) return 'created';
    if (reply.status === 412) return 'exists';
    if (reply.status >= 300) throw replyError(reply, deed);
    return this.#createdOrNot(key, body, replyError(reply, deed), signal);
  }

  /** A success that is not as S3 says it may be a proxy's, and nothing stored: what is there tells. */
  async #createdOrNot(
    key: string,
    body: Uint8Array,
    doubt: Error,
    signal: AbortSignal | undefined,
  ): Promise<'created' | 'exists'> {
    const stored = await this.get(key, signal);
    if (stored === undefined) throw doubt;
    return asBuffer(stored).equals(body) ? 'created' : 'exists';
  }

  async put(key: string, body: Uint8Array, signal?: AbortSignal): Promise<void> {
    const deed = `write ${key}`;
    const { written: headers } = this.#client.dialect;
    const reply = await this.#send({ method: 'PUT', key, headers, body, signal, deed });
    if (reply.status !== 200 || reply.body.length > 0) throw replyError(reply, deed);
  }

  async *list(prefix: string, startAfter?: string): AsyncIterable<ObjectInfo> {
    const after = startAfter === undefined ? undefined : this.#prefix + startAfter;
    for await (const { key, ...rest } of listObjects(this.#client, this.#prefix + prefix, after)) {
      yield { key: key.slice(this.#prefix.length), ...rest };
    }
  }

  async delete(key: string, signal?: AbortSignal): Promise<void> {
    const deed = `delete ${key}`;
    const reply = await this.#send({ method: 'DELETE', key, signal, deed });
    const isDone = (reply.status === 204 || reply.status === 200) && !saysFailure(reply);
    if (!isDone && !isAbsent(reply)) throw replyError(reply, deed);
  }

  /** What fits into one part is put as such, which S3 also does at once or not at all. */
  async putMultipart(key: string, parts: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<void> {
    checkKey(key);
    const gathered = gatherParts(parts)[Symbol.asyncIterator]();
    const first = await gathered.next();
    const second = await gathered.next();
    if (first.done === true) throw new Error('gatherParts gives at least one part');
    if (second.done === true) return this.put(key, first.value, signal);
    await uploadParts(this.#upload(key, signal), chain([first.value, second.value], gathered));
  }

  close(): Promise<void> {
    return this.#client.close();
  }

  #upload(key: string, signal: AbortSignal | undefined): MultipartUpload {
    const { clock, random } = this.#options;
    const retry = { clock, random, retryForMs: PART_RETRY_MS };
    return { client: this.#client, key: this.#prefix + key, retry, signal };
  }

  #send(request: S3Request & { readonly key: string }): Promise<S3Reply> {
    checkKey(request.key);
    return this.#client.send({ ...request, key: this.#prefix + request.key });
  }
}

/** As S3 says that it has stored an object: without a word, and with its tag. */
function isWritten(reply: S3Reply): boolean {
  return reply.status === 200 && reply.body.length === 0 && reply.header('etag') !== undefined;
}

/** Another 404, such as a proxy's or that of a missing bucket, says nothing about the object. */
function isAbsent(reply: S3Reply): boolean {
  return reply.status === 404 && problemOf(reply).code === 'NoSuchKey';
}

async function* chain(
  first: readonly Uint8Array[],
  rest: AsyncIterator<Uint8Array>,
): AsyncIterable<Uint8Array> {
  try {
    yield* first;
    for (let next = await rest.next(); next.done !== true; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.();
  }
}
