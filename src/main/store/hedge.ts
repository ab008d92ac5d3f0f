import type { Clock } from '../../shared/base/clock.ts';

/**
 * How long the slower PUT of a pair may take once the faster one has decided. Its answer tells the store's
 * latency and frees its connection for the next upload; cutting it off at once would cost a new connection.
 */
const SLOWER_PUT_MS_MAX = 1_000;

export interface HedgedPut {
  readonly clock: Clock;
  /** PUTs that are sent at once. */
  readonly copies: number;
  /** How long they may take before another one is sent; undefined: it never is. */
  readonly hedgeAfterMs: number | undefined;
  /** Asked when the time has come. */
  mayHedge(): boolean;
  /** Sends one conditional PUT. Must settle soon after `signal` is aborted. */
  put(request: 'put' | 'hedge', signal: AbortSignal | undefined): Promise<'created' | 'exists'>;
  /** Reads what is stored under the name, undefined for nothing. Must settle soon after `signal` is aborted. */
  readBack(signal: AbortSignal | undefined): Promise<Uint8Array | undefined>;
}

/** 'created': one of the PUTs made the object. Otherwise another request had, and this is what is stored. */
export type PutOutcome = 'created' | { readonly stored: Uint8Array | undefined };

/**
 * Sends one conditional PUT and the same one again on other connections, at once or when the first is slow.
 * 'exists' decides nothing: whether it means another PUT of these or another writer, only reading the
 * object back can tell. So it is read back, and whichever decides first does: the object, or 'created' from
 * the other PUT. Rejects, with the first failure, only when nothing is left that could still decide.
 */
export function hedgedPut(work: HedgedPut, signal: AbortSignal | undefined): Promise<PutOutcome> {
  if (work.copies === 1 && work.hedgeAfterMs === undefined) return lonePut(work, signal);
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    new Race(work, signal, resolve, reject).start();
  });
}

/** One PUT that no other will follow. */
async function lonePut(work: HedgedPut, signal: AbortSignal | undefined): Promise<PutOutcome> {
  signal?.throwIfAborted();
  const answer = await work.put('put', signal);
  return answer === 'created' ? answer : { stored: await work.readBack(signal) };
}

class Race {
  readonly #work: HedgedPut;
  readonly #signal: AbortSignal | undefined;
  readonly #resolve: (outcome: PutOutcome) => void;
  readonly #reject: (error: unknown) => void;
  readonly #controller = new AbortController();
  readonly #onAbort = (): void => this.#controller.abort(this.#signal?.reason);
  #pending = 0;
  #isReadBack = false;
  #isDecided = false;
  /** Nothing was stored when it was read back: decides only when no PUT is left. */
  #isAbsent = false;
  #failure: { readonly error: unknown } | undefined;
  /** First until the hedge, then until the slower PUT is given up. */
  #timer: { cancel(): void } | undefined;

  constructor(
    work: HedgedPut,
    signal: AbortSignal | undefined,
    resolve: (outcome: PutOutcome) => void,
    reject: (error: unknown) => void,
  ) {
    this.#work = work;
    this.#signal = signal;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  start(): void {
    const { clock, copies, hedgeAfterMs } = this.#work;
    this.#signal?.addEventListener('abort', this.#onAbort);
    this.#send('put');
    for (let copy = 1; copy < copies; copy++) this.#send('hedge');
    if (hedgeAfterMs !== undefined) this.#timer = clock.after(hedgeAfterMs, () => this.#hedge());
  }

  #hedge(): void {
    if (this.#work.mayHedge()) this.#send('hedge');
  }

  #send(request: 'put' | 'hedge'): void {
    this.#watch(this.#work.put(request, this.#controller.signal), (answer) => {
      if (answer === 'created') this.#decide('created');
      else this.#readBack();
    });
  }

  #readBack(): void {
    if (this.#isReadBack || this.#isDecided) return;
    this.#isReadBack = true;
    this.#timer?.cancel();
    this.#watch(this.#work.readBack(this.#controller.signal), (stored) => {
      if (stored === undefined) this.#isAbsent = true;
      else this.#decide({ stored });
    });
  }

  #watch<T>(request: Promise<T>, answered: (answer: T) => void): void {
    this.#pending++;
    request
      .then(answered, (error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => {
        this.#pending--;
        if (this.#pending === 0) this.#end();
      });
  }

  #decide(outcome: PutOutcome): void {
    if (this.#isDecided) return;
    this.#isDecided = true;
    this.#resolve(outcome);
    this.#timer?.cancel();
    const giveUp = (): void => this.#controller.abort(new Error('the other PUT of the pair has decided'));
    this.#timer = this.#work.clock.after(SLOWER_PUT_MS_MAX, giveUp);
  }

  /** Every request was answered. */
  #end(): void {
    this.#timer?.cancel();
    this.#signal?.removeEventListener('abort', this.#onAbort);
    if (this.#isDecided) return;
    if (this.#isAbsent) this.#resolve({ stored: undefined });
    else this.#reject(this.#failure?.error);
  }
}
