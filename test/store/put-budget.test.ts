import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { budgetedStore } from '../../src/main/store/budgeted.ts';
import { PutBudget } from '../../src/main/store/put-budget.ts';
import { PART_BYTES } from '../../src/main/store/s3-multipart.ts';
import { ManualClock } from '../support/clock.ts';
import { MemoryStore } from '../support/memory-store.ts';

const MINUTE_MS = 60_000;

/** The times at which batches close one after the other, each as soon as it may; `meanwhile` sees each of them. */
function closings(
  budget: PutBudget,
  clock: ManualClock,
  untilMs: number,
  meanwhile: (index: number) => void = () => {},
): number[] {
  const times: number[] = [];
  while (clock.monotonicMs() < untilMs) {
    clock.advance(budget.waitMs());
    budget.take();
    budget.sent(1);
    times.push(clock.monotonicMs());
    meanwhile(times.length);
    // The batch window.
    clock.advance(5);
  }
  return times;
}

function gaps(times: readonly number[]): number[] {
  return times.slice(1).map((time, index) => time - times[index]!);
}

/** The most events within any `windowMs`. */
function mostWithin(times: readonly number[], windowMs: number): number {
  let [most, first] = [0, 0];
  for (const [last, time] of times.entries()) {
    while (time - times[first]! >= windowMs) first++;
    most = Math.max(most, last - first + 1);
  }
  return most;
}

describe('a budget of PUTs', () => {
  it('lets a batch of an idle server close at once', () => {
    const clock = new ManualClock();
    const budget = new PutBudget(10, clock);
    for (let write = 0; write < 20; write++) {
      assert.equal(budget.waitMs(), 0);
      budget.take();
      budget.sent(1);
      clock.advance(500);
    }
  });

  it('widens the gap between batches little by little, and then keeps it', () => {
    const clock = new ManualClock();
    const times = closings(new PutBudget(10, clock), clock, MINUTE_MS);
    const [first = 0] = gaps(times);
    assert.ok(first < 30, `${first} ms after the first`);
    for (const [index, gap] of gaps(times).entries()) {
      assert.ok(gap < 106, `gap ${index} is ${gap} ms`);
      if (index > 40) assert.ok(gap > 105, `gap ${index} is ${gap} ms`);
    }
  });

  it('lets no twenty seconds have more than they may, however much was saved', () => {
    for (const perSecond of [2, 3, 10, 1000]) {
      const clock = new ManualClock();
      const times = closings(new PutBudget(perSecond, clock), clock, 2 * MINUTE_MS);
      const most = mostWithin(times, 20_000);
      assert.ok(most <= 20 * perSecond, `${most} at ${perSecond} per second`);
    }
  });

  it('spreads what another PUT costs over the next gaps', () => {
    const clock = new ManualClock();
    const budget = new PutBudget(10, clock);
    const times = closings(budget, clock, MINUTE_MS, (index) => {
      if (index === 100) budget.sent(1);
    });
    const widest = Math.max(...gaps(times));
    assert.ok(widest > 115 && widest < 130, `${widest} ms`);
    assert.ok(mostWithin(times, 20_000) <= 200);
  });

  it('holds batches back by half of the rate at most, however much is owed, and forgets what is beyond a minute', () => {
    const clock = new ManualClock();
    const budget = new PutBudget(10, clock);
    budget.sent(1_000_000);
    assert.equal(budget.saved, -600);
    const slow = gaps(closings(budget, clock, 2.2 * MINUTE_MS));
    assert.ok(Math.max(...slow) < 211, `${Math.max(...slow)} ms`);
    assert.ok(budget.saved > 0, `${budget.saved}`);
  });

  it('gives a batch that has nothing to send its PUT back, and the one after it its place', () => {
    const clock = new ManualClock();
    const budget = new PutBudget(10, clock);
    closings(budget, clock, MINUTE_MS);
    clock.advance(budget.waitMs());
    const before = budget.saved;
    budget.take();
    assert.ok(budget.waitMs() > 0);
    budget.giveBack();
    assert.equal(budget.waitMs(), 0);
    assert.ok(Math.abs(budget.saved - before) < 1e-9);
  });

  it('keeps the gap after a batch that is sent, also when the one before it turns out to have nothing to send', () => {
    const clock = new ManualClock();
    const budget = new PutBudget(10, clock);
    closings(budget, clock, MINUTE_MS);
    for (let batch = 0; batch < 2; batch++) {
      clock.advance(budget.waitMs());
      budget.take();
    }
    budget.giveBack();
    assert.ok(budget.waitMs() > 50, `${budget.waitMs()} ms`);
  });

  it('counts what was sent, also when another request was sent in the place of a batch that sends nothing', () => {
    const clock = new ManualClock();
    const budget = new PutBudget(10, clock);
    budget.take();
    budget.sent(1);
    budget.giveBack();
    assert.equal(budget.saved, 9);
  });

  it('whatever is asked for when: batches and their hedges keep to the rate, and none waits for long', (context) => {
    const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
    context.diagnostic(`SEED=${seed}`);
    const step = fc.record({
      waitMs: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 5_000 })),
      what: fc.constantFrom('batch', 'batch', 'batch', 'nothing to send', 'hedge', 'twin'),
    });
    const property = fc.property(
      fc.array(step, { minLength: 1, maxLength: 400 }),
      fc.constantFrom(1, 2, 2.5, 3, 10, 50),
      (steps, perSecond) => {
        const clock = new ManualClock();
        const budget = new PutBudget(perSecond, clock);
        const times: number[] = [];
        const sent = (): void => {
          budget.sent(1);
          times.push(clock.monotonicMs());
        };
        for (const { waitMs, what } of steps) {
          clock.advance(waitMs);
          if (what === 'hedge' && budget.hasOneToSpare()) sent();
          if (what === 'hedge') continue;
          const heldMs = budget.waitMs();
          assert.ok(heldMs <= 2_200 / perSecond, `held for ${heldMs} ms`);
          clock.advance(heldMs);
          budget.take();
          if (what === 'nothing to send') budget.giveBack();
          else sent();
          if (what === 'twin' && budget.hasPlenty()) sent();
          assert.ok(budget.saved > -0.01, `${budget.saved} saved`);
        }
        for (const seconds of [1, 5, 20]) {
          const most = mostWithin(times, seconds * 1000);
          const may = 0.95 * perSecond * seconds + Math.max(2, perSecond);
          assert.ok(most <= may + 0.01, `${most} in ${seconds} s at ${perSecond} per second`);
        }
      },
    );
    fc.assert(property, { seed, numRuns: 300 });
  });
});

