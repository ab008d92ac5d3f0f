import type { Clock } from '../../shared/base/clock.ts';

/** How many are kept for the status page. */
const KEPT = 20;

/** A unary call that took long. What was asked for is not in it: the page is open to all who reach it. */
export interface SlowCall {
  /** When it ended, by the wall clock. */
  readonly atMs: number;
  /** `KV/Range` */
  readonly method: string;
  readonly tookMs: number;
  /** gRPC's code. */
  readonly code: number;
}

/** The latest calls that took long. */
export class SlowCalls {
  /** Since the start. */
  count = 0;
  readonly #calls: SlowCall[] = [];
  readonly #clock: Clock;
  /** Calls that took longer are slow. */
  thresholdMs = Number.POSITIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(call: Omit<SlowCall, 'atMs'>): void {
    this.count++;
    this.#calls.unshift({ atMs: this.#clock.wallMs(), ...call });
    if (this.#calls.length > KEPT) this.#calls.pop();
  }

  /** The latest first. */
  get latest(): readonly SlowCall[] {
    return this.#calls;
  }
}
