import { sharedAbort } from '../../shared/base/abort.ts';
import type { Clock } from '../../shared/base/clock.ts';
import { StoreError } from './errors.ts';

/**
 * Runs `action` and settles as it does, but rejects with a 'transient' `StoreError` after `timeoutMs`, or
 * with the reason of `signal` when that is aborted, whichever comes first. `action`'s own signal is aborted
 * then, and when it is ignored the late result is dropped: a caller never waits for a stuck store.
 */
export function withDeadline<T>(
  clock: Clock,
  timeoutMs: number,
  signal: AbortSignal | undefined,
  action: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const controller = sharedAbort();
    const stop = (reason: unknown): void => {
      finish();
      reject(reason);
      controller.abort(reason);
    };
    const onAbort = (): void => stop(signal?.reason);
    const timer = clock.after(timeoutMs, () => stop(timeoutError(timeoutMs)));
    const finish = (): void => {
      timer.cancel();
      signal?.removeEventListener('abort', onAbort);
    };
    if (signal?.aborted) {
      onAbort();
      return;
    }
    signal?.addEventListener('abort', onAbort);
    action(controller.signal).then(resolve, reject).finally(finish);
  });
}

function timeoutError(timeoutMs: number): StoreError {
  return new StoreError('transient', `the store did not answer within ${Math.round(timeoutMs)} ms`, {
    code: 'ETIMEDOUT',
  });
}
