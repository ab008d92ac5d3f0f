import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as http2Connect } from 'node:http2';
import { connect, type Socket } from 'node:net';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as tlsConnect } from 'node:tls';
import * as grpc from '@grpc/grpc-js';
import fc from 'fast-check';
import { encodeFrame, encodeSettings, FLAG, FRAME_TYPE, PREFACE } from '../../src/main/rpc/http2-frames.ts';
import { encodeInteger, encodeString } from '../../src/shared/base/hpack.ts';
import { makeCertificates } from '../support/certificates.ts';
import { ManualClock } from '../support/clock.ts';
import { asIs, echoes, Front, plain, RANGE, range, withClient, withFront } from '../support/front.ts';
import { missingTools } from '../support/tools.ts';

const HELLO = Buffer.concat([PREFACE, encodeSettings([])]);
const ACK = encodeFrame(FRAME_TYPE.settings, FLAG.ack, 0, Buffer.alloc(0));
const PING = encodeFrame(FRAME_TYPE.ping, 0, 0, Buffer.from('12345678'));
const PONG = encodeFrame(FRAME_TYPE.ping, FLAG.ack, 0, Buffer.from('12345678'));
/** What the front says first, before node does: SETTINGS_MAX_CONCURRENT_STREAMS. */
const SETTINGS = encodeSettings([[3, 321]]);

/** Frames of a call to the echo, which sends "hi". */
function call(authority: string, stream = 1): Buffer {
  const named = (index: number, value: string): Buffer[] => [encodeInteger(index, 4, 0), encodeString(value)];
  const block = Buffer.concat([
    Buffer.of(0x83, 0x86),
    ...named(4, RANGE),
    ...named(1, authority),
    ...named(31, 'application/grpc'),
    ...[Buffer.of(0), encodeString('te'), encodeString('trailers')],
  ]);
  const message = Buffer.from('\0\0\0\0\x02hi', 'latin1');
  return Buffer.concat([
    encodeFrame(FRAME_TYPE.headers, FLAG.endHeaders, stream, block),
    encodeFrame(0, 1, stream, message),
  ]);
}

/** A client that writes bytes by hand. */
class RawClient {
  readonly socket: Socket;
  got: Buffer = Buffer.alloc(0);

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => {});
    socket.on('data', (bytes: Buffer) => {
      this.got = Buffer.concat([this.got, bytes]);
    });
  }

  /** Waits until the server has sent this, anywhere. */
  async sees(wanted: Buffer | string): Promise<void> {
    while (!this.got.includes(wanted)) {
      assert.ok(!this.socket.closed, `closed after ${this.got.toString('hex')}`);
      await sleep(2);
    }
  }

  /** Waits for the second call of the front. */
  async isServedTwice(front: Front): Promise<void> {
    while (front.peers.length < 2) {
      assert.ok(!this.socket.closed, `closed after ${this.got.toString('hex')}`);
      await sleep(2);
    }
  }
}

function rawClient(front: Front): RawClient {
  return new RawClient(connect({ port: front.port, host: '127.0.0.1', noDelay: true }));
}

function urlOptions(front: Front): grpc.ClientOptions {
  return { 'grpc.default_authority': `http://${front.authority}`, 'grpc.use_local_subchannel_pool': 1 };
}

