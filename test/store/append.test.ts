import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Appender } from '../../src/main/store/append.ts';
import { StoreError } from '../../src/main/store/errors.ts';
import type { ObjectStore } from '../../src/main/store/store.ts';
import { type Log, silentLog } from '../../src/shared/base/log.ts';
import { UPLOAD_TRUST_MS } from '../../src/shared/model/limits.ts';
import { ManualClock } from '../support/clock.ts';
import { faultyStore, lostAnswer, randomFaults } from '../support/faulty-store.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { Seeded } from '../support/seeded.ts';
import { bench, KEY, OURS, scripted, settle, story, THEIRS, turn } from './appending.ts';
import { text } from './contract.ts';

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

  it('whose object is read back cut short reads it again', async () => {
    const memory = new MemoryStore();
    let reads = 0;
    const cutting: ObjectStore = {
      ...faultyStore(memory, scripted(), new ManualClock()),
      get: async (key) => (await memory.get(key))?.slice(0, ++reads < 3 ? reads - 1 : undefined),
    };
    const clock = new ManualClock();
    const log = silentLog;
    const options = {
      hedgeAfterMs: 'off',
      attemptTimeoutMs: 10_000,
      clock,
      random: new Seeded(1),
      log,
    } as const;
    await memory.put(KEY, OURS);
    assert.equal(await settle(clock, new Appender(cutting, options).append(KEY, OURS, 1)), 'durable');
    assert.equal(reads, 3);
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

  it('backs off with growing pauses of 50 ms to 5 s, and what the store asks for counts up to that', async () => {
    const slowDown = (seconds: number): StoreError =>
      new StoreError('transient', 'SlowDown', { status: 503, retryAfterMs: seconds * 1000 });
    const failures = [
      ...Array.from({ length: 10 }, () => ({ failBefore: lostAnswer() })),
      { failBefore: slowDown(4.9) },
      { failBefore: slowDown(60) },
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
    assert.ok(pauses[10]! >= 4_900);
    assert.ok(pauses[11]! >= 2_500 && pauses[11]! <= 5_005, `${pauses[11]}`);
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

  it('goes on after any answer of HTTP: a proxy may have given it, or an operator mends why', async () => {
    for (const kind of ['fatal', 'unsupported', 'denied', 'no-bucket'] as const) {
      const error = new StoreError(kind, 'HTTP 400', { status: 400 });
      const { appender, settle } = bench(scripted({ failBefore: error }));
      assert.equal(await settle(appender.append(KEY, OURS, 1)), 'durable');
    }
  });

  it('of a command ends with what the store said last, when its time for tries is over and not before', async () => {
    const denied = new StoreError('fatal', 'cannot create it: HTTP 400', { status: 400 });
    const { appender, clock, attempts, settle } = bench(() => ({ failBefore: denied }), {
      retryForMs: 60_000,
    });
    await assert.rejects(settle(appender.append(KEY, OURS, 0)), denied);
    assert.ok(clock.monotonicMs() > 60_000 && clock.monotonicMs() < 66_000, `${clock.monotonicMs()} ms`);
    assert.ok(attempts.length > 12);
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

  it('sends nothing when it was given up before, whether or not it may be hedged', async () => {
    for (const hedgeAfterMs of [500, 'off'] as const) {
      const { appender, attempts } = bench(scripted({}), { hedgeAfterMs });
      const reason = new Error('shutting down');
      await assert.rejects(appender.append(KEY, OURS, 1, AbortSignal.abort(reason)), reason);
      assert.deepEqual(attempts, []);
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

describe('two writers that fight for the same names', () => {
  it('never both call a name theirs, and who does owns the object, whatever is lost or late', async () => {
    const property = fc.asyncProperty(
      fc.integer(),
      fc.constantFrom(0, 0.3, 0.7),
      fc.constantFrom(1, 8),
      async (seed, failure, writes) => {
        const clock = new ManualClock();
        const memory = new MemoryStore();
        const random = new Seeded(seed);
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
