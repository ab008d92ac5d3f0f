/** Of the time that a PUT takes: a longer wait would cost more than the PUTs that it saves are worth. */
const PUT_SHARE = 0.4;
/** Below this a chunk's own work costs more than its writes wait. */
const WINDOW_MS_MIN = 2;

/** Writes have dried up when none came for so many times as long as lately between two. */
const GAP_TIMES = 4;
const GAP_MS_MIN = 0.5;
/** How much the latest pause counts in "lately". */
const PAUSE_WEIGHT = 0.25;
/** A longer pause says nothing about the writes that come after it. */
const PAUSE_MS_MAX = 100;

/**
 * How long a batch gathers while others are in flight: for the window that the operator set, but no longer than is
 * worth it on this store, and no longer than writes keep coming. Clients that each wait for their answer before they
 * write again all wait for this batch once they are in it. docs/decisions/batch-window-and-hedge.md has the figures.
 */
export class BatchWindow {
  readonly #windowMs: number;
  readonly #putMs: () => number | undefined;
  #lastWriteMs = Number.NEGATIVE_INFINITY;
  #pauseMs = PAUSE_MS_MAX;

  /** `putMs` says what a PUT lately took; undefined while that is not known. */
  constructor(windowMs: number, putMs: () => number | undefined) {
    this.#windowMs = windowMs;
    this.#putMs = putMs;
  }

  /** A write came. */
  arrived(nowMs: number): void {
    const pauseMs = Math.min(PAUSE_MS_MAX, nowMs - this.#lastWriteMs);
    this.#pauseMs += PAUSE_WEIGHT * (pauseMs - this.#pauseMs);
    this.#lastWriteMs = nowMs;
  }

  /** When a batch closes that has gathered since `sinceMs`, unless more writes come until then. */
  dueMs(sinceMs: number): number {
    const putMs = this.#putMs() ?? Number.POSITIVE_INFINITY;
    const windowMs = Math.min(this.#windowMs, Math.max(WINDOW_MS_MIN, PUT_SHARE * putMs));
    return Math.min(sinceMs + windowMs, this.#dryMs);
  }

  /** Whether no write came for longer than lately between two. */
  isDry(nowMs: number): boolean {
    return nowMs >= this.#dryMs;
  }

  get #dryMs(): number {
    return this.#lastWriteMs + Math.max(GAP_MS_MIN, GAP_TIMES * this.#pauseMs);
  }
}
