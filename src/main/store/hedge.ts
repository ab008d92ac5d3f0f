import type { Clock } from '../../shared/base/clock.ts';

export interface HedgedPut {
  readonly clock: Clock;
  /** How long the first PUT may take before the second is sent; undefined: it never is. */
  readonly hedgeAfterMs: number | undefined;
  /** Asked when the time has come. */
  mayHedge(): boolean;
  /** Sends one conditional PUT. Must settle soon after `signal` is aborted. */
  put(request: 'put' | 'hedge', signal: AbortSignal): Promise<'created' | 'exists'>;
}

/**
 * Sends one conditional PUT and, when it is slow, the same one again on another connection. Resolves with the
 * first answer of either and drops the other; rejects, with the first failure, only when none is left that
 * could still answer.
 *
 * The first 'exists' is as good an answer as 'created': whether it means the other PUT of this pair or another
 * writer, only reading the object back can tell.
 */
export async function hedgedPut(
  work: HedgedPut,
  signal: AbortSignal | undefined,
): Promise<'created' | 'exists'> {
  signal?.throwIfAborted();
  const controller = new AbortController();
  const onAbort = (): void => controller.abort(signal?.reason);
  signal?.addEventListener('abort', onAbort);
  try {
    return await firstAnswer(work, controller.signal);
  } finally {
    signal?.removeEventListener('abort', onAbort);
    controller.abort(new Error('the other PUT of a hedged pair was answered'));
  }
}

function firstAnswer(work: HedgedPut, signal: AbortSignal): Promise<'created' | 'exists'> {
  return new Promise((resolve, reject) => {
    let pending = 0;
    let failure: { readonly error: unknown } | undefined;
    const answered = (answer: 'created' | 'exists'): void => {
      timer?.cancel();
      resolve(answer);
    };
    const failed = (error: unknown): void => {
      failure ??= { error };
      pending--;
      if (pending > 0) return;
      timer?.cancel();
      reject(failure.error);
    };
    const send = (request: 'put' | 'hedge'): void => {
      pending++;
      work.put(request, signal).then(answered, failed);
    };
    const hedge = (): void => {
      if (work.mayHedge()) send('hedge');
    };
    const timer = work.hedgeAfterMs === undefined ? undefined : work.clock.after(work.hedgeAfterMs, hedge);
    send('put');
  });
}
