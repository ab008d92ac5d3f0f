import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Metrics } from '../../src/main/ops/metrics.ts';
import {
  newPauses,
  PAUSE_BOUNDS_SECONDS,
  readPauses,
  recorder,
  recordPauses,
} from '../../src/shared/base/pauses.ts';
import { ManualClock } from '../support/clock.ts';

describe('pauses of a thread', () => {
  it('a block of the event loop is counted as delay, from when something was due', () => {
    const clock = new ManualClock();
    const shared = newPauses();
    recordPauses(shared, clock);
    clock.advance(1000);
    const idle = readPauses(shared, 'eventLoop');
    assert.deepEqual([idle.counts[0], idle.sumSeconds], [20, 0]);
    // The clock calls what is due before the time it is moved to; here it is late.
    const late = new LateClock(300);
    const other = newPauses();
    recordPauses(other, late);
    late.fire();
    const delayed = readPauses(other, 'eventLoop');
    assert.equal(delayed.counts[PAUSE_BOUNDS_SECONDS.indexOf(0.5)], 1);
    assert.ok(Math.abs(delayed.sumSeconds - 0.25) < 1e-9, String(delayed.sumSeconds));
  });

  it('every collection of garbage is counted, also those between two turns of the event loop', async () => {
    const shared = newPauses();
    recordPauses(shared, new ManualClock());
    const kept: unknown[][] = [];
    for (let round = 0; round < 100; round++)
      kept[round % 3] = Array.from({ length: 50_000 }, () => ({ round }));
    await new Promise((resolve) => setTimeout(resolve, 100));
    const { counts, sumSeconds } = readPauses(shared, 'minor');
    const count = counts.reduce((sum, one) => sum + one, 0);
    assert.ok(count > 2, `${count} collections in one turn`);
    assert.ok(sumSeconds > 0);
  });

  it('are histograms of the metrics: buckets that add up, threads of one name together', async () => {
    const metrics = new Metrics();
    const { pauses } = metrics;
    recorder(pauses.add('main'))('eventLoop', 3);
    const readers = [pauses.add('reader'), pauses.add('reader')].map(recorder);
    readers[0]!('major', 7.8125);
    readers[1]!('major', 7.8125);
    readers[1]!('major', 60_000);
    const text = await metrics.text();
    for (const line of [
      '# TYPE netsy_event_loop_delay_seconds histogram',
      'netsy_event_loop_delay_seconds_bucket{thread="main",le="0.002"} 0',
      'netsy_event_loop_delay_seconds_bucket{thread="main",le="0.005"} 1',
      'netsy_event_loop_delay_seconds_count{thread="main"} 1',
      'netsy_event_loop_delay_seconds_count{thread="reader"} 0',
      'netsy_gc_pause_seconds_bucket{thread="reader",kind="major",le="0.01"} 2',
      'netsy_gc_pause_seconds_bucket{thread="reader",kind="major",le="5"} 2',
      'netsy_gc_pause_seconds_bucket{thread="reader",kind="major",le="+Inf"} 3',
      'netsy_gc_pause_seconds_sum{thread="reader",kind="major"} 60.015625',
    ]) {
      assert.ok(text.includes(`${line}\n`), line);
    }
  });
});

/** Its calls are made when the test says, so much after they were asked for. */
class LateClock extends ManualClock {
  readonly #ms: number;
  #action: (() => void) | undefined;
  #now = 0;

  constructor(ms: number) {
    super();
    this.#ms = ms;
  }

  override monotonicMs(): number {
    return this.#now;
  }

  override after(_delayMs: number, action: () => void): { cancel(): void } {
    this.#action = action;
    return { cancel: () => {} };
  }

  fire(): void {
    this.#now += this.#ms;
    this.#action!();
  }
}
