import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type AppendAttempt, Appender, type AppenderOptions } from '../../src/main/store/append.ts';
import { budgetedStore } from '../../src/main/store/budgeted.ts';
import { StoreError } from '../../src/main/store/errors.ts';
import { PutBudget } from '../../src/main/store/put-budget.ts';
import type { ObjectStore } from '../../src/main/store/store.ts';
import { type Log, silentLog } from '../../src/shared/base/log.ts';
import type { Random } from '../../src/shared/base/random.ts';
import { UPLOAD_TRUST_MS } from '../../src/shared/model/limits.ts';
import { ManualClock } from '../support/clock.ts';
import {
  type Fault,
  type FaultPlan,
  faultyStore,
  lostAnswer,
  randomFaults,
} from '../support/faulty-store.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { text } from './contract.ts';

const KEY = 'chunks/0000000000000000001.netsy';
const OURS = text('our chunk');
const THEIRS = text('their chunk');

/** A seeded stream of numbers (mulberry32 is enough for faults and jitter). */
function seededRandom(seed: number): Random {
  let state = seed;
  const fraction = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return { fraction, bytes: (length) => Uint8Array.from({ length }, () => fraction() * 256) };
}

interface Bench {
  readonly clock: ManualClock;
  readonly memory: MemoryStore;
  readonly appender: Appender;
  readonly attempts: AppendAttempt[];
  /** Moves time on until the promise has settled. */
  settle<T>(promise: Promise<T>): Promise<T>;
}

function bench(plan: FaultPlan, options: Partial<AppenderOptions> = {}, seed = 1): Bench {
  const clock = new ManualClock();
  const memory = new MemoryStore();
  const attempts: AppendAttempt[] = [];
  const appender = new Appender(faultyStore(memory, plan, clock), {
    hedgeAfterMs: 'off',
    attemptTimeoutMs: 10_000,
    clock,
    random: seededRandom(seed),
    log: silentLog,
    onAttempt: (attempt) => attempts.push(attempt),
    ...options,
  });
  return { clock, memory, appender, attempts, settle: (promise) => settle(clock, promise) };
}

async function settle<T>(clock: ManualClock, promise: Promise<T>, stepMs = 5): Promise<T> {
  let isSettled = false;
  const watched = promise.finally(() => {
    isSettled = true;
  });
  watched.catch(() => undefined);
  for (let step = 0; step < 100_000; step++) {
    await turn();
    if (isSettled) return watched;
    clock.advance(stepMs);
  }
  throw new Error(`the promise did not settle in 100,000 steps of ${stepMs} ms`);
}

