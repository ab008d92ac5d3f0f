import type { Counter, Gauge } from '../../shared/base/metering.ts';
import type { SlowBatch, SlowWriteMeter } from '../commit/slow-writes.ts';
import { WRITE_STAGES, type WriteTime } from '../commit/write-time.ts';
import type { SeriesMaker } from './series.ts';

const MS_PER_SECOND = 1000;

/** Counts what slow writes waited for. */
export class SlowWriteMetrics implements SlowWriteMeter {
  readonly #writes: Counter;
  readonly #seconds: readonly (readonly [keyof WriteTime, Counter])[];
  readonly #requests: Readonly<Record<SlowBatch['requests'][number]['request'], Counter>>;
  readonly #threshold: Gauge;

  constructor(make: SeriesMaker) {
    this.#writes = make.counter('netsy_slow_writes_total', 'Writes that --slow-write-log takes for slow.');
    const seconds = make.counters(
      'netsy_slow_write_seconds_total',
      'Time of the slow writes by where it went; all stages together are their latency.',
    );
    this.#seconds = WRITE_STAGES.map((stage) => [stage, seconds({ stage })] as const);
    const requests = make.counters(
      'netsy_slow_write_store_requests_total',
      'Requests to the store that uploads of slow writes took, counted for each slow write.',
    );
    this.#requests = {
      put: requests({ request: 'put' }),
      hedge: requests({ request: 'hedge' }),
      readback: requests({ request: 'readback' }),
    };
    this.#threshold = make.gauge(
      'netsy_slow_write_threshold_seconds',
      'Writes that take longer are slow at present.',
    );
  }

  slow({ writes, sums, requests }: SlowBatch): void {
    this.#writes.add(writes);
    for (const [stage, counter] of this.#seconds) counter.add(sums[stage] / MS_PER_SECOND);
    for (const { request } of requests) this.#requests[request].add(writes);
  }

  threshold(ms: number): void {
    this.#threshold.set(ms / MS_PER_SECOND);
  }
}