describe('opening of HTTP/2 connections', { timeout: 60_000 }, () => {
  for (const authority of ['127.0.0.1', 'http://127.0.0.1:2379']) {
    it(`serves a client that waits for SETTINGS and pings, and calls ${authority}`, async () => {
      await withFront(async (front) => {
        const client = rawClient(front);
        client.socket.write(HELLO);
        await client.sees(SETTINGS);
        client.socket.write(Buffer.concat([PING, ACK, PING]));
        await client.sees(Buffer.concat([PONG, PONG]));
        assert.deepEqual(client.got, Buffer.concat([SETTINGS, PONG, PONG]));
        client.socket.write(Buffer.concat([call(authority), PING]));
        await client.sees('\0\0\0\0\x02hi');
        // node's own SETTINGS, acknowledged like any: a surplus acknowledgement would end the connection.
        client.socket.write(Buffer.concat([ACK, call(authority, 3)]));
        await client.isServedTwice(front);
        client.socket.destroy();
      });
    });

    it(`serves a client that calls ${authority} before it acknowledges SETTINGS`, async () => {
      await withFront(async (front) => {
        const client = rawClient(front);
        client.socket.write(HELLO);
        await client.sees(SETTINGS);
        client.socket.write(call(authority));
        await sleep(20);
        assert.equal(front.peers.length, 0);
        client.socket.write(ACK);
        await client.sees('\0\0\0\0\x02hi');
        client.socket.write(Buffer.concat([ACK, call(authority, 3)]));
        await client.isServedTwice(front);
        client.socket.destroy();
      });
    });

    it(`serves a call to ${authority} that comes with the preface, one byte at a time`, async () => {
      await withFront(async (front) => {
        const client = rawClient(front);
        // The acknowledgement is due once the SETTINGS were seen, which is while the call is on its way.
        const bytes = [...HELLO, ...call(authority).subarray(0, 30)];
        for (const byte of bytes) {
          client.socket.write(Buffer.of(byte));
          await new Promise(setImmediate);
        }
        await client.sees(SETTINGS);
        for (const byte of [...call(authority).subarray(30), ...ACK, ...ACK, ...call(authority, 3)]) {
          client.socket.write(Buffer.of(byte));
          await sleep(1);
        }
        await client.isServedTwice(front);
        client.socket.destroy();
      });
    });
  }

  it('sends nothing of its own to a client whose call comes at once', async () => {
    await withFront(async (front) => {
      const client = rawClient(front);
      client.socket.write(Buffer.concat([HELLO, call('a')]));
      await client.sees('\0\0\0\0\x02hi');
      assert.ok(!client.got.subarray(0, SETTINGS.length).equals(SETTINGS));
      client.socket.destroy();
    });
  });

  it('serves grpc-js and node clients whose authority is a URL, many connections at a time', async () => {
    await withFront(async (front) => {
      const clients = Array.from({ length: 70 }, (_, i) => {
        const options = i % 2 === 0 ? urlOptions(front) : { 'grpc.use_local_subchannel_pool': 1 };
        return new grpc.Client(front.authority, plain, options);
      });
      for (let round = 0; round < 3; round++) {
        const replies = await Promise.all(
          clients.map((client) => range(client, Buffer.alloc(60_000, round))),
        );
        for (const reply of replies) assert.deepEqual(reply, Buffer.alloc(60_000, round));
      }
      for (const client of clients) client.close();
      const session = http2Connect(front.url);
      const stream = session.request({
        ':method': 'POST',
        ':path': RANGE,
        ':authority': 'http://x/',
        'content-type': 'application/grpc',
        te: 'trailers',
      });
      stream.end(Buffer.alloc(5));
      assert.equal(String((await once(stream, 'response'))[0][':status']), '200');
      session.destroy();
    });
  });

  it('serves URLs as authority over TLS', { skip: missingTools('openssl') }, async () => {
    const { server, authority, remove } = makeCertificates();
    try {
      await withFront(async (front) => {
        const open = { port: front.port, host: '127.0.0.1', ca: authority.cert, ALPNProtocols: ['h2'] };
        const client = new RawClient(tlsConnect(open));
        client.socket.write(HELLO);
        await client.sees(SETTINGS);
        client.socket.write(Buffer.concat([PING, ACK, call('https://127.0.0.1:2379')]));
        await client.sees('\0\0\0\0\x02hi');
        client.socket.destroy();
        const trusting = grpc.credentials.createSsl(authority.cert, null, null, {
          checkServerIdentity: () => undefined,
        });
        const options = { ...urlOptions(front), 'grpc.ssl_target_name_override': '127.0.0.1' };
        const url = new grpc.Client(front.authority, trusting, options);
        await echoes(url);
        url.close();
      }, server);
    } finally {
      remove();
    }
  });

  it('hands over a client without a call after ten seconds, but not before its acknowledgement', async () => {
    const clock = new ManualClock();
    await withFront(
      async (front) => {
        const [idle, silent] = [rawClient(front), rawClient(front)];
        for (const client of [idle, silent]) {
          client.socket.write(HELLO);
          await client.sees(SETTINGS);
        }
        idle.socket.write(Buffer.concat([ACK, PING]));
        await idle.sees(PONG);
        clock.advance(9_999);
        idle.got = Buffer.alloc(0);
        clock.advance(1);
        // node acknowledges the client's SETTINGS when it has them.
        await idle.sees(ACK);
        idle.socket.write(Buffer.concat([ACK, call('a')]));
        await idle.sees('\0\0\0\0\x02hi');
        assert.deepEqual(silent.got, SETTINGS);
        const closed = once(silent.socket, 'close');
        clock.advance(20_000);
        await closed;
        assert.ok(!idle.socket.closed);
        idle.socket.destroy();
      },
      undefined,
      clock,
    );
  });

  it('tells a client that has no call yet to go elsewhere when the server closes', async () => {
    const front = new Front();
    await front.listener.listen();
    const client = rawClient(front);
    client.socket.write(HELLO);
    await client.sees(SETTINGS);
    await front.listener.close(10_000);
    await client.sees(encodeFrame(FRAME_TYPE.goAway, 0, 0, Buffer.alloc(8)));
    client.socket.destroy();
  });

  it('gives up on a client that sends much without an acknowledgement, and on one that only pings', async () => {
    await withFront(async (front) => {
      const [unwilling, pinging] = [rawClient(front), rawClient(front)];
      for (const client of [unwilling, pinging]) {
        client.socket.write(HELLO);
        await client.sees(SETTINGS);
      }
      unwilling.socket.write(call('a').subarray(0, -16));
      const data = encodeFrame(0, 0, 1, Buffer.alloc(16_384));
      for (let i = 0; i < 15; i++) unwilling.socket.write(data);
      await sleep(50);
      assert.deepEqual(unwilling.got, SETTINGS);
      unwilling.socket.write(data);
      // node acknowledges the client's SETTINGS when it has them.
      await unwilling.sees(ACK);
      pinging.socket.write(ACK);
      for (let i = 0; i < 99; i++) pinging.socket.write(PING);
      await pinging.sees(Buffer.concat(Array.from({ length: 99 }, () => PONG)));
      assert.ok(!pinging.got.includes(ACK));
      pinging.socket.write(Buffer.concat([PING, call('a')]));
      await pinging.sees('\0\0\0\0\x02hi');
      unwilling.socket.destroy();
      pinging.socket.destroy();
    });
  });

  it('survives frames of any kind, cut anywhere, and clients that reset or end', async () => {
    await withFront(async (front) => {
      const reset = encodeFrame(3, 0, 1, Buffer.alloc(4));
      const urls = [call('http://a/'), call('http://a/', 3), call('http://a/').subarray(0, -16)];
      const known = [ACK, PING, reset, HELLO.subarray(24), call('a'), ...urls];
      const random = fc
        .tuple(fc.nat(10), fc.nat(255), fc.nat(3), fc.uint8Array({ maxLength: 40 }))
        .map(([type, flags, stream, payload]) => encodeFrame(type, flags, stream, payload));
      const noise = fc.uint8Array({ maxLength: 20 }).map(Buffer.from);
      const piece = fc.oneof(fc.constantFrom(...known), random, noise);
      const ending = fc.constantFrom('end', 'reset', 'destroy');
      const property = fc.asyncProperty(
        fc.array(piece, { maxLength: 8 }),
        fc.constantFrom(HELLO, HELLO, HELLO, PREFACE),
        fc.boolean(),
        ending,
        async (pieces, hello, waits, how) => {
          const { socket } = rawClient(front);
          await once(socket, 'connect');
          for (const bytes of [hello, ...pieces]) {
            if (socket.writable) socket.write(bytes);
            if (waits) await new Promise(setImmediate);
          }
          // Sometimes when the server has begun to answer.
          if (waits) await sleep(1);
          if (how === 'end') socket.end();
          else if (how === 'reset') socket.resetAndDestroy();
          // node leaves some half-closed connections open after an error of theirs.
          if (how === 'end') await sleep(2);
          if (how !== 'reset') socket.destroy();
          if (!socket.closed) await once(socket, 'close');
        },
      );
      await fc.assert(property, { numRuns: 400 });
      await withClient(front.authority, plain, (client) => echoes(client));
    });
  });

  it('refuses a URL in a later call of a connection that began without one, on that call alone', async () => {
    await withFront(async (front) => {
      await withClient(front.authority, plain, async (client) => {
        await echoes(client);
        const refused = new Promise((resolve) => {
          const options = { host: 'http://x/', deadline: Date.now() + 5_000 };
          client.makeUnaryRequest(RANGE, asIs, asIs, Buffer.alloc(0), options, (error) =>
            resolve(error?.code),
          );
        });
        assert.equal(await refused, grpc.status.INTERNAL);
        await echoes(client);
        assert.equal(new Set(front.peers).size, 1);
      });
    });
  });
});
