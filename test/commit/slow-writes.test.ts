import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Batch } from '../../src/main/commit/batch.ts';
import { RecentP99 } from '../../src/main/commit/recent-p99.ts';
import { type SlowBatch, type SlowWriteRule, SlowWrites } from '../../src/main/commit/slow-writes.ts';
import { WRITE_STAGES, type WriteTime, writeTime } from '../../src/main/commit/write-time.ts';
import { Appender } from '../../src/main/store/append.ts';
import type { Log, LogFields } from '../../src/shared/base/log.ts';
import { silentLog } from '../../src/shared/base/log.ts';
import { WriteKind } from '../../src/workers/contract/writer.ts';
import { ManualClock } from '../support/clock.ts';
import { type FaultPlan, faultyStore, lostAnswer } from '../support/faulty-store.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { HeldPipeline, WINDOW_MS } from './parts.ts';

const MINUTE_MS = 60_000;
const noRandom = { fraction: () => 0, bytes: (length: number) => new Uint8Array(length) };

interface Line {
  readonly level: 'debug' | 'info';
  readonly message: string;
  readonly fields: LogFields;
}

interface Told {
  readonly lines: Line[];
  readonly slow: SlowBatch[];
  readonly slowWrites: SlowWrites;
}

/** What is told of slow writes, on a clock of the test's. */
function telling(rule: SlowWriteRule, clock: ManualClock): Told {
  const lines: Line[] = [];
  const slow: SlowBatch[] = [];
  const line =
    (level: Line['level']) =>
    (message: string, fields: LogFields = {}): void =>
      void lines.push({ level, message, fields });
  const log: Log = { ...silentLog, debug: line('debug'), info: line('info') };
  const meter = { slow: (batch: SlowBatch) => void slow.push(batch), threshold: () => {} };
  return { lines, slow, slowWrites: new SlowWrites(rule, { clock, log, meter }) };
}

interface Timed extends Told {
  readonly held: HeldPipeline;
  /** Each batch that was answered. */
  readonly batches: Batch[];
  /** Latency of each write by its name, as its client sees it. */
  readonly latencies: Map<string, number>;
  submit(name: string): void;
}

/** The pipeline and the appender as they are, on a store with faults. */
function timed(
  plan: FaultPlan,
  rule: SlowWriteRule = { kind: 'fixed', slowerThanMs: 0 },
  hedgeAfterMs = 40,
): Timed {
  const batches: Batch[] = [];
  const latencies = new Map<string, number>();
  let told: Told | undefined;
  const held = new HeldPipeline({ requestTimeoutMs: 1e9 }, (clock) => {
    const appender = new Appender(faultyStore(new MemoryStore(), plan, clock), {
      ...{ hedgeAfterMs, attemptTimeoutMs: 500, clock, random: noRandom, log: silentLog },
    });
    told = telling(rule, clock);
    const { slowWrites } = told;
    const finished = (batch: Batch): void => {
      batches.push(batch);
      slowWrites.finished(batch);
    };
    return {
      append: (key, object, writes, attempts) => appender.append(key, object, writes, undefined, attempts),
      meter: { stage: () => {}, batch: () => {}, finished },
      compress: async (body) => {
        await clock.sleep(7);
        return body;
      },
    };
  });
  const submit = (name: string): void => {
    const sentMs = held.clock.monotonicMs();
    held.pipeline.submit(WriteKind.Put, Buffer.from(name), () =>
      latencies.set(name, held.clock.monotonicMs() - sentMs),
    );
  };
  return { ...told!, held, batches, latencies, submit };
}

/** Time passes in small steps, and promises run in between. */
async function pass(held: HeldPipeline, ms: number, stepMs = 5): Promise<void> {
  for (let passed = 0; passed < ms; passed += stepMs) {
    await held.settle();
    await held.advance(stepMs);
  }
  await held.settle();
}

function sumOf(time: Readonly<Record<string, number>>, stages: readonly string[]): number {
  return stages.reduce((sum, stage) => sum + time[stage]!, 0);
}

function near(actual: number, expected: number, within: number): void {
  assert.ok(Math.abs(actual - expected) <= within, `${actual} is not ${expected}`);
}

