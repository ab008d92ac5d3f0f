import { type Dispatcher, Pool } from 'undici';
import type { Clock } from '../../shared/base/clock.ts';
import { StoreError } from './errors.ts';
import type { S3Options, S3Target } from './s3-config.ts';
import { type CredentialProvider, defaultCredentials } from './s3-credentials.ts';
import { connectionError, problemOf } from './s3-errors.ts';
import { encodeUri, payloadHash, signRequest } from './s3-sign.ts';

const ATTEMPT_TIMEOUT_MS = 10_000;
/** The deepest pipeline, every upload of it hedged, and room for reads. */
const CONNECTIONS = 160;
const NO_BODY = new Uint8Array(0);

export interface S3Request {
  readonly method: 'GET' | 'PUT' | 'POST' | 'DELETE';
  /** With the store's prefix; undefined: the bucket itself. */
  readonly key?: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly signal?: AbortSignal | undefined;
  /** Completes "cannot …" in errors. */
  readonly deed: string;
}

export interface S3Reply {
  readonly status: number;
  /** Undefined when absent; `name` in lower case. */
  header(name: string): string | undefined;
  readonly body: Uint8Array;
}

/** Signed requests to one bucket over kept-alive connections. Knows nothing of what they mean. */
export class S3Client {
  readonly #target: S3Target;
  readonly #credentials: CredentialProvider;
  readonly #clock: Clock;
  readonly #pool: Pool;
  /** How far the store's clock is ahead of ours, as far as it has complained. */
  #skewMs = 0;

  constructor(target: S3Target, options: S3Options) {
    const timeoutMs = options.attemptTimeoutMs ?? ATTEMPT_TIMEOUT_MS;
    this.#target = target;
    this.#clock = options.clock;
    this.#credentials = options.credentials ?? defaultCredentials(options.environment, options.clock);
    this.#pool = new Pool(target.origin, {
      connections: options.connections ?? CONNECTIONS,
      pipelining: 1,
      connectTimeout: timeoutMs,
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
    });
  }

  /**
   * Sends one request and takes its whole reply, whatever the status. Rejects with a 'transient' `StoreError`
   * when there is no whole reply, 'denied' when there are no credentials, or the signal's reason.
   */
  async send(request: S3Request): Promise<S3Reply> {
    const hash = await payloadHash(request.body ?? NO_BODY);
    const reply = await this.#sendOnce(request, hash);
    return this.#correctSkew(reply) ? this.#sendOnce(request, hash) : reply;
  }

  /** Ends all connections, also those with a request under way. */
  async close(): Promise<void> {
    await this.#pool.destroy();
  }

  async #sendOnce(request: S3Request, hash: string): Promise<S3Reply> {
    request.signal?.throwIfAborted();
    const signed = signRequest(
      {
        method: request.method,
        host: this.#target.host,
        path: this.#target.basePath + keyPath(request.key) + queryString(request.query),
        headers: request.headers ?? {},
        region: this.#target.region,
        payloadHash: hash,
        wallMs: this.#clock.wallMs() + this.#skewMs,
      },
      await this.#credentials.get(),
    );
    try {
      const response = await this.#pool.request({
        method: request.method,
        path: signed.path,
        headers: signed.headers,
        body: request.body ?? null,
        signal: request.signal ?? null,
      });
      return await takeReply(response);
    } catch (error) {
      request.signal?.throwIfAborted();
      throw connectionError(error, request.deed, this.#target.origin);
    }
  }

  /** Whether the store found our clock wrong and has said what time it is. */
  #correctSkew(reply: S3Reply): boolean {
    if (reply.status !== 403 || problemOf(reply).code !== 'RequestTimeTooSkewed') return false;
    const storeMs = Date.parse(reply.header('date') ?? '');
    if (Number.isNaN(storeMs)) return false;
    this.#skewMs = storeMs - this.#clock.wallMs();
    return true;
  }
}

function keyPath(key: string | undefined): string {
  return key === undefined ? '' : key.split('/').map(encodeUri).join('/');
}

function queryString(query: Readonly<Record<string, string>> | undefined): string {
  if (query === undefined) return '';
  return `?${Object.entries(query)
    .map(([name, value]) => `${encodeUri(name)}=${encodeUri(value)}`)
    .join('&')}`;
}

async function takeReply(response: Dispatcher.ResponseData): Promise<S3Reply> {
  const { statusCode, headers } = response;
  const header = (name: string): string | undefined => {
    const value = headers[name];
    return Array.isArray(value) ? value[0] : value;
  };
  return { status: statusCode, header, body: await takeBody(response, header('content-length')) };
}

/** Into one buffer of the announced length, so that large objects are not held twice. */
async function takeBody(
  response: Dispatcher.ResponseData,
  announced: string | undefined,
): Promise<Uint8Array> {
  if (announced === undefined) return new Uint8Array(await response.body.arrayBuffer());
  const bytes = new Uint8Array(Number(announced));
  let filled = 0;
  for await (const piece of response.body as AsyncIterable<Uint8Array>) {
    if (filled + piece.length > bytes.length) break;
    bytes.set(piece, filled);
    filled += piece.length;
  }
  if (filled !== bytes.length) {
    throw new StoreError('transient', `a reply of ${bytes.length} bytes broke off after ${filled}`);
  }
  return bytes;
}