/** Lets everything that is ready run. */
async function turn(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** The first calls meet these faults, the later ones none. */
function scripted(...faults: Fault[]): FaultPlan {
  return (_operation, _key, call) => faults[call] ?? {};
}

/** What was asked of the store, in order of the answers. */
function story(attempts: readonly AppendAttempt[]): string {
  return attempts.map(({ request, outcome }) => `${request} ${outcome}`).join(', ');
}

describe('an append', () => {
  it('is durable after one PUT when the store answers', async () => {
    const { appender, settle, attempts, memory } = bench(scripted());
    assert.equal(await settle(appender.append(KEY, OURS, 1)), 'durable');
    assert.equal(story(attempts), 'put created');
    assert.deepEqual(await memory.get(KEY), OURS);
  });

  it('whose answer was lost finds its own object and is durable', async () => {
    const { appender, settle, attempts } = bench(scripted({ failAfter: lostAnswer() }));
    assert.equal(await settle(appender.append(KEY, OURS, 1)), 'durable');
    assert.equal(story(attempts), 'put failed, put exists, readback read');
  });

  it('that finds its own object at the very first PUT is durable', async () => {
    const { appender, settle, memory } = bench(scripted());
    await memory.put(KEY, OURS);
    assert.equal(await settle(appender.append(KEY, OURS, 1)), 'durable');
  });

  it("that meets another writer's object is lost, also when a failure came first", async () => {
    for (const plan of [scripted(), scripted({ failBefore: lostAnswer() })]) {
      const { appender, settle, memory } = bench(plan);
      await memory.put(KEY, THEIRS);
      assert.equal(await settle(appender.append(KEY, OURS, 1)), 'lost');
      assert.deepEqual(await memory.get(KEY), THEIRS);
    }
  });

  it('is lost to an object that only begins like its own, or has no bytes', async () => {
    for (const other of [text('our chunk and more'), text('our chun'), text('')]) {
      const { appender, settle, memory } = bench(scripted());
      await memory.put(KEY, other);
      assert.equal(await settle(appender.append(KEY, OURS, 1)), 'lost');
    }
  });

  it('tries again until the object could be read back', async () => {
    const { appender, settle, attempts, memory } = bench(
      scripted({}, { failBefore: lostAnswer() }, { failAfter: lostAnswer() }),
    );
    await memory.put(KEY, OURS);
    assert.equal(await settle(appender.append(KEY, OURS, 1)), 'durable');
    assert.equal(story(attempts), 'put exists, readback failed, put failed, put exists, readback read');
  });

  it('puts again when the object that existed is gone at the reading back', async () => {
    const { appender, settle, attempts, memory, clock } = bench(scripted({ delayAfterMs: 100 }));
    await memory.put(KEY, THEIRS);
    const appending = appender.append(KEY, OURS, 1);
    await turn();
    await memory.delete(KEY);
    clock.advance(100);
    assert.equal(await settle(appending), 'durable');
    assert.equal(story(attempts), 'put exists, readback absent, put created');
  });

  it('takes a PUT that is never answered for unknown after the time-out, and tries again', async () => {
    const { appender, settle, attempts } = bench(scripted({ delayAfterMs: 1e9 }), {
      attemptTimeoutMs: 2_000,
    });
    assert.equal(await settle(appender.append(KEY, OURS, 1)), 'durable');
    assert.equal(story(attempts), 'put failed, put exists, readback read');
    assert.equal(attempts[0]?.latencyMs, 2_000);
  });

  it('backs off with growing pauses of 50 ms to 5 s, and no less than the store asks for', async () => {
    const slowDown = new StoreError('transient', 'SlowDown', { status: 503, retryAfterMs: 7_000 });
    const failures = [
      ...Array.from({ length: 10 }, () => ({ failBefore: lostAnswer() })),
      { failBefore: slowDown },
    ];
    const starts: number[] = [];
    const clockHolder: { clock?: ManualClock } = {};
    const run = bench((_operation, _key, call) => {
      starts.push(clockHolder.clock?.monotonicMs() ?? 0);
      return failures[call] ?? {};
    });
    clockHolder.clock = run.clock;
    assert.equal(await run.settle(run.appender.append(KEY, OURS, 1)), 'durable');
    const pauses = starts.slice(1).map((start, i) => start - starts[i]!);
    for (const [index, pause] of pauses.slice(0, 10).entries()) {
      const ceiling = Math.min(5_000, 50 * 2 ** index);
      assert.ok(pause >= ceiling / 2 && pause <= ceiling + 5, `pause ${index} is ${pause}`);
    }
    assert.ok(pauses[10]! >= 7_000);
  });

  it('goes on through refusals, which may be rotated credentials, and reports them', async () => {
    const denied = new StoreError('denied', 'AccessDenied', { status: 403 });
    const { appender, settle, clock } = bench(scripted({ failBefore: denied }, { failBefore: denied }));
    const since = clock.wallMs();
    const appending = appender.append(KEY, OURS, 1);
    await turn();
    assert.deepEqual(appender.trouble, { since, error: denied });
    assert.equal(await settle(appending), 'durable');
    assert.equal(appender.trouble, undefined);
  });

  it('keeps the time of the first failure and the latest error as its trouble, until an answer', async () => {
    const first = lostAnswer();
    const second = new StoreError('transient', 'SlowDown', { status: 503 });
    const messages: string[] = [];
    const log: Log = {
      ...silentLog,
      warn: (message) => messages.push(message),
      info: (m) => messages.push(m),
    };
    const run = bench(scripted({ failBefore: first }, { failBefore: second }), { log });
    const since = run.clock.wallMs();
    const appending = run.appender.append(KEY, OURS, 1);
    await turn();
    assert.deepEqual(run.appender.trouble, { since, error: first });
    run.clock.advance(60);
    await turn();
    assert.deepEqual(run.appender.trouble, { since, error: second });
    await run.settle(appending);
    assert.equal(run.appender.trouble, undefined);
    assert.deepEqual(messages, ['store failed an upload', 'store answers again']);
  });

  it('ends with an error that trying again cannot help, and keeps it as its trouble', async () => {
    for (const kind of ['fatal', 'unsupported'] as const) {
      const error = new StoreError(kind, 'no way');
      const { appender, settle } = bench(scripted({ failBefore: error }));
      await assert.rejects(settle(appender.append(KEY, OURS, 1)), error);
      assert.equal(appender.trouble?.error, error);
    }
  });

  it('ends with the reason of its signal, in a PUT and in a pause, and leaves no timer', async () => {
    for (const fault of [{ delayBeforeMs: 1e9 }, { failBefore: lostAnswer() }]) {
      const { appender, clock } = bench(scripted(fault), { hedgeAfterMs: 500 });
      const controller = new AbortController();
      const reason = new Error('shutting down');
      const rejected = assert.rejects(appender.append(KEY, OURS, 1, controller.signal), reason);
      await turn();
      controller.abort(reason);
      await rejected;
      assert.ok(clock.waiting <= ('delayBeforeMs' in fault ? 1 : 0), 'only the injected delay is left');
    }
  });
});

describe('an answer that comes late', () => {
  const late = { attemptTimeoutMs: 10 * UPLOAD_TRUST_MS };

  it('is trusted up to the limit', async () => {
    const { appender, settle, attempts } = bench(scripted({ delayAfterMs: UPLOAD_TRUST_MS }), late);
    assert.equal(await settle(appender.append(KEY, OURS, 1)), 'durable');
    assert.equal(story(attempts), 'put created');
  });

  it('is not trusted beyond it: the object is read back', async () => {
    const { appender, settle, attempts } = bench(scripted({ delayAfterMs: UPLOAD_TRUST_MS + 1 }), late);
    assert.equal(await settle(appender.append(KEY, OURS, 1)), 'durable');
    assert.equal(story(attempts), 'put created, readback read');
  });

  it("is not durable when another writer's object is there by then", async () => {
    const { appender, settle, memory } = bench(scripted({ delayAfterMs: UPLOAD_TRUST_MS + 1 }), late);
    const appending = appender.append(KEY, OURS, 1);
    await turn();
    await memory.put(KEY, THEIRS);
    assert.equal(await settle(appending), 'lost');
  });

  it('counts from the first try, so that a retry after a long outage is read back too', async () => {
    const outage = Array.from({ length: 25 }, () => ({ failBefore: lostAnswer() }));
    const { appender, settle, attempts } = bench(scripted(...outage));
    assert.equal(await settle(appender.append(KEY, OURS, 1)), 'durable');
    assert.match(story(attempts), /put failed, put created, readback read$/);
  });
});

describe('an answer that comes late to a process whose lease has run out', () => {
  const lateFault = { delayAfterMs: UPLOAD_TRUST_MS + 1 };

  it('decides nothing, not even when the object is read back, until the lease is renewed', async () => {
    let primary = true;
    const { clock, appender, settle } = bench(scripted(lateFault), {
      attemptTimeoutMs: 10 * UPLOAD_TRUST_MS,
      isPrimary: () => primary,
    });
    let outcome: string | undefined;
    const appending = appender.append(KEY, OURS, 1).then((answer) => {
      outcome = answer;
    });
    await turn();
    primary = false;
    await settle(clock.sleep(2 * UPLOAD_TRUST_MS));
    assert.equal(outcome, undefined);
    primary = true;
    await settle(appending);
    assert.equal(outcome, 'durable');
  });

  it("is lost when another writer's object is there", async () => {
    let primary = true;
    const { appender, settle, memory } = bench(scripted(lateFault), {
      attemptTimeoutMs: 10 * UPLOAD_TRUST_MS,
      isPrimary: () => primary,
    });
    const appending = appender.append(KEY, OURS, 1);
    await turn();
    primary = false;
    await memory.put(KEY, THEIRS);
    assert.equal(await settle(appending), 'lost');
  });
});

describe('a process whose lease has run out', () => {
  it('sends nothing before the lease is renewed: the name may have been used and freed while it slept', async () => {
    let primary = false;
    const { clock, appender, settle, memory, attempts } = bench(scripted(), { isPrimary: () => primary });
    const appending = appender.append(KEY, OURS, 1);
    await settle(clock.sleep(2 * UPLOAD_TRUST_MS));
    assert.deepEqual(attempts, []);
    assert.equal(await memory.get(KEY), undefined);
    primary = true;
    assert.equal(await settle(appending), 'durable');
  });

  it('nor a second try, nor a hedge', async () => {
    let primary = true;
    const lostPut = scripted({ delayAfterMs: 5_000, failAfter: lostAnswer() });
    const { clock, appender, settle, attempts } = bench(lostPut, {
      isPrimary: () => primary,
      hedgeAfterMs: 50,
    });
    const appending = appender.append(KEY, OURS, 1);
    await turn();
    primary = false;
    await settle(clock.sleep(2 * UPLOAD_TRUST_MS));
    assert.equal(story(attempts), 'put failed');
    primary = true;
    assert.equal(await settle(appending), 'durable');
    assert.equal(story(attempts), 'put failed, put exists, readback read');
  });
});

describe('a hedge', () => {
  const hedged = { hedgeAfterMs: 50 } as const;

  it('is not sent when the PUT answers in time', async () => {
    const { appender, settle, attempts } = bench(scripted({ delayBeforeMs: 45 }), hedged);
    assert.equal(await settle(appender.append(KEY, OURS, 1)), 'durable');
    assert.equal(story(attempts), 'put created');
  });

  it('wins over a PUT that is stuck before its effect, which is dropped a second later', async () => {
    const { appender, settle, attempts, clock } = bench(scripted({ delayBeforeMs: 5_000 }), hedged);
    assert.equal(await settle(appender.append(KEY, OURS, 1)), 'durable');
    await turn();
    assert.equal(story(attempts), 'hedge created');
    assert.ok(clock.monotonicMs() < 1_000);
    clock.advance(1_000);
    await turn();
    assert.equal(story(attempts), 'hedge created, put dropped');
    assert.equal(clock.waiting, 1, 'only the injected delay is left');
  });

  it('that wins leaves its PUT the time to be answered, which frees its connection', async () => {
    const { appender, settle, attempts, clock } = bench(scripted({ delayBeforeMs: 300 }), hedged);
    assert.equal(await settle(appender.append(KEY, OURS, 1)), 'durable');
    clock.advance(300);
    await turn();
    assert.equal(story(attempts), 'hedge created, put exists');
    assert.equal(clock.waiting, 0);
  });

  it('that finds the object is overtaken by the answer of the PUT that made it', async () => {
    const plan = scripted({ delayAfterMs: 80 }, {}, { delayBeforeMs: 5_000 });
    const { appender, settle, attempts, clock } = bench(plan, hedged);
    assert.equal(await settle(appender.append(KEY, OURS, 1)), 'durable');
    assert.equal(story(attempts), 'hedge exists, put created');
    assert.ok(clock.monotonicMs() < 200);
  });

  it('whose reading back fails leaves the decision to the PUT', async () => {
    const plan = scripted({ delayAfterMs: 400 }, {}, { failBefore: lostAnswer() });
    const { appender, settle, attempts } = bench(plan, hedged);
    assert.equal(await settle(appender.append(KEY, OURS, 1)), 'durable');
    assert.equal(story(attempts), 'hedge exists, readback failed, put created');
  });

  it('that finds the object of its stuck PUT settles the append by reading it back', async () => {
    const { appender, settle, attempts } = bench(scripted({ delayAfterMs: 5_000 }), hedged);
    assert.equal(await settle(appender.append(KEY, OURS, 1)), 'durable');
    assert.equal(story(attempts), 'hedge exists, readback read');
  });

  it('that loses to its PUT is nothing', async () => {
    const { appender, settle, attempts } = bench(
      scripted({ delayBeforeMs: 60 }, { delayBeforeMs: 5_000 }),
      hedged,
    );
    assert.equal(await settle(appender.append(KEY, OURS, 1)), 'durable');
    assert.equal(story(attempts), 'put created');
  });

  it('still answers when its PUT fails, and its failure still leaves the PUT to answer', async () => {
    const failing = { delayBeforeMs: 60, failBefore: lostAnswer() };
    const answering = { delayBeforeMs: 200 };
    for (const plan of [scripted(failing, answering), scripted(answering, failing)]) {
      const { appender, settle, attempts } = bench(plan, hedged);
      assert.equal(await settle(appender.append(KEY, OURS, 1)), 'durable');
      assert.match(story(attempts), /^(put failed, hedge created|hedge failed, put created)$/);
    }
  });

  it('and its PUT that both fail, at once or apart, are one failure that is retried', async () => {
    for (const hedgeFailsAfter of [50, 80]) {
      const plan = scripted(
        { delayBeforeMs: 100, failBefore: lostAnswer() },
        { delayBeforeMs: hedgeFailsAfter, failBefore: lostAnswer() },
      );
      const { appender, settle, attempts } = bench(plan, hedged);
      assert.equal(await settle(appender.append(KEY, OURS, 1)), 'durable');
      assert.match(story(attempts), /^(put|hedge) failed, (put|hedge) failed, put created$/);
    }
  });

  it("that meets another writer's object while its PUT is stuck makes the append lost", async () => {
    const { appender, settle, memory } = bench(scripted({ delayBeforeMs: 5_000 }), hedged);
    await memory.put(KEY, THEIRS);
    assert.equal(await settle(appender.append(KEY, OURS, 1)), 'lost');
  });

  it('is sent for about one upload in twenty at most, however slow the store is', async () => {
    const { appender, settle, attempts } = bench(() => ({ delayBeforeMs: 100 }), hedged);
    for (let i = 0; i < 400; i++) await settle(appender.append(`chunks/${i}`, OURS, 1));
    const hedges = attempts.filter(({ request }) => request === 'hedge').length;
    assert.ok(hedges >= 15 && hedges <= 25, `${hedges} hedges`);
  });

  it('may come after the recent 95th percentile, once that is known', async () => {
    const slowEvery = (call: number): Fault => ({
      delayBeforeMs: call % 40 === 39 ? 3_000 : 20 + (call % 10),
    });
    const { appender, settle, attempts, clock } = bench((_o, _k, call) => slowEvery(call), {
      hedgeAfterMs: 'p95',
    });
    let slowest = 0;
    for (let i = 0; i < 200; i++) {
      const begun = clock.monotonicMs();
      await settle(appender.append(`chunks/${i}`, OURS, 1));
      slowest = Math.max(slowest, clock.monotonicMs() - begun);
    }
    const hedgedAway = attempts.filter(
      ({ request, outcome }) => request === 'hedge' && outcome === 'created',
    );
    assert.ok(hedgedAway.length >= 3, `${hedgedAway.length} hedges won`);
    assert.ok(slowest <= 1_100, `the slowest took ${slowest} ms`);
  });
});

describe('an upload that many writes share', () => {
  const auto = { hedgeAfterMs: 'auto' } as const;

  it('is sent twice at once, and the first answer is enough', async () => {
    const { appender, settle, attempts, clock } = bench(
      scripted({ delayBeforeMs: 90 }, { delayBeforeMs: 30 }),
      auto,
    );
    const begun = clock.monotonicMs();
    assert.equal(await settle(appender.append(KEY, OURS, 8)), 'durable');
    assert.ok(clock.monotonicMs() - begun < 60);
    clock.advance(100);
    await turn();
    assert.equal(story(attempts), 'hedge created, put exists');
  });

  it('is sent once when the writes are few, the object is large, or the flag says so', async () => {
    const large = new Uint8Array(256 * 1024 + 1);
    for (const [body, writes, options] of [
      [OURS, 7, auto],
      [large, 8, auto],
      [OURS, 8, { hedgeAfterMs: 'p95' }],
      [OURS, 8, { hedgeAfterMs: 'off' }],
    ] as const) {
      const { appender, settle, attempts } = bench(scripted({ delayBeforeMs: 90 }), options);
      assert.equal(await settle(appender.append(KEY, body, writes)), 'durable');
      assert.equal(story(attempts), 'put created');
    }
  });

  it('is sent once while the store is in trouble, and twice again when it answers', async () => {
    const { appender, settle, attempts } = bench(scripted({ failBefore: lostAnswer() }), auto);
    assert.equal(await settle(appender.append('chunks/1', OURS, 1)), 'durable');
    assert.equal(await settle(appender.append('chunks/2', OURS, 8)), 'durable');
    assert.equal(story(attempts), 'put failed, put created, put created, hedge exists');

    const broken = bench(scripted({ failBefore: lostAnswer() }, { failBefore: lostAnswer() }), auto);
    assert.equal(await broken.settle(broken.appender.append(KEY, OURS, 8)), 'durable');
    assert.equal(story(broken.attempts), 'put failed, hedge failed, put created');
  });
});

describe('an upload under --put-budget', () => {
  function budgeted(plan: FaultPlan, hedgeAfterMs: 'auto' | number): Bench & { readonly budget: PutBudget } {
    const clock = new ManualClock();
    const budget = new PutBudget(10, clock);
    const memory = new MemoryStore();
    const attempts: AppendAttempt[] = [];
    const appender = new Appender(budgetedStore(faultyStore(memory, plan, clock), budget), {
      hedgeAfterMs,
      attemptTimeoutMs: 10_000,
      clock,
      random: seededRandom(1),
      log: silentLog,
      onAttempt: (attempt) => attempts.push(attempt),
      putBudget: budget,
    });
    return { clock, memory, appender, attempts, budget, settle: (promise) => settle(clock, promise) };
  }

  it('is sent twice at once only while half of the savings are left, and pays for both', async () => {
    const { appender, settle, attempts, budget } = budgeted(scripted({ delayBeforeMs: 5 }), 'auto');
    assert.equal(await settle(appender.append('chunks/1', OURS, 8)), 'durable');
    assert.match(story(attempts), /hedge/);
    assert.ok(Math.round(budget.saved) === 8, `${budget.saved} left of 10`);
    budget.sent(4);
    assert.equal(await settle(appender.append('chunks/2', OURS, 8)), 'durable');
    assert.deepEqual(attempts.filter(({ request }) => request === 'hedge').length, 1);
  });

  it('has no hedge when nothing is saved for the next batch, and keeps its claim to one', async () => {
    const { appender, settle, attempts, budget, clock } = budgeted(
      scripted({ delayBeforeMs: 90 }, { delayBeforeMs: 90 }),
      50,
    );
    budget.sent(9);
    assert.equal(await settle(appender.append('chunks/1', OURS, 1)), 'durable');
    assert.equal(story(attempts), 'put created');
    clock.advance(1_000);
    assert.equal(await settle(appender.append('chunks/2', OURS, 1)), 'durable');
    assert.equal(story(attempts), 'put created, hedge created');
  });

  it('is tried again whatever is owed, and that is paid for', async () => {
    const faults = Array.from({ length: 5 }, () => ({ failBefore: lostAnswer() }));
    const { appender, settle, budget, clock } = budgeted(scripted(...faults), 'auto');
    budget.sent(20);
    assert.equal(await settle(appender.append(KEY, OURS, 8)), 'durable');
    const earned = 0.0095 * clock.monotonicMs();
    assert.equal(Math.round(budget.saved - earned), 10 - 20 - 6);
  });
});

describe('two writers that fight for the same names', () => {
  it('never both call a name theirs, and who does owns the object, whatever is lost or late', async () => {
    const property = fc.asyncProperty(
      fc.integer(),
      fc.constantFrom(0, 0.3, 0.7),
      fc.constantFrom(1, 8),
      async (seed, failure, writes) => {
        const clock = new ManualClock();
        const memory = new MemoryStore();
        const random = seededRandom(seed);
        const store: ObjectStore = faultyStore(memory, randomFaults(random, failure, 1_500), clock);
        const hedgeAfterMs = writes === 1 ? 100 : 'auto';
        const options = { hedgeAfterMs, attemptTimeoutMs: 700, clock, random, log: silentLog } as const;
        const writers = ['one', 'two'].map((name) => ({ name, appender: new Appender(store, options) }));
        const keys = Array.from({ length: 8 }, (_, i) => `chunks/${i}`);
        const verdicts = await settle(
          clock,
          Promise.all(
            keys.map((key) =>
              Promise.all(writers.map((writer) => writer.appender.append(key, text(writer.name), writes))),
            ),
          ),
          25,
        );
        for (const [index, key] of keys.entries()) {
          const owner = Buffer.from((await memory.get(key)) ?? []).toString();
          const expected = writers.map(({ name }) => (name === owner ? 'durable' : 'lost'));
          assert.deepEqual(verdicts[index], expected, key);
        }
      },
    );
    await fc.assert(property, { numRuns: 40 });
  });
});
