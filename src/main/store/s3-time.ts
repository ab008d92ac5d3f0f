import type { Clock } from '../../shared/base/clock.ts';

/** S3 refuses signatures more than 15 minutes old or early; a clock so far off is not just a slow network. */
const SKEW_MS_MIN = 300_000;

/** The store's idea of the time, as far as it has complained of ours. */
export class StoreTime {
  readonly #clock: Clock;
  /** How far the store's clock is ahead of ours. */
  #skewMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Milliseconds since the Unix epoch, by the store's clock. */
  nowMs(): number {
    return this.#clock.wallMs() + this.#skewMs;
  }

  /**
   * Takes on what a refusal says that the time is, if that is far from when the refused request was signed, or if
   * `isComplaint`: the store said that this is why. A complaint of a time that was taken on before, and that the refusal
   * says again, means that it is not the store's (a proxy's `Date`): ours counts again. Returns whether signing anew is
   * worth it.
   */
  correct(said: string | undefined, signedMs: number, isComplaint: boolean): boolean {
    const storeMs = Date.parse(said ?? '');
    if (Number.isNaN(storeMs)) return false;
    const isFar = Math.abs(storeMs - signedMs) >= SKEW_MS_MIN;
    if (!isComplaint && !isFar) return false;
    this.#skewMs = isFar || this.#skewMs === 0 ? storeMs - this.#clock.wallMs() : 0;
    return true;
  }
}
