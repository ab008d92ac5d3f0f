import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { get as httpGet, type IncomingMessage } from 'node:http';
import { type ClientHttp2Session, type ClientHttp2Stream, connect as http2Connect } from 'node:http2';
import { Agent, get as httpsGet } from 'node:https';
import { type AddressInfo, connect, createServer, type Server as NetServer, type Socket } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { type ConnectionOptions, connect as tlsConnect } from 'node:tls';
import { promisify } from 'node:util';
import * as grpc from '@grpc/grpc-js';
import { grpcServerOptions } from '../../src/main/rpc/grpc-options.ts';
import { CONNECTION_WINDOW_BYTES, Listener, STREAM_WINDOW_BYTES } from '../../src/main/rpc/listener.ts';
import { callFailure } from '../../src/main/rpc/status.ts';
import type { Clock } from '../../src/shared/base/clock.ts';
import { systemClock } from '../../src/shared/base/clock.ts';
import type { Log, LogFields } from '../../src/shared/base/log.ts';
import { MalformedMessageError } from '../../src/shared/etcd/wire.ts';
import { type Certificates, makeCertificates } from '../support/certificates.ts';
import { ManualClock } from '../support/clock.ts';
import { missingTools } from '../support/tools.ts';

const MAX_REQUEST_BYTES = 64 * 1024;
const KEEPALIVE_INTERVAL_MS = 100;
const RANGE = '/etcdserverpb.KV/Range';
const HOLD = '/etcdserverpb.Watch/Watch';

/** A service of two methods over bytes: Range echoes, Watch stays open until its client ends. */
class Front {
  readonly calls: grpc.ServerDuplexStream<Buffer, Buffer>[] = [];
  readonly peers: string[] = [];
  /** The common name of each caller's certificate. */
  readonly names: (string | undefined)[] = [];
  readonly logged: { level: string; message: string; fields: LogFields | undefined }[] = [];
  readonly grpc = new grpc.Server(
    grpcServerOptions({
      maxRequestBytes: MAX_REQUEST_BYTES,
      maxConcurrentStreams: 321,
      grpcKeepaliveIntervalMs: KEEPALIVE_INTERVAL_MS,
      grpcKeepaliveTimeoutMs: 10_000,
    }),
  );
  readonly listener: Listener;

  constructor(tls?: { cert: Buffer; key: Buffer; ca?: Buffer }, clock: Clock = systemClock) {
    this.grpc.register(
      RANGE,
      (call: UnaryCall, reply: Reply) => this.#echo(call, reply),
      asIs,
      asIs,
      'unary',
    );
    this.grpc.register(
      HOLD,
      (call: grpc.ServerDuplexStream<Buffer, Buffer>) => this.#hold(call),
      asIs,
      asIs,
      'bidi',
    );
    const scheme = tls === undefined ? 'http' : 'https';
    this.listener = new Listener({
      urls: [`${scheme}://127.0.0.1:0`],
      ...(tls === undefined ? {} : { tls }),
      grpc: this.grpc,
      http: (request, response) => response.end(`${request.method} ${request.url} ${request.httpVersion}`),
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
    else reply(null, call.request);
  }

  #hold(call: grpc.ServerDuplexStream<Buffer, Buffer>): void {
    this.calls.push(call);
    call.write(Buffer.from('open'));
    call.on('data', (bytes: Buffer) => call.write(bytes));
    call.on('end', () => call.end());
    call.on('error', () => {});
  }

  #log(): Log {
    const at = (level: string) => (message: string, fields?: LogFields) => {
      this.logged.push({ level, message, fields });
    };
    return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
  }
}

type UnaryCall = grpc.ServerUnaryCall<Buffer, Buffer>;
type Reply = grpc.sendUnaryData<Buffer>;

function asIs(bytes: Buffer): Buffer {
  return bytes;
}

async function withFront(
  body: (front: Front) => Promise<void>,
  tls?: { cert: Buffer; key: Buffer; ca?: Buffer },
  clock?: Clock,
): Promise<void> {
  const front = new Front(tls, clock);
  await front.listener.listen();
  try {
    await body(front);
  } finally {
    await front.listener.close(0);
  }
}