describe('where the time of a write goes', () => {
  const step = fc.oneof(
    fc.record({ write: fc.constantFrom('w', 'no-op'), count: fc.integer({ min: 1, max: 6 }) }),
    fc.record({ pass: fc.integer({ min: 1, max: 60 }) }),
  );
  const fault = fc.record({
    delayBeforeMs: fc.integer({ min: 0, max: 300 }),
    fails: fc.constantFrom('no', 'no', 'no', 'before', 'after'),
  });

  it('its stages add up to what its client waited, whatever the store does', async () => {
    const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
    const world = fc.record({
      steps: fc.array(step, { minLength: 3, maxLength: 20 }),
      faults: fc.array(fault, { minLength: 1, maxLength: 30 }),
      writerMs: fc.integer({ min: 0, max: 20 }),
      compresses: fc.boolean(),
    });
    const property = fc.asyncProperty(world, async ({ steps, faults, writerMs, compresses }) => {
      const { held, batches, latencies, submit, slow, lines } = timed((_operation, _key, call) => {
        const { delayBeforeMs, fails } = faults[call % faults.length]!;
        if (call > 30 || fails === 'no') return { delayBeforeMs };
        return {
          delayBeforeMs,
          ...(fails === 'before' ? { failBefore: lostAnswer() } : { failAfter: lostAnswer() }),
        };
      });
      Object.assign(held, { writerMs, compresses });
      let name = 0;
      for (const one of steps) {
        if ('pass' in one) await pass(held, one.pass);
        else for (let left = one.count; left > 0; left--) submit(`${one.write} ${name++}`);
      }
      for (let rounds = 0; latencies.size < name && rounds < 200; rounds++) await pass(held, 1000, 50);
      assert.equal(latencies.size, name, 'all are answered');
      const times = batches.flatMap((batch) =>
        batch.requests.map(({ request, arrivedMs }) => {
          const time = writeTime(batch, arrivedMs);
          for (const stage of WRITE_STAGES) assert.ok(time[stage] >= 0, `${stage} took ${time[stage]}`);
          near(sumOf({ ...time }, WRITE_STAGES), latencies.get(Buffer.from(request).toString())!, 1e-6);
          return time;
        }),
      );
      const total = (stage: keyof WriteTime, all: readonly Readonly<WriteTime>[]): number =>
        all.reduce((sum, time) => sum + time[stage], 0);
      const slowTimes = times.filter((time) => sumOf({ ...time }, WRITE_STAGES) > 0);
      const counted = slow.map(({ sums }) => sums);
      for (const stage of WRITE_STAGES) near(total(stage, counted), total(stage, slowTimes), 1e-6);
      for (const { fields } of lines) {
        const told = Object.fromEntries(WRITE_STAGES.map((stage) => [stage, Number(fields[`${stage}Ms`])]));
        near(sumOf(told, WRITE_STAGES), Number(fields['latencyMs']), 0.01 * WRITE_STAGES.length);
      }
    });
    await fc.assert(property, { seed, numRuns: 100 });
  });

  it('a slow PUT is time of the PUT, with its attempts: when the hedge was sent, and which of them decided', async () => {
    const delays = [300, 0];
    const { held, lines, submit } = timed((_operation, _key, call) => ({ delayBeforeMs: delays[call] ?? 0 }));
    submit('a');
    await pass(held, 400);
    const { fields } = lines.find(({ level }) => level === 'info')!;
    assert.equal(fields['sequence'], 1);
    near(Number(fields['putMs']), 40, 5);
    assert.deepEqual(fields['requests'], [
      { request: 'put', sentMs: 0, tookMs: fields['putMs'], outcome: 'pending' },
      {
        request: 'hedge',
        sentMs: 40,
        tookMs: Number(fields['putMs']) - 40,
        outcome: 'created',
        decided: true,
      },
    ]);
  });

  it('a PUT that fails is named with its error, and the pause before the next is part of the PUT', async () => {
    const { held, lines, submit } = timed((_operation, _key, call) =>
      call === 0 ? { failBefore: lostAnswer() } : {},
    );
    submit('a');
    await pass(held, 200);
    const { requests, putMs } = lines.find(({ level }) => level === 'info')!.fields;
    const [first, second] = requests as LogFields[];
    assert.equal(first!['outcome'], 'failed');
    assert.match(String(first!['error']), /the answer was lost/);
    assert.deepEqual([second!['outcome'], second!['decided']], ['created', true]);
    assert.equal(second!['sentMs'], putMs);
  });

  it('a slow predecessor is time of waiting for the turn, and is named', async () => {
    const { held, lines, submit } = timed(
      (_operation, _key, call) => ({ delayBeforeMs: call === 0 ? 300 : 0 }),
      undefined,
      1e6,
    );
    submit('a');
    await pass(held, 10);
    submit('b');
    await pass(held, 400);
    const behind = lines.find(({ fields }) => fields['sequence'] === 2)!.fields;
    assert.equal(behind['turnAfter'], 1);
    near(Number(behind['turnMs']), 290 - WINDOW_MS, 15);
    const first = lines.find(({ fields }) => fields['sequence'] === 1)!.fields;
    assert.deepEqual([first['turnMs'], first['turnAfter']], [0, undefined]);
    near(Number(first['putMs']), 300, 10);
  });

  it('a full pipeline is time of waiting for a place in it, and not of gathering', async () => {
    const { held, batches, submit } = timed(() => ({ delayBeforeMs: 400 }), undefined, 1e6);
    for (const name of ['a', 'b', 'c', 'd']) {
      submit(name);
      await pass(held, 2 * WINDOW_MS);
    }
    submit('e');
    await pass(held, 1000);
    const last = batches.at(-1)!;
    const [d, e] = last.requests.map(({ arrivedMs }) => writeTime(last, arrivedMs));
    near(d!.gather, WINDOW_MS, 5);
    assert.equal(e!.gather, 0, 'it came when the batch was held already');
    assert.ok(e!.slot > 200 && d!.slot > e!.slot, `${d!.slot} and ${e!.slot}`);
  });
});

