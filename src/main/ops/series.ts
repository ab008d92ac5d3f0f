import type { Metric } from 'prom-client';
import type { Counter, Gauge, Histogram } from '../../shared/base/metering.ts';

/**
 * Metrics whose hot end is an addition to a number. prom-client hashes the labels of each step, even where they were
 * given before; these are given their labels once, and are put together when they are asked for. prom-client's registry,
 * which writes the text, asks a metric for no more than its name and `get`.
 */

export type Labels = Readonly<Record<string, string>>;

interface Sample {
  readonly labels: Labels;
  /** More of them, after those; prom-client makes text of such an object once. */
  readonly sharedLabels?: Labels;
  readonly value: number;
  /** Where it is not the metric's own: `…_bucket`. */
  readonly metricName?: string;
}

type MetricType = 'counter' | 'gauge' | 'histogram';

/** Grows only. */
export class Tally implements Counter {
  value = 0;

  add(count: number): void {
    this.value += count;
  }

  /** For what is counted elsewhere. */
  set(value: number): void {
    this.value = value;
  }
}

/** Goes up and down. */
class Level implements Gauge {
  value = 0;

  set(value: number): void {
    this.value = value;
  }
}

/** Counts values by buckets. */
export class Distribution implements Histogram {
  readonly bounds: readonly number[];
  /** Per bound, of its own bucket alone; the last one is of what is above all bounds. */
  readonly counts: Float64Array;
  sum = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = new Float64Array(bounds.length + 1);
  }

  observe(value: number): void {
    const { bounds } = this;
    let bucket = 0;
    while (bucket < bounds.length && value > bounds[bucket]!) bucket++;
    this.counts[bucket]!++;
    this.sum += value;
  }

  get count(): number {
    return this.counts.reduce((sum, count) => sum + count, 0);
  }
}

/** From a fraction of a millisecond (a stage in memory, a store on the same disk) to a minute (a store that is away). */
export const SECONDS_BUCKETS: readonly number[] = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
];

/** As Go's `prometheus.ExponentialBuckets`. */
export function exponentialBuckets(start: number, factor: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => start * factor ** index);
}

/** Makes such metrics, for a registry to which their names must be new. */
export class SeriesMaker {
  readonly made: Metric<string>[] = [];

  counter(name: string, help: string): Tally {
    return this.counters(name, help)({});
  }

  /** A function that gives the counter of some labels; ask once and keep it. One that was never asked for is not shown. */
  counters(name: string, help: string): (labels: Labels) => Tally {
    return this.#numbers('counter', name, help, () => new Tally());
  }

  gauge(name: string, help: string): Level {
    return this.gauges(name, help)({});
  }

  gauges(name: string, help: string): (labels: Labels) => Level {
    return this.#numbers('gauge', name, help, () => new Level());
  }

  histogram(name: string, help: string, bounds: readonly number[]): Distribution {
    return this.histograms(name, help, bounds)({});
  }

  histograms(name: string, help: string, bounds: readonly number[]): (labels: Labels) => Distribution {
    const all: (readonly [Labels, Distribution])[] = [];
    this.read('histogram', name, help, () => all.flatMap(([labels, one]) => samplesOf(name, labels, one)));
    return (labels) => kept(all, labels, new Distribution(bounds));
  }

  /** A metric that is read when it is asked for. */
  read(type: MetricType, name: string, help: string, samples: () => readonly Sample[]): void {
    const metric = { name, help, type, get: async () => ({ name, help, type, values: samples() }) };
    this.made.push(metric as unknown as Metric<string>);
  }

  #numbers<T extends { readonly value: number }>(
    type: MetricType,
    name: string,
    help: string,
    make: () => T,
  ): (labels: Labels) => T {
    const all: (readonly [Labels, T])[] = [];
    this.read(type, name, help, () => all.map(([labels, { value }]) => ({ labels, value })));
    return (labels) => kept(all, labels, make());
  }
}

function kept<T>(all: (readonly [Labels, T])[], labels: Labels, one: T): T {
  all.push([labels, one]);
  return one;
}

/** A histogram's lines, as Prometheus wants them: buckets that add up. */
export function samplesOf(name: string, labels: Labels, { bounds, counts, sum }: Distribution): Sample[] {
  let below = 0;
  const buckets = [...counts].map((count, index) => {
    below += count;
    const le = index < bounds.length ? String(bounds[index]) : '+Inf';
    return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: below };
  });
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels, value: sum },
    { metricName: `${name}_count`, labels, value: below },
  ];
}
