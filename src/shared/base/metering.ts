/**
 * What the rooms count with. `main.ts` hands in members of `ops/metrics.ts`, or nothing is counted. Calls are cheap
 * enough for every request: labels were resolved before.
 */

/** Grows only. */
export interface Counter {
  add(count: number): void;
}

/** Goes up and down. */
export interface Gauge {
  set(value: number): void;
}

/** A distribution; the unit is the metric's own: seconds where its name ends so. */
export interface Histogram {
  observe(value: number): void;
}