describe('the log of slow writes', () => {
  /** A batch as the pipeline leaves it: `writes` arrived at once, and all their time was the PUT's. */
  function done(clock: ManualClock, latencyMs: number, writes = 1, sequence = 1): Batch {
    const now = clock.monotonicMs();
    const begun = now - latencyMs;
    const request = { kind: WriteKind.Put, request: new Uint8Array(), callback: undefined, arrivedMs: begun };
    return {
      id: 1,
      stage: 'done',
      requests: Array.from({ length: writes }, () => request),
      bytes: 0,
      ahead: 0,
      stageSinceMs: now,
      evaluated: { sequence, evaluateMs: 0, sealMs: 0 } as Batch['evaluated'],
      times: {
        held: Infinity,
        closed: begun,
        evaluated: begun,
        sealed: begun,
        stored: now,
        turn: now,
        answered: now,
      },
      attempts: [{ request: 'put', outcome: 'created', sentMs: begun, latencyMs }],
      waitedFor: undefined,
    };
  }

  it('says nothing while nothing is slow, and counts nothing', () => {
    for (const kind of ['p99', 'off'] as const) {
      const clock = new ManualClock();
      const { slowWrites, lines, slow } = telling({ kind }, clock);
      for (let count = 0; count < 2000; count++) {
        clock.advance(10);
        slowWrites.finished(done(clock, 30, 20));
      }
      clock.advance(2 * MINUTE_MS);
      assert.deepEqual([lines, slow], [[], []]);
      assert.equal(clock.waiting, 0, 'no timer either');
    }
  });

  it('takes what is slower than 100 ms for slow until p99 is known, then what is slower than p99', () => {
    const clock = new ManualClock();
    const { slowWrites, slow, lines } = telling({ kind: 'p99' }, clock);
    clock.advance(1000);
    slowWrites.finished(done(clock, 90));
    slowWrites.finished(done(clock, 110));
    assert.equal(slow.length, 1);
    for (let count = 0; count < 1000; count++) {
      clock.advance(10);
      slowWrites.finished(done(clock, count % 50 === 0 ? 40 : 20));
    }
    slow.length = 0;
    slowWrites.finished(done(clock, 39));
    assert.equal(slow.length, 0);
    lines.length = 0;
    slowWrites.finished(done(clock, 45));
    assert.deepEqual([slow.length, lines.length], [1, 0], 'counted, and not worth a line');
    slowWrites.finished(done(clock, 120));
    assert.deepEqual([slow.length, lines.length > 0], [2, true]);
  });

  it('counts those writes of a batch that are slow, and not those that came later', () => {
    const clock = new ManualClock();
    const { slowWrites, slow } = telling({ kind: 'fixed', slowerThanMs: 50 }, clock);
    clock.advance(1000);
    const batch = done(clock, 100, 2);
    const late = { ...batch.requests[0]!, arrivedMs: 970 };
    slowWrites.finished({
      ...batch,
      requests: [...batch.requests, late],
      times: { ...batch.times, closed: 970 },
    });
    assert.deepEqual(
      slow.map(({ writes }) => writes),
      [2],
    );
  });

  it('writes one line at once and then the slowest of each minute, with how many it left out; debug has all', () => {
    const clock = new ManualClock();
    const { slowWrites, lines } = telling({ kind: 'fixed', slowerThanMs: 50 }, clock);
    clock.advance(1000);
    for (const [index, latencyMs] of [60, 70, 500, 80].entries()) {
      slowWrites.finished(done(clock, latencyMs, 3, index + 1));
    }
    const told = (): unknown[] =>
      lines
        .filter(({ level }) => level === 'info')
        .map(({ fields: { latencyMs, leftOut } }) => [latencyMs, leftOut]);
    assert.deepEqual(told(), [[60, undefined]]);
    clock.advance(MINUTE_MS);
    assert.deepEqual(told().slice(1), [[500, { batches: 2, writes: 6 }]]);
    assert.equal(lines.filter(({ level }) => level === 'debug').length, 4);
    clock.advance(10 * MINUTE_MS);
    assert.equal(told().length, 2);
    slowWrites.finished(done(clock, 90));
    assert.deepEqual(told().at(-1), [90, undefined]);
    slowWrites.finished(done(clock, 95));
    slowWrites.flush();
    assert.deepEqual(told().at(-1), [95, undefined], 'the process ends');
    slowWrites.flush();
    assert.deepEqual([told().length, clock.waiting], [4, 0]);
  });

  it('off silences the lines, not the counts', () => {
    const clock = new ManualClock();
    const { slowWrites, lines, slow } = telling({ kind: 'off' }, clock);
    clock.advance(1000);
    slowWrites.finished(done(clock, 900));
    assert.deepEqual([lines.length, slow.length], [0, 1]);
  });
});