async function withClient(
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

const plain = grpc.credentials.createInsecure();

function range(client: grpc.Client, bytes: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const deadline = Date.now() + 10_000;
    client.makeUnaryRequest(RANGE, asIs, asIs, bytes, { deadline }, (error, value) => {
      if (error) reject(error);
      else resolve(value ?? Buffer.alloc(0));
    });
  });
}

async function echoes(client: grpc.Client, text = 'hello'): Promise<void> {
  assert.equal((await range(client, Buffer.from(text))).toString(), text);
}

async function textOf(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const piece of response) text += String(piece);
  return text;
}

async function getText(url: string): Promise<string> {
  const [response] = (await once(httpGet(url, { agent: false }), 'response')) as [IncomingMessage];
  return textOf(response);
}

/** Forwards to a port one byte per write, each in its own turn of the event loop. */
async function dribblingProxy(port: number): Promise<NetServer> {
  const proxy = createServer((from) => {
    const to = connect({ port, host: '127.0.0.1', noDelay: true });
    to.pipe(from);
    from.on('error', () => to.destroy());
    to.on('error', () => from.destroy());
    from.on('close', () => to.destroy());
    void dribble(from, to);
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  return proxy;
}

async function dribble(from: Socket, to: Socket): Promise<void> {
  try {
    for await (const piece of from) {
      for (const byte of piece as Buffer) {
        to.write(Buffer.of(byte));
        await new Promise(setImmediate);
      }
    }
  } catch {
    to.destroy();
  }
}

function portOf(server: NetServer): number {
  return (server.address() as AddressInfo).port;
}

describe('listener', { timeout: 60_000 }, () => {
  it('serves gRPC and HTTP/1.1 on one port, and tells a call where its client is', async () => {
    await withFront(async (front) => {
      await withClient(front.authority, plain, async (client) => {
        await echoes(client);
        assert.equal(await getText(`${front.url}/health`), 'GET /health 1.1');
        await echoes(client);
      });
      assert.match(front.peers[0] ?? '', /^127\.0\.0\.1:\d+$/);
      assert.equal(front.peers[0], front.peers[1]);
    });
  });

  it('keeps an HTTP/1.1 connection for more than one request', async () => {
    await withFront(async (front) => {
      const socket = connect(front.port, '127.0.0.1');
      socket.write(
        'GET /one HTTP/1.1\r\nHost: a\r\n\r\nGET /two HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
      );
      let text = '';
      for await (const piece of socket) text += String(piece);
      assert.match(text, /GET \/one 1\.1[\s\S]*GET \/two 1\.1/);
    });
  });

  it('tells the protocol from first bytes that come one at a time', async () => {
    await withFront(async (front) => {
      const proxy = await dribblingProxy(front.port);
      try {
        await withClient(`127.0.0.1:${portOf(proxy)}`, plain, (client) => echoes(client));
        const url = `http://127.0.0.1:${portOf(proxy)}/PRI`;
        assert.equal(await getText(url), 'GET /PRI 1.1');
      } finally {
        proxy.close();
      }
    });
  });

  it('takes a method that begins like HTTP/2’s preface for HTTP/1.1', async () => {
    await withFront(async (front) => {
      const socket = connect(front.port, '127.0.0.1');
      socket.write('P');
      await new Promise(setImmediate);
      socket.write('UT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
      let text = '';
      for await (const piece of socket) text += String(piece);
      assert.match(text, /PUT \/x 1\.1/);
    });
  });

  for (const [what, bytes] of [
    ['says nothing', ''],
    ['stops in the middle of the preface', 'PRI * HT'],
  ] as const) {
    it(`closes a connection that ${what} for half a minute, and keeps one that has begun`, async () => {
      const clock = new ManualClock();
      await withFront(
        async (front) => {
          await withClient(front.authority, plain, async (client) => {
            await echoes(client);
            const socket = connect(front.port, '127.0.0.1').resume();
            await once(socket, 'connect');
            if (bytes !== '') socket.write(bytes);
            // A later connection's answer proves that the server has seen this one.
            await getText(front.url);
            clock.advance(29_999);
            await echoes(client);
            assert.equal(socket.closed, false);
            const closed = once(socket, 'close');
            clock.advance(1);
            await closed;
            await echoes(client);
            assert.equal(new Set(front.peers).size, 1);
          });
        },
        undefined,
        clock,
      );
    });
  }

  it('survives clients that reset or end their connection before their first bytes tell anything', async () => {
    await withFront(async (front) => {
      for (const bytes of ['', 'P', 'PRI * HTTP/2.']) {
        const reset = connect(front.port, '127.0.0.1');
        await once(reset, 'connect');
        if (bytes !== '') reset.write(bytes);
        reset.resetAndDestroy();
        const ended = connect({ port: front.port, host: '127.0.0.1', allowHalfOpen: true }).resume();
        ended.end(bytes);
        await once(ended, 'close');
      }
      await withClient(front.authority, plain, (client) => echoes(client));
    });
  });

  it('answers nonsense with 400 and a broken HTTP/2 preface by closing, and goes on', async () => {
    await withFront(async (front) => {
      const nonsense = connect(front.port, '127.0.0.1');
      nonsense.write('\x16\x03\x01\x00\x05hello\r\n\r\n');
      assert.match(String((await once(nonsense, 'data'))[0]), /^HTTP\/1\.1 400 /);
      const broken = connect(front.port, '127.0.0.1').resume();
      broken.write('PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n and no frames at all');
      await once(broken, 'close');
      await withClient(front.authority, plain, (client) => echoes(client));
    });
  });

  it('ends the calls of a client that has closed its half of the connection', async () => {
    await withFront(async (front) => {
      let socket: Socket | undefined;
      const session = http2Connect(front.url, {
        createConnection: () => {
          socket = connect({ port: front.port, host: '127.0.0.1', allowHalfOpen: true });
          return socket;
        },
      });
      session.on('error', () => {});
      const stream = openStream(session);
      await once(stream, 'data');
      const cancelled = once(front.calls[0] as NodeJS.EventEmitter, 'cancelled');
      socket?.end();
      await cancelled;
      session.destroy();
    });
  });

  it('grants the windows and the number of streams that it promises', async () => {
    await withFront(async (front) => {
      const session = http2Connect(front.url);
      const [settings] = (await once(session, 'remoteSettings')) as [{ [name: string]: number }];
      assert.equal(settings['initialWindowSize'], STREAM_WINDOW_BYTES);
      assert.equal(settings['maxConcurrentStreams'], 321);
      // The window's update may come after the settings; an answered ping has passed both.
      await new Promise((resolve) => session.ping(resolve));
      assert.equal(session.state.remoteWindowSize, CONNECTION_WINDOW_BYTES);
      session.destroy();
    });
  });

  it('pings its clients, to notice those that are gone', async () => {
    await withFront(async (front) => {
      const session = http2Connect(front.url);
      await once(session, 'ping');
      await once(session, 'ping');
      session.destroy();
    });
  });

  it('refuses a message that is malformed or too large on its call alone, and keeps the connection', async () => {
    await withFront(async (front) => {
      await withClient(front.authority, plain, async (client) => {
        await echoes(client);
        await assert.rejects(range(client, Buffer.from('malformed')), {
          code: grpc.status.INTERNAL,
          details: 'grpc: error unmarshalling request: field 0',
        });
        const max = MAX_REQUEST_BYTES + 512 * 1024;
        assert.equal((await range(client, Buffer.alloc(max))).length, max);
        await assert.rejects(range(client, Buffer.alloc(max + 1)), {
          code: grpc.status.RESOURCE_EXHAUSTED,
          details: `Received message larger than max (${max + 1} vs ${max})`,
        });
        await echoes(client);
        assert.equal(new Set(front.peers).size, 1, 'all calls came over one connection');
      });
    });
  });

  it('tolerates pings without streams far more often than kube-apiserver sends them', async () => {
    await withFront(async (front) => {
      const session = http2Connect(front.url);
      await once(session, 'connect');
      for (let i = 0; i < 100; i += 1) {
        assert.ok(session.ping((error) => assert.equal(error, null)));
        await new Promise((resolve) => setImmediate(resolve));
      }
      const stream = openStream(session);
      await once(stream, 'data');
      session.destroy();
    });
  });

  it('says in one line that a port is in use, and leaves none of its URLs bound', async () => {
    await withFront(async (front) => {
      const other = createServer().listen(0, '127.0.0.1');
      await once(other, 'listening');
      const free = portOf(other);
      other.close();
      await once(other, 'close');
      const listener = new Listener({
        urls: [`http://127.0.0.1:${free}`, front.url],
        grpc: new grpc.Server(),
        http: () => {},
        log: { debug() {}, info() {}, warn() {}, error() {} },
      });
      await assert.rejects(listener.listen(), {
        message: `--listen-client-urls: ${front.url} is in use already; end what listens there or choose another port`,
      });
      const again = createServer().listen(free, '127.0.0.1');
      await once(again, 'listening');
      again.close();
    });
  });

  it('lets an open call finish while closing, refuses new connections, and cuts what outlasts the grace', async () => {
    const front = new Front();
    await front.listener.listen();
    const port = front.port;
    const [quick, stubborn] = [http2Connect(front.url), http2Connect(front.url)] as const;
    stubborn.on('error', () => {});
    const [ending, staying] = [openStream(quick), openStream(stubborn)];
    staying.on('error', () => {});
    await Promise.all([once(ending, 'data'), once(staying, 'data')]);
    const idle = connect(port, '127.0.0.1').resume();
    await once(idle, 'connect');
    const closed = front.listener.close(300);
    const refused = once(connect(port, '127.0.0.1'), 'connect');
    await assert.rejects(refused, { code: 'ECONNREFUSED' });
    ending.end();
    const trailers = (await once(ending, 'trailers')) as [{ [name: string]: string }];
    assert.equal(trailers[0]['grpc-status'], '0');
    await Promise.all([closed, closing(stubborn)]);
    await front.listener.close(0);
  });
});

/** Resolves at `close`, whatever error came before it. */
function closing(emitter: NodeJS.EventEmitter): Promise<void> {
  return new Promise((resolve) => emitter.once('close', () => resolve()));
}

function openStream(session: ClientHttp2Session): ClientHttp2Stream {
  return session.request({
    ':method': 'POST',
    ':path': HOLD,
    'content-type': 'application/grpc',
    te: 'trailers',
  });
}

describe('listener with TLS', { skip: missingTools('openssl'), timeout: 60_000 }, () => {
  let made: Certificates | undefined;
  before(() => {
    made = makeCertificates();
  });
  after(() => made?.remove());

  function certificates(): Certificates {
    assert.ok(made !== undefined);
    return made;
  }

  function server(): { cert: Buffer; key: Buffer } {
    return { cert: certificates().server.cert, key: certificates().server.key };
  }

  function mutual(): { cert: Buffer; key: Buffer; ca: Buffer } {
    return { ...server(), ca: certificates().authority.cert };
  }

  /** The protocol agreed on, or the refusal. */
  async function negotiate(front: Front, options: ConnectionOptions): Promise<string | false | null> {
    const socket = tlsConnect({
      port: front.port,
      host: '127.0.0.1',
      ca: certificates().authority.cert,
      ...options,
    });
    await once(socket, 'secureConnect');
    const protocol = socket.alpnProtocol;
    socket.destroy();
    return protocol;
  }

  it('serves gRPC and HTTP/1.1 on one port', async () => {
    await withFront(async (front) => {
      const trusting = grpc.credentials.createSsl(certificates().authority.cert);
      await withClient(front.authority, trusting, (client) => echoes(client));
      const agent = new Agent({ ca: certificates().authority.cert });
      const [response] = (await once(httpsGet(`${front.url}/x`, { agent }), 'response')) as [IncomingMessage];
      assert.equal(await textOf(response), 'GET /x 1.1');
      assert.match(front.peers[0] ?? '', /^127\.0\.0\.1:\d+$/);
    }, server());
  });

  it('agrees on h2 with those who offer it alone, on HTTP/1.1 with those who offer both', async () => {
    await withFront(async (front) => {
      assert.equal(await negotiate(front, { ALPNProtocols: ['h2'] }), 'h2');
      assert.equal(await negotiate(front, { ALPNProtocols: ['h2', 'http/1.1'] }), 'http/1.1');
      assert.equal(await negotiate(front, {}), false);
      await assert.rejects(negotiate(front, { ALPNProtocols: ['spdy/3'] }));
      await assert.rejects(negotiate(front, { maxVersion: 'TLSv1.1' }));
    }, server());
  });

  it('serves HTTP/2 to a client that speaks it without having agreed on it', async () => {
    await withFront(async (front) => {
      const socket = tlsConnect({ port: front.port, host: '127.0.0.1', ca: certificates().authority.cert });
      await once(socket, 'secureConnect');
      const session = http2Connect(front.url, { createConnection: () => socket });
      const stream = openStream(session);
      await once(stream, 'data');
      session.destroy();
    }, server());
  });

  it('refuses whoever shows no certificate of the trusted authority, says so in the log, and goes on', async () => {
    await withFront(async (front) => {
      const { authority, client, stranger } = certificates();
      for (const shown of [undefined, stranger]) {
        const credentials = grpc.credentials.createSsl(authority.cert, shown?.key, shown?.cert);
        await withClient(front.authority, credentials, async (refused) => {
          await assert.rejects(range(refused, Buffer.from('x')), { code: grpc.status.UNAVAILABLE });
        });
      }
      assert.equal(front.peers.length, 0);
      assert.ok(
        front.logged.some((line) => line.level === 'warn' && line.message.startsWith('rejected connection')),
      );
      const trusted = grpc.credentials.createSsl(authority.cert, client.key, client.cert);
      await withClient(front.authority, trusted, (known) => echoes(known));
      assert.deepEqual(front.names, ['client']);
    }, mutual());
  });

  it('survives plain bytes and resets in the handshake', async () => {
    await withFront(async (front) => {
      const plainSocket = connect(front.port, '127.0.0.1').resume();
      plainSocket.on('error', () => {});
      plainSocket.write('GET / HTTP/1.1\r\n\r\n');
      await once(plainSocket, 'close');
      const reset = connect(front.port, '127.0.0.1');
      await once(reset, 'connect');
      reset.write(Buffer.of(0x16, 3, 1));
      reset.resetAndDestroy();
      const trusting = grpc.credentials.createSsl(certificates().authority.cert);
      await withClient(front.authority, trusting, (client) => echoes(client));
    }, server());
  });

  it('closes connections that are still in their handshake', async () => {
    const front = new Front(server());
    await front.listener.listen();
    const silent = connect(front.port, '127.0.0.1').resume();
    await once(silent, 'connect');
    const seen = tlsConnect({ port: front.port, host: '127.0.0.1', ca: certificates().authority.cert });
    await once(seen, 'secureConnect');
    seen.on('error', () => {});
    await Promise.all([front.listener.close(0), closing(silent), closing(seen)]);
  });

  it('is understood by etcdctl, with and without TLS', { skip: missingTools('etcdctl') }, async () => {
    const { authority, client } = certificates();
    await withFront((front) => etcdctlGets(front, []));
    const flags = ['--cacert', authority.certFile, '--cert', client.certFile, '--key', client.keyFile];
    await withFront((front) => etcdctlGets(front, flags), mutual());
  });
});

/** The echo is a RangeRequest, which reads as a RangeResponse without keys; only an error makes etcdctl fail. */
async function etcdctlGets(front: Front, flags: readonly string[]): Promise<void> {
  front.grpc.unregister(RANGE);
  const empty = (_call: UnaryCall, reply: Reply): void => reply(null, Buffer.alloc(0));
  front.grpc.register(RANGE, empty, asIs, asIs, 'unary');
  const words = [
    '--endpoints',
    front.url,
    '--dial-timeout=5s',
    '--command-timeout=5s',
    ...flags,
    'get',
    'key',
  ];
  const { stdout } = await promisify(execFile)('etcdctl', words, {
    env: { ...process.env, ETCDCTL_API: '3' },
  });
  assert.equal(stdout, '');
}
