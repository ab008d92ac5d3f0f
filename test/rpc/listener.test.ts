import assert from 'node:assert/strict';
import { once } from 'node:events';
import { get as httpGet, type IncomingMessage } from 'node:http';
import { connect as http2Connect } from 'node:http2';
import { type AddressInfo, connect, createServer, type Server as NetServer, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import * as grpc from '@grpc/grpc-js';
import { Listener } from '../../src/main/rpc/listener.ts';
import { CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES } from '../../src/main/rpc/windows.ts';
import { ManualClock } from '../support/clock.ts';
import {
  closing,
  echoes,
  Front,
  LIMITS,
  MAX_REQUEST_BYTES,
  openStream,
  plain,
  range,
  textOf,
  withClient,
  withFront,
} from '../support/front.ts';

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
      openStream(session);
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
      openStream(session).on('error', () => {});
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
          details: 'grpc: error unmarshalling request: proto: cannot parse invalid wire-format data',
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
        limits: LIMITS,
        isDuplex: () => false,
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
