import assert from 'node:assert/strict';
import type { IncomingMessage } from 'node:http';
import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2';
import * as grpc from '@grpc/grpc-js';
import { grpcServerOptions } from '../../src/main/rpc/grpc-options.ts';
import { Listener, type ListenerOptions, type ListenerTls } from '../../src/main/rpc/listener.ts';
import type { DirectMethods } from '../../src/main/rpc/plain-request.ts';
import { callFailure } from '../../src/main/rpc/status.ts';
import type { TlsMaterial } from '../../src/main/rpc/tls-files.ts';
import { type Clock, systemClock } from '../../src/shared/base/clock.ts';
import type { Log, LogFields } from '../../src/shared/base/log.ts';
import { MalformedMessageError } from '../../src/shared/etcd/wire.ts';

export const MAX_REQUEST_BYTES = 64 * 1024;
export const STREAMS_MAX = 321;
const KEEPALIVE_INTERVAL_MS = 100;
export const RANGE = '/etcdserverpb.KV/Range';
export const HOLD = '/etcdserverpb.Watch/Watch';

type Limits = ListenerOptions['limits'];
type FrontTls = TlsMaterial | ListenerTls;

export const LIMITS: Limits = {
  connections: 10_000,
  headerBytes: 65_536,
  handshakeMs: 30_000,
  requestReadMs: 60_000,
  waitingAnswerBytes: 64 * 1024 * 1024,
};

type Duplex = grpc.ServerDuplexStream<Buffer, Buffer>;

/** How Watch fails when its client says `fail`, or has `refused` in its metadata. */
const REFUSED = { code: grpc.status.ABORTED, details: `refused: ${'ü'.repeat(300)}` };

/** A service of two methods over bytes: Range echoes, Watch says `open`, echoes and stays open until its client ends. */
export class Front {
  readonly calls: Duplex[] = [];
  readonly peers: string[] = [];
  /** The common name of each caller's certificate. */
  readonly names: (string | undefined)[] = [];
  readonly logged: { level: string; message: string; fields: LogFields | undefined }[] = [];
  readonly grpc = new grpc.Server(
    grpcServerOptions({
      maxRequestBytes: MAX_REQUEST_BYTES,
      limits: { streamsPerConnection: STREAMS_MAX },
      grpcKeepaliveIntervalMs: KEEPALIVE_INTERVAL_MS,
      grpcKeepaliveTimeoutMs: 10_000,
    }),
  );
  readonly listener: Listener;
  /** How long an echo takes. */
  holdEchoesMs = 0;
  readonly #clock: Clock;

  constructor(
    tls?: FrontTls,
    clock: Clock = systemClock,
    limits: Partial<Limits> = {},
    directMethods?: DirectMethods,
  ) {
    this.#clock = clock;
    this.grpc.register(
      RANGE,
      (call: UnaryCall, reply: Reply) => this.#echo(call, reply),
      asIs,
      asIs,
      'unary',
    );
    this.grpc.register(HOLD, (call: Duplex) => this.hold(call), asIs, asIs, 'bidi');
    const scheme = tls === undefined ? 'http' : 'https';
    this.listener = new Listener({
      urls: [`${scheme}://127.0.0.1:0`],
      ...(tls === undefined ? {} : { tls: 'material' in tls ? tls : { material: tls } }),
      limits: { ...LIMITS, ...limits },
      isDuplex: (path) => path === HOLD,
      ...(directMethods && { directMethods }),
      grpc: this.grpc,
      http: (request, response) => {
        const { method, url, httpVersion } = request;
        request.resume().on('end', () => response.end(`${method} ${url} ${httpVersion}`));
      },
      log: this.#log(),
      clock,
    });
  }

  get url(): string {
    return this.listener.addresses[0] ?? '';
  }

  get port(): number {
    return Number(new URL(this.url).port);
  }

  get authority(): string {
    return `127.0.0.1:${this.port}`;
  }

  #echo(call: UnaryCall, reply: Reply): void {
    this.peers.push(call.getPeer());
    this.names.push(call.getAuthContext()?.sslPeerCertificate?.subject.CN?.toString());
    if (call.request.toString() === 'malformed') reply(callFailure(new MalformedMessageError('field 0')));
    else if (call.request.toString() === 'slow') setTimeout(() => reply(null, call.request), 300);
    else if (this.holdEchoesMs > 0) this.#clock.after(this.holdEchoesMs, () => reply(null, call.request));
    else reply(null, call.request);
  }

  hold(call: Duplex): void {
    this.calls.push(call);
    call.on('error', () => {});
    if (call.metadata.get('refused').length > 0) return void call.emit('error', REFUSED);
    if (call.metadata.get('quiet').length === 0) call.write(Buffer.from('open'));
    let failed = false;
    call.on('data', (bytes: Buffer) => {
      if (failed) return;
      failed = bytes.toString() === 'fail';
      if (failed) call.emit('error', REFUSED);
      else call.write(bytes);
    });
    call.on('end', () => call.end());
  }

  #log(): Log {
    const at = (level: string) => (message: string, fields?: LogFields) => {
      this.logged.push({ level, message, fields });
    };
    return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
  }
}

export type UnaryCall = grpc.ServerUnaryCall<Buffer, Buffer>;
export type Reply = grpc.sendUnaryData<Buffer>;

export function asIs(bytes: Buffer): Buffer {
  return bytes;
}

export async function withFront(
  body: (front: Front) => Promise<void>,
  tls?: FrontTls,
  clock?: Clock,
  limits?: Partial<Limits>,
): Promise<void> {
  const front = new Front(tls, clock, limits);
  await front.listener.listen();
  try {
    await body(front);
  } finally {
    await front.listener.close(0);
  }
}

export async function withClient(
  authority: string,
  credentials: grpc.ChannelCredentials,
  body: (client: grpc.Client) => Promise<void>,
): Promise<void> {
  const client = new grpc.Client(authority, credentials, { 'grpc.use_local_subchannel_pool': 1 });
  try {
    await body(client);
  } finally {
    client.close();
  }
}

export const plain = grpc.credentials.createInsecure();

export function range(client: grpc.Client, bytes: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const deadline = Date.now() + 10_000;
    client.makeUnaryRequest(RANGE, asIs, asIs, bytes, { deadline }, (error, value) => {
      if (error) reject(error);
      else resolve(value ?? Buffer.alloc(0));
    });
  });
}

export async function echoes(client: grpc.Client, text = 'hello'): Promise<void> {
  assert.equal((await range(client, Buffer.from(text))).toString(), text);
}

export async function textOf(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const piece of response) text += String(piece);
  return text;
}

/** Resolves at `close`, whatever error came before it. */
export function closing(emitter: NodeJS.EventEmitter): Promise<void> {
  return new Promise((resolve) => emitter.once('close', () => resolve()));
}

export function openStream(session: ClientHttp2Session): ClientHttp2Stream {
  return session.request({
    ':method': 'POST',
    ':path': HOLD,
    'content-type': 'application/grpc',
    te: 'trailers',
  });
}
