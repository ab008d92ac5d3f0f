import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, it } from 'node:test';
import { AnswerTurns, type TurnTaker } from '../../src/main/rpc/answer-turns.ts';
import {
  encodeFrame,
  encodeIntegerFrame,
  encodeSettings,
  FLAG,
  FRAME_TYPE,
  FrameCutter,
  PREFACE,
} from '../../src/main/rpc/http2-frames.ts';
import type { UnaryMethod } from '../../src/main/rpc/service.ts';
import { systemClock } from '../../src/shared/base/clock.ts';
import { Front, HOLD, RANGE } from '../support/front.ts';
import { data, headers, message } from './raw-http2.ts';

const LARGE_BYTES = 4 * 1024 * 1024;
/** Of the connection, before it is told otherwise (RFC 9113, section 6.9.2). */
const WINDOW_BYTES = 65_535;
const MANY_BYTES = 2 ** 30;

describe('the turns of large answers', () => {
  /** What is sent in each turn of the event loop, by who sends it. */
  function turnsOf(answers: Record<string, number>): string[][] {
    const soon: (() => void)[] = [];
    const turns = new AnswerTurns({ ...systemClock, soon: (action) => soon.push(action) });
    const sent: string[][] = [];
    for (const [name, bytes] of Object.entries(answers)) {
      let left = bytes;
      const taker: TurnTaker = {
        takeTurn(bytesMax) {
          const now = Math.min(left, bytesMax);
          left -= now;
          if (now > 0) sent.at(-1)!.push(`${name} ${now / 1024}`);
          return now;
        },
      };
      turns.add(taker);
      turns.add(taker);
    }
    while (soon.length > 0) {
      assert.equal(soon.length, 1, 'one turn at a time');
      sent.push([]);
      soon.shift()!();
    }
    return sent;
  }

  it('have a bounded part of each turn of the event loop, and each connection its share of that', () => {
    const [first, second, third, ...rest] = turnsOf({ a: 700 * 1024, b: 100 * 1024, c: 700 * 1024 });
    assert.deepEqual(first, ['a 128', 'b 100', 'c 128', 'a 128', 'c 28']);
    assert.deepEqual(second, ['a 128', 'c 128', 'a 128', 'c 128']);
    assert.deepEqual(third, ['a 128', 'c 128', 'a 60', 'c 128', 'c 32']);
    assert.deepEqual(rest.flat(), []);
  });
});

/** A client that gives the server no more of its connection's window than it says. */
class Stingy {
  readonly #socket;
  readonly #cutter = new FrameCutter();
  readonly #received = new Map<number, number>();
  /** Streams that the server has ended, in that order. */
  readonly ended: number[] = [];
  #bytes = 0;
  #pings = 0;

  constructor(port: number) {
    this.#socket = connect({ port, host: '127.0.0.1' });
    const initialWindowSize = 4;
    this.#socket.write(Buffer.concat([PREFACE, encodeSettings([[initialWindowSize, MANY_BYTES]])]));
    this.#socket.on('data', (bytes: Buffer) => {
      this.#cutter.push(bytes);
      for (let frame = this.#cutter.next(); frame !== undefined; frame = this.#cutter.next()) {
        const { type, flags, stream, payload } = frame;
        if (type === FRAME_TYPE.settings && (flags & FLAG.ack) === 0) {
          this.#socket.write(encodeFrame(FRAME_TYPE.settings, FLAG.ack, 0, Buffer.alloc(0)));
        }
        if (type === FRAME_TYPE.ping) this.#pings++;
        if (type === FRAME_TYPE.data) {
          this.#bytes += payload.length;
          this.#received.set(stream, this.received(stream) + payload.length);
        }
        const mayEnd = type === FRAME_TYPE.headers || type === FRAME_TYPE.data;
        if (mayEnd && (flags & FLAG.endStream) !== 0) this.ended.push(stream);
      }
    });
  }

  received(stream: number): number {
    return this.#received.get(stream) ?? 0;
  }

  open(stream: number, path: string): void {
    this.#socket.write(
      headers(stream, [
        ...([[':method', 'POST']] as const),
        ...([[':scheme', 'http']] as const),
        ...([[':path', path]] as const),
        ...([[':authority', 'a:1']] as const),
        ...([['content-type', 'application/grpc']] as const),
        ...([['te', 'trailers']] as const),
      ]),
    );
  }

  send(stream: number, text: string | Buffer, ends = true): void {
    this.#socket.write(data(stream, message(Buffer.from(text)), ends ? FLAG.endStream : 0));
  }

  /** Resolves when so much DATA has come, of all streams. */
  async until(bytes: number): Promise<void> {
    while (this.#bytes < bytes) await once(this.#socket, 'data');
  }

  /** Resolves when the server has taken what was sent. */
  async ping(): Promise<void> {
    const before = this.#pings;
    this.#socket.write(encodeFrame(FRAME_TYPE.ping, 0, 0, Buffer.alloc(8)));
    while (this.#pings === before) await once(this.#socket, 'data');
  }

  /** Opens the window a little and waits until that is used up; again and again, until `enough`. */
  async giveUntil(stepBytes: number, enough: () => boolean): Promise<void> {
    while (!enough()) {
      const used = this.#bytes + stepBytes;
      this.#socket.write(encodeIntegerFrame(FRAME_TYPE.windowUpdate, 0, stepBytes));
      while (this.#bytes < used && !enough()) await once(this.#socket, 'data');
    }
  }

  close(): void {
    this.#socket.destroy();
  }
}

const large: UnaryMethod = (request, _call, answer) =>
  answer(null, request.toString() === 'large' ? Buffer.alloc(LARGE_BYTES) : request);

async function withStingy(body: (client: Stingy) => Promise<void>): Promise<void> {
  const front = new Front(undefined, undefined, {}, new Map([[RANGE, large]]));
  await front.listener.listen();
  const client = new Stingy(front.port);
  try {
    await body(client);
  } finally {
    client.close();
    await front.listener.close(0);
  }
}

describe('a large answer that has used up the window of its connection', { timeout: 60_000 }, () => {
  it('shares it with a small answer that comes later', async () => {
    await withStingy(async (client) => {
      client.open(1, RANGE);
      client.send(1, 'large');
      await client.until(WINDOW_BYTES);
      client.open(3, RANGE);
      client.send(3, 'small');
      await client.ping();
      await client.giveUntil(4096, () => client.ended.length > 0);
      assert.deepEqual(client.ended, [3]);
    });
  });

  it("lets a stream of node's send what is larger than the window's next opening", async () => {
    await withStingy(async (client) => {
      client.open(1, HOLD);
      const opened = message(Buffer.from('open')).length;
      await client.until(opened);
      client.open(3, RANGE);
      client.send(3, 'large');
      await client.until(WINDOW_BYTES);
      const event = Buffer.alloc(12_000, 'e');
      client.send(1, event, false);
      await client.ping();
      const whole = opened + message(event).length;
      await client.giveUntil(4096, () => client.received(1) === whole || client.ended.length > 0);
      assert.deepEqual([client.received(1), client.ended], [whole, []]);
    });
  });
});
