import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import aws4 from 'aws4';
import { Pool } from 'undici';
import { closeHttp, listen, portOf } from './loopback.ts';
import type { VersityGateway } from './versitygw.ts';

/** A request as it came in. */
export interface FrontRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** S3's answer to a request that is refused. */
interface FrontRefusal {
  readonly status: number;
  readonly code: string;
}

export interface FrontKeys {
  readonly secret: string;
  /** The session token that must come with them. */
  readonly token?: string;
  readonly isExpired?: boolean;
}

export interface FrontOptions {
  /** By their id; default: the gateway's alone. */
  readonly keys?: (id: string) => FrontKeys | undefined;
  /** How far the front's own clock is off. */
  readonly skewMs?: () => number;
  /** Of the buckets that are named in the Host header: `s3.test` of `bucket.s3.test`. */
  readonly domain?: string;
  readonly tls?: { readonly cert: Buffer; readonly key: Buffer };
}

const SKEW_MS_MAX = 15 * 60_000;

/**
 * A real HTTP server that does what versitygw does not: it knows session tokens, has a clock of its own, and keeps
 * what it was asked. It checks each signature as S3 does, then signs the request anew, without headers that the
 * gateway does not know, and passes it on.
 */
export class SigningFront {
  readonly requests: FrontRequest[] = [];
  /** S3's codes of what it refused. */
  readonly refused: string[] = [];
  readonly #server: Server;
  readonly #options: FrontOptions;
  readonly #gateway: VersityGateway;
  readonly #pool: Pool;

  private constructor(gateway: VersityGateway, options: FrontOptions) {
    this.#gateway = gateway;
    this.#options = options;
    this.#pool = new Pool(gateway.endpoint, { connections: 100 });
    const listener = (request: IncomingMessage, response: ServerResponse): void => {
      this.#answer(request, response).catch(() => response.destroy());
    };
    this.#server =
      options.tls === undefined ? createServer(listener) : createTlsServer(options.tls, listener);
  }

  static async start(gateway: VersityGateway, options: FrontOptions = {}): Promise<SigningFront> {
    const front = new SigningFront(gateway, options);
    await listen(front.#server);
    return front;
  }

  get port(): number {
    return portOf(this.#server);
  }

  /** `http(s)://127.0.0.1:port` */
  get endpoint(): string {
    return `http${this.#options.tls === undefined ? '' : 's'}://127.0.0.1:${this.port}`;
  }

  async stop(): Promise<void> {
    await closeHttp(this.#server);
    await this.#pool.destroy();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    const seen: FrontRequest = {
      method: request.method ?? '',
      url: request.url ?? '',
      headers: Object.fromEntries(Object.entries(request.headers).map(([n, v]) => [n, String(v)])),
    };
    this.requests.push(seen);
    const refusal = this.#check(seen);
    const date = new Date(this.#nowMs()).toUTCString();
    if (refusal !== undefined) {
      this.refused.push(refusal.code);
      response.writeHead(refusal.status, { date, 'content-type': 'application/xml' });
      response.end(`<Error><Code>${refusal.code}</Code><Message>refused by the front</Message></Error>`);
      return;
    }
    const reply = await this.#pass(seen, Buffer.concat(pieces));
    response.writeHead(reply.status, { ...reply.headers, date }).end(reply.body);
  }

  #nowMs(): number {
    return Date.now() + (this.#options.skewMs?.() ?? 0);
  }

  #check(request: FrontRequest): FrontRefusal | undefined {
    const [, id = '', names = '', signature] =
      /Credential=([^/]+)\/.*SignedHeaders=([^,]+), Signature=(\w+)/.exec(
        request.headers['authorization'] ?? '',
      ) ?? [];
    const keys = this.#options.keys === undefined ? this.#gatewayKeys(id) : this.#options.keys(id);
    if (keys === undefined) return { status: 403, code: 'InvalidAccessKeyId' };
    if (keys.token !== undefined && request.headers['x-amz-security-token'] !== keys.token)
      return { status: 400, code: 'InvalidToken' };
    if (keys.isExpired === true) return { status: 400, code: 'ExpiredToken' };
    const headers = Object.fromEntries(names.split(';').map((name) => [name, request.headers[name] ?? '']));
    const again = sign(request, headers, { accessKeyId: id, secretAccessKey: keys.secret });
    if (!again['Authorization']?.endsWith(`Signature=${signature}`))
      return { status: 403, code: 'SignatureDoesNotMatch' };
    const [, y, m, d, h, min, s] = /(....)(..)(..)T(..)(..)(..)Z/.exec(headers['x-amz-date'] ?? '') ?? [];
    const signedMs = Date.parse(`${y}-${m}-${d}T${h}:${min}:${s}Z`);
    if (!(Math.abs(signedMs - this.#nowMs()) <= SKEW_MS_MAX))
      return { status: 403, code: 'RequestTimeTooSkewed' };
    return undefined;
  }

  #gatewayKeys(id: string): FrontKeys | undefined {
    return id === this.#gateway.accessKey ? { secret: this.#gateway.secretKey } : undefined;
  }

  /** `/bucket` where the Host header names it, else nothing. */
  #bucketOf({ headers }: FrontRequest): string {
    const host = (headers['host'] ?? '').replace(/:\d+$/, '');
    const { domain } = this.#options;
    return domain !== undefined && host.endsWith(`.${domain}`) ? `/${host.slice(0, -domain.length - 1)}` : '';
  }

  async #pass(
    request: FrontRequest,
    body: Buffer,
  ): Promise<{ status: number; headers: Record<string, string>; body: Buffer }> {
    const { accessKey: accessKeyId, secretKey: secretAccessKey } = this.#gateway;
    const kept = ['x-amz-content-sha256', 'if-none-match', 'range'].flatMap((name) => {
      const value = request.headers[name];
      return value === undefined ? [] : [[name, value] as const];
    });
    const host = new URL(this.#gateway.endpoint).host;
    const url = this.#bucketOf(request) + request.url;
    const unsigned = { ...Object.fromEntries(kept), host };
    const headers = sign({ ...request, url }, unsigned, { accessKeyId, secretAccessKey });
    const reply = await this.#pool.request({
      method: request.method as 'PUT',
      path: url,
      headers,
      body: body.length === 0 ? null : body,
    });
    const passed = ['etag', 'content-range', 'content-type'].flatMap((name) => {
      const value = reply.headers[name];
      return typeof value === 'string' ? [[name, value] as const] : [];
    });
    return {
      status: reply.statusCode,
      headers: Object.fromEntries(passed),
      body: Buffer.from(await reply.body.arrayBuffer()),
    };
  }
}

function sign(
  { method, url: path }: FrontRequest,
  headers: Record<string, string>,
  keys: { readonly accessKeyId: string; readonly secretAccessKey: string },
): Record<string, string> {
  return aws4.sign({ service: 's3', region: 'us-east-1', method, path, headers }, keys).headers;
}
