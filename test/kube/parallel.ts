import { systemClock } from '../../src/shared/base/clock.ts';

/** Runs `action` for each item, at most `limit` at a time. Rejects at the first failure, once all under way ended. */
export async function inParallel<T>(
  limit: number,
  items: readonly T[],
  action: (item: T) => Promise<void>,
): Promise<void> {
  const queue = items.values();
  let failed = false;
  const worker = async (): Promise<void> => {
    for (const item of queue) {
      if (failed) return;
      try {
        await action(item);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  const results = await Promise.allSettled(Array.from({ length: Math.min(limit, items.length) }, worker));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
}

/**
 * Asks `probe` every `everyMs` until it returns something else than undefined, and returns that. Rejects with
 * `what` once `deadlineMs` have passed, and with whatever the probe throws.
 */
export async function eventually<T>(
  what: string | (() => string),
  deadlineMs: number,
  probe: () => Promise<T | undefined>,
  everyMs = 250,
): Promise<T> {
  const deadline = systemClock.monotonicMs() + deadlineMs;
  for (;;) {
    const found = await probe();
    if (found !== undefined) return found;
    if (systemClock.monotonicMs() > deadline) {
      throw new Error(`${typeof what === 'string' ? what : what()} (waited ${deadlineMs / 1000} s)`);
    }
    await systemClock.sleep(everyMs);
  }
}
