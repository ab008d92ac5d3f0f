import type { Dispatcher } from 'undici';
import type { S3Options, S3Target } from './s3-config.ts';
import { type CredentialProvider, type Credentials, defaultCredentials } from './s3-credentials.ts';
import { type Dialect, dialectOf } from './s3-dialect.ts';
import { dispatcherFor, readTrust } from './s3-dispatcher.ts';
import { connectionError, problemOf } from './s3-errors.ts';
import { exchange, type S3Reply } from './s3-exchange.ts';
import { encodeUri, payloadHash } from './s3-sign.ts';
import { StoreTime } from './s3-time.ts';

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

/** Once signed anew with another time, and once with other credentials. */
const SENT_MAX = 3;

/** What a store says of credentials that have expired, were replaced, or are not yet known everywhere. */
const STALE_CREDENTIALS: ReadonlySet<string | undefined> = new Set([
  'ExpiredToken',
  'ExpiredTokenException',
  'InvalidAccessKeyId',
  'InvalidToken',
  'RequestExpired',
  'SignatureDoesNotMatch',
  'TokenRefreshRequired',
  'XAdminUserNotFound',
]);

/** Opens a client. Rejects with an Error of one line when an option can't be used; connects to nothing yet. */
export async function openS3Client(target: S3Target, options: S3Options): Promise<S3Client> {
  const { environment, clock, log } = options;
  const trust = await readTrust(options.caFile, environment);
  const time = new StoreTime(clock);
  const { region } = target;
  return new S3Client({
    target,
    time,
    dialect: dialectOf(target, options),
    credentials:
      options.credentials ??
      defaultCredentials({ environment, clock, time, region, role: options.role, trust, log }),
    dispatcher: dispatcherFor(target.origin, {
      environment,
      timeoutMs: options.attemptTimeoutMs ?? ATTEMPT_TIMEOUT_MS,
      connections: options.connections ?? CONNECTIONS,
      trust,
    }),
  });
}

interface S3ClientParts {
  readonly target: S3Target;
  readonly time: StoreTime;
  readonly dialect: Dialect;
  readonly credentials: CredentialProvider;
  readonly dispatcher: Dispatcher;
}

/** Signed requests to one bucket over kept-alive connections. Knows nothing of what they mean. */
export class S3Client {
  readonly dialect: Dialect;
  readonly #target: S3Target;
  readonly #time: StoreTime;
  readonly #credentials: CredentialProvider;
  readonly #dispatcher: Dispatcher;

  constructor({ target, time, dialect, credentials, dispatcher }: S3ClientParts) {
    this.dialect = dialect;
    this.#target = target;
    this.#time = time;
    this.#credentials = credentials;
    this.#dispatcher = dispatcher;
  }

  /**
   * Sends one request and takes its whole reply, whatever the status. What the store refuses because of our clock, or
   * of credentials that were renewed, is signed and sent again. Rejects with a 'transient' `StoreError`
   * when there is no whole reply, 'denied' when there are no credentials, or the signal's reason.
   */
  async send(request: S3Request): Promise<S3Reply> {
    const hash = await payloadHash(request.body ?? NO_BODY);
    for (let sent = 1; ; sent++) {
      const credentials = await this.#credentials.get();
      const signedMs = this.#time.nowMs();
      const reply = await this.#sendOnce(request, hash, signedMs, credentials);
      if (reply.status < 400 || sent === SENT_MAX) return reply;
      if (!(await this.#hasMended(reply, signedMs, credentials))) return reply;
    }
  }

  /** Ends all connections, also those with a request under way. */
  async close(): Promise<void> {
    await this.#dispatcher.destroy();
  }

  async #sendOnce(
    request: S3Request,
    hash: string,
    wallMs: number,
    credentials: Credentials,
  ): Promise<S3Reply> {
    request.signal?.throwIfAborted();
    const signed = this.dialect.sign(
      {
        method: request.method,
        host: this.#target.host,
        path: this.#target.basePath + keyPath(request.key) + queryString(request.query),
        headers: request.headers ?? {},
        region: this.#target.region,
        payloadHash: hash,
        wallMs,
      },
      credentials,
    );
    try {
      return await exchange(
        this.#dispatcher,
        {
          origin: this.#target.origin,
          method: request.method,
          path: signed.path,
          headers: signed.headers,
          body: request.body ?? null,
        },
        request.signal,
      );
    } catch (error) {
      request.signal?.throwIfAborted();
      throw connectionError(error, request.deed, this.#target.origin);
    }
  }

  /** Whether the store refused the signature, and another one is worth trying now. */
  async #hasMended(reply: S3Reply, signedMs: number, credentials: Credentials): Promise<boolean> {
    // 404 because versitygw says so of an unknown access key.
    if (![400, 401, 403, 404].includes(reply.status)) return false;
    const { code, serverTime } = problemOf(reply);
    // The signature was good.
    if (reply.status === 404 && !STALE_CREDENTIALS.has(code)) return false;
    const isComplaint = code === 'RequestTimeTooSkewed';
    if (this.#time.correct(serverTime ?? reply.header('date'), signedMs, isComplaint)) return true;
    return STALE_CREDENTIALS.has(code) && this.#credentials.renew(credentials);
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
