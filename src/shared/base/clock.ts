/**
 * Time comes from here and nowhere else, so that a simulation can own it.
 * Nothing outside `shared/base` may call `Date.now`, `performance.now` or `setTimeout`.
 */

/** A pending call that can be taken back. */
export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Milliseconds since the Unix epoch. May jump; only for what people and files read. */
  wallMs(): number;
  /** Milliseconds (fractional) since some start. Never goes back; for every duration and deadline. */
  monotonicMs(): number;
  /** Calls `action` once after at least `delayMs`. Does not keep the process alive. */
  after(delayMs: number, action: () => void): Timer;
  /** Calls `action` after everything that is ready in this turn of the event loop. */
  soon(action: () => void): void;
  /** Resolves after at least `delayMs`, or at once when `signal` is or becomes aborted. Never rejects. */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void>;
}

/** The machine's own clock. */
export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, action) {
    const handle = setTimeout(action, delayMs);
    handle.unref();
    return { cancel: () => clearTimeout(handle) };
  },
  soon(action) {
    setImmediate(action);
  },
  sleep(delayMs, signal) {
    return new Promise((resolve) => {
      if (signal?.aborted) {
        resolve();
        return;
      }
      const finish = (): void => {
        clearTimeout(handle);
        signal?.removeEventListener('abort', finish);
        resolve();
      };
      const handle = setTimeout(finish, delayMs);
      signal?.addEventListener('abort', finish, { once: true });
    });
  },
};
