import type { Clock, Timer } from '../../src/shared/base/clock.ts';

interface Pending {
  dueMs: number;
  action: () => void;
}

/** A clock that moves only when a test says so. */
export class ManualClock implements Clock {
  readonly #pending = new Set<Pending>();
  #nowMs = 0;

  wallMs(): number {
    return 1_700_000_000_000 + this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, action: () => void): Timer {
    const pending: Pending = { dueMs: this.#nowMs + delayMs, action };
    this.#pending.add(pending);
    return { cancel: () => this.#pending.delete(pending) };
  }

  /** Makes the call at the next `advance`, however short. */
  soon(action: () => void): void {
    this.after(0, action);
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return sleepBy(this, delayMs, signal);
  }

  /** How many calls are waiting for their time. */
  get waiting(): number {
    return this.#pending.size;
  }

  /** Moves time on by `durationMs`, making the calls that come due, in order of time and then of asking. */
  advance(durationMs: number): void {
    const untilMs = this.#nowMs + durationMs;
    for (let next = this.#earliest(untilMs); next !== undefined; next = this.#earliest(untilMs)) {
      this.#pending.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.action();
    }
    this.#nowMs = untilMs;
  }

  #earliest(untilMs: number): Pending | undefined {
    let earliest: Pending | undefined;
    for (const pending of this.#pending)
      if (pending.dueMs <= untilMs && (earliest === undefined || pending.dueMs < earliest.dueMs))
        earliest = pending;
    return earliest;
  }
}

/** What `sleep` of a clock promises, by its timers. */
export function sleepBy(clock: Pick<Clock, 'after'>, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) {
      resolve();
      return;
    }
    const finish = (): void => {
      timer.cancel();
      signal?.removeEventListener('abort', finish);
      resolve();
    };
    const timer = clock.after(delayMs, finish);
    signal?.addEventListener('abort', finish, { once: true });
  });
}
