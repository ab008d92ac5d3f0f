import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  type AutoCompaction,
  compactByRevision,
  compactPeriodically,
} from '../../src/main/upkeep/auto-compaction.ts';
import { silentLog } from '../../src/shared/base/log.ts';
import { EtcdError } from '../../src/shared/etcd/errors.ts';
import { ManualClock } from '../support/clock.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

interface Bench {
  readonly clock: ManualClock;
  /** Minute and revision of each compaction asked for. */
  readonly asked: [number, number][];
  /** Answers instead of success, once. */
  failure: Error | undefined;
}

/** The store's revision is the minute since the start, plus 100. As in etcd, up to a tenth more is kept than asked. */
function bench(start: (parts: Parameters<typeof compactPeriodically>[0]) => AutoCompaction) {
  const clock = new ManualClock();
  const self: Bench = { clock, asked: [], failure: undefined };
  const minute = (): number => Math.round(clock.monotonicMs() / MINUTE_MS);
  const compaction = start({
    clock,
    log: silentLog,
    revision: () => 100 + minute(),
    compact: async (revision) => {
      self.asked.push([minute(), revision]);
      const { failure } = self;
      self.failure = undefined;
      if (failure !== undefined) throw failure;
    },
  });
  return Object.assign(self, { compaction });
}

async function pass(clock: ManualClock, durationMs: number): Promise<void> {
  for (let passed = 0; passed < durationMs; passed += MINUTE_MS) {
    clock.advance(MINUTE_MS);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('compaction by itself', () => {
  it('keeps the latest half hour, first after half an hour and then every half hour', async () => {
    const { clock, asked } = bench((parts) => compactPeriodically(parts, 30 * MINUTE_MS));
    await pass(clock, 29 * MINUTE_MS);
    assert.deepEqual(asked, []);
    await pass(clock, 71 * MINUTE_MS);
    assert.deepEqual(asked, [
      [30, 100],
      [60, 127],
      [90, 157],
    ]);
  });

  it('keeps the latest three hours, first after three hours and then every hour', async () => {
    const { clock, asked } = bench((parts) => compactPeriodically(parts, 3 * HOUR_MS));
    await pass(clock, 6 * HOUR_MS);
    assert.deepEqual(asked, [
      [180, 100],
      [240, 154],
      [300, 214],
      [360, 274],
    ]);
  });

  it('tries a tenth of the period later again when it failed, and takes "compacted" for success', async () => {
    const run = bench((parts) => compactPeriodically(parts, 30 * MINUTE_MS));
    run.failure = new EtcdError('Timeout');
    await pass(run.clock, 32 * MINUTE_MS);
    run.failure = new EtcdError('Compacted');
    await pass(run.clock, 20 * MINUTE_MS);
    assert.deepEqual(run.asked, [
      [30, 100],
      [33, 100],
    ]);
  });

  it('keeps the latest revisions, looks every five minutes and asks for nothing twice', async () => {
    const { clock, asked, compaction } = bench((parts) => compactByRevision(parts, 110));
    await pass(clock, 22 * MINUTE_MS);
    compaction.stop();
    await pass(clock, 20 * MINUTE_MS);
    assert.deepEqual(asked, [
      [15, 5],
      [20, 10],
    ]);
    assert.equal(clock.waiting, 0);
  });
});