describe('a store whose PUTs are counted', () => {
  const counting = (): { budget: PutBudget; store: ReturnType<typeof budgetedStore>; sent(): number } => {
    const budget = new PutBudget(100, new ManualClock());
    return { budget, store: budgetedStore(new MemoryStore(), budget), sent: () => 100 - budget.saved };
  };

  it('counts creates, also refused ones, and puts; no reads, lists and deletes', async () => {
    const { store, sent } = counting();
    const body = new Uint8Array(1);
    await store.putIfAbsent('a', body);
    await store.putIfAbsent('a', body);
    await store.put('b', body);
    assert.equal(sent(), 3);
    await store.get('a');
    await store.getRange('a', 0, 1);
    for await (const { key } of store.list('')) await store.delete(key);
    assert.equal(sent(), 3);
  });

  it('counts the parts of a large object, and the two requests around them', async () => {
    for (const [bytes, puts] of [
      [0, 1],
      [PART_BYTES, 1],
      [PART_BYTES + 1, 4],
      [3 * PART_BYTES, 5],
    ] as const) {
      const { store, sent } = counting();
      const pieces = async function* (): AsyncGenerator<Uint8Array> {
        for (let left = bytes; left > 0; left -= PART_BYTES / 2) {
          yield new Uint8Array(Math.min(left, PART_BYTES / 2));
        }
      };
      await store.putMultipart('large', pieces());
      assert.equal(sent(), puts, `${bytes} bytes`);
    }
  });
});
