import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AnswerTurns, type TurnTaker } from '../../src/main/rpc/answer-turns.ts';
import type { UnaryMethod } from '../../src/main/rpc/service.ts';
import { systemClock } from '../../src/shared/base/clock.ts';
import { Front, HOLD, RANGE } from '../support/front.ts';
import { message } from './raw-http2.ts';
import { Stingy } from './stingy.ts';

const LARGE_BYTES = 4 * 1024 * 1024;
/** Of the connection, before it is told otherwise (RFC 9113, section 6.9.2). */
const WINDOW_BYTES = 65_535;

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

const large: UnaryMethod = (request, _call, answer) =>
  answer(null, request.toString() === 'large' ? Buffer.alloc(LARGE_BYTES) : request);

async function withStingy(body: (client: Stingy) => Promise<void>): Promise<void> {
  const front = new Front(undefined, undefined, {}, { unary: new Map([[RANGE, large]]), streams: new Map() });
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
