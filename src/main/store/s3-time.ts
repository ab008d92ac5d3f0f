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
   * Takes on what the `Date` of a refusal says, if that is far from when the refused request was signed, or if
   * `isComplaint`: the store said that this is why. Returns whether it did, so that signing anew is worth it.
   */
  correct(date: string | undefined, signedMs: number, isComplaint: boolean): boolean {
    const storeMs = Date.parse(date ?? '');
    if (Number.isNaN(storeMs)) return false;
    if (!isComplaint && Math.abs(storeMs - signedMs) < SKEW_MS_MIN) return false;
    this.#skewMs = storeMs - this.#clock.wallMs();
    return true;
  }
}
