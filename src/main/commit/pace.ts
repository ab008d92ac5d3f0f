import type { Clock, Timer } from '../../shared/base/clock.ts';
import type { PutBudget } from '../store/put-budget.ts';

/** Where PUTs are few, a chunk may take what gathered meanwhile: so many times the bytes that else fill a batch. */
export const PACED_BYTES_TIMES = 4;

export interface PaceParts {
  readonly clock: Clock;
  readonly budget: PutBudget;
  /** A batch that waited for the budget, for so many milliseconds, closes. */
  held(ms: number): void;
  /** Called when a batch that had to wait may close. */
  again(): void;
}

/** Holds batches back for as long as `--put-budget` wants it. */
export class Pace {
  readonly #parts: PaceParts;
  #timer: Timer | undefined;
  #heldSinceMs: number | undefined;

  constructor(parts: PaceParts) {
    this.#parts = parts;
  }

  /** A batch waits, and `again` will be called. */
  get isHolding(): boolean {
    return this.#timer !== undefined;
  }

  /** Whether a batch may close now; if not, `again` is called when it may. */
  allows(): boolean {
    const { clock, budget, again } = this.#parts;
    const waitMs = budget.waitMs();
    if (waitMs === 0) return true;
    this.#heldSinceMs ??= clock.monotonicMs();
    this.#timer ??= clock.after(waitMs, () => {
      this.#timer = undefined;
      again();
    });
    return false;
  }

  /** A batch closes: its PUT is paid. */
  closed(): void {
    const { clock, budget, held } = this.#parts;
    budget.take();
    this.cancel();
    if (this.#heldSinceMs === undefined) return;
    held(clock.monotonicMs() - this.#heldSinceMs);
    this.#heldSinceMs = undefined;
  }

  /** A batch that had closed makes no chunk: the next one may have its PUT. */
  giveBack(): void {
    this.#parts.budget.giveBack();
    if (!this.isHolding) return;
    this.cancel();
    this.#parts.again();
  }

  cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