describe('the recent p99', () => {
  it('is at most a thirty-second above that of the latencies before', () => {
    const latency = fc.oneof(
      fc.double({ min: 0.001, max: 5, noNaN: true }),
      fc.integer({ min: 1, max: 100_000 }),
    );
    fc.assert(
      fc.property(fc.array(latency, { minLength: 1000, maxLength: 1500 }), (latencies) => {
        const recent = new RecentP99();
        recent.turn(0);
        for (const one of latencies) recent.record(one);
        assert.ok(recent.turn(5000));
        const sorted = [...latencies].sort((a, b) => a - b);
        const exact = sorted[Math.ceil(sorted.length * 0.99) - 1]!;
        const value = recent.value!;
        assert.ok(value >= exact * 0.999 && value <= exact * (1 + 1 / 32) + 0.0011, `${value} for ${exact}`);
      }),
      { numRuns: 100 },
    );
  });

  it('keeps its value until five seconds and a thousand latencies are over, and then forgets what was before', () => {
    const recent = new RecentP99();
    recent.turn(0);
    for (let count = 0; count < 999; count++) recent.record(100);
    assert.equal(recent.turn(10_000), false, 'too few');
    recent.record(100);
    assert.equal(recent.turn(10_000), true);
    assert.ok(recent.value! >= 100 && recent.value! < 104);
    for (let count = 0; count < 5000; count++) recent.record(2);
    assert.equal(recent.turn(14_999), false, 'too soon');
    assert.equal(recent.turn(15_000), true);
    assert.ok(recent.value! < 2.1, 'nothing of the first span');
  });
});
