import { asBuffer } from '../../shared/base/bytes.ts';
import type { Clock } from '../../shared/base/clock.ts';
import { errorMessage } from '../../shared/base/errors.ts';
import type { Log } from '../../shared/base/log.ts';
import type { Random } from '../../shared/base/random.ts';
import { READS_MAX, UPLOAD_TRUST_MS } from '../../shared/model/limits.ts';
import { withDeadline } from './deadline.ts';
import { StoreError } from './errors.ts';
import { type HedgedPut, hedgedPut } from './hedge.ts';
import { LatencyWindow } from './latency.ts';
import { PutAllowance } from './put-allowance.ts';
import type { PutBudget } from './put-budget.ts';
import { backoffMs } from './retry.ts';
import type { ObjectStore } from './store.ts';

/**
 * Puts one chunk into the log, whatever the store does meanwhile. What keeps it honest:
 *
 * 1. 'durable' is said only when the object under the key is exactly the body: the store answered 'created'
 *    in time, or the object was read back and compared.
 * 2. 'exists' alone decides nothing. A try whose answer was lost, or a hedge, may have created the object, so
 *    it is read back: the same bytes are ours (each body carries its writer's nonce), others are not.
 * 3. An answer that comes later than `UPLOAD_TRUST_MS` after the append began decides nothing either: in that
 *    time another primary's chunk may have come and gone under this name, so the object is read back, and what was
 *    read counts only if this process was the primary before and after.
 * 4. Nothing is sent while this process is not the primary: one that was stopped for hours would put what it had
 *    evaluated before under names that were freed meanwhile.
 * 5. After a failure the outcome is unknown, and only the same key with the same body is ever tried again.
 */

/** How often an append that waits for the lease looks again. */
const LEASE_LOOK_MS = 20;

/** A hedge sooner than this would mostly race the network's own noise. */
const HEDGE_AFTER_MS_MIN = 10;
/** A little past the percentile, so that uploads about there do not use up what the slow ones' hedges may cost. */
const HEDGE_AFTER_P95_TIMES = 1.1;
/** Until the store's latencies are known. */
const HEDGE_AFTER_MS_AT_FIRST = 1_000;

/** Keeps later hedges near 5 % of the uploads, so that a store that is slow throughout is not also loaded twice. */
const HEDGES_PER_UPLOAD = 0.05;
/** So that a burst of slow uploads can all be hedged. */
const HEDGES_SAVED_MAX = 8;

/**
 * Several PUTs at once cut the latency more than anything later can, and cost little where many writes share
 * them: see docs/decisions/batch-window-and-hedge.md for the figures.
 */
const COPIES_MAX = 3;
const COPIES_PER_WRITE = 1 / 6;
const COPIES_SAVED_MAX = 16;
/** Sending a large object again takes from the others the bandwidth that it would win for itself. */
const COPIED_BYTES_MAX = 256 * 1024;

/** One request to the store on behalf of an append, for metrics. */
export interface AppendAttempt {
  readonly request: 'put' | 'hedge' | 'readback';
  /** 'dropped': given up long after another request had decided the append, or the append was aborted. */
  readonly outcome: 'pending' | 'created' | 'exists' | 'read' | 'absent' | 'failed' | 'dropped';
  /** On the monotonic clock. */
  readonly sentMs: number;
  /** 0 while it is pending. */
  readonly latencyMs: number;
  /** Why it failed, in one line. */
  readonly error?: string;
}

type Writable<T> = { -readonly [Name in keyof T]: T[Name] };

export interface AppenderOptions {
  /**
   * When another PUT is sent: after so many milliseconds, after the recent p95, or never. 'auto': up to two more at
   * once for small objects, as long as there are six writes for each; else after the p95.
   */
  readonly hedgeAfterMs: number | 'auto' | 'p95' | 'off';
  /** For one request, in milliseconds. Its outcome is unknown when it takes longer. */
  readonly attemptTimeoutMs: number;
  /** A failure later than this after the first try, in milliseconds, is not tried again; undefined: all are until the signal. */
  readonly retryForMs?: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Whether this process holds the primary's lease at this moment. */
  readonly isPrimary?: () => boolean;
  readonly onAttempt?: (attempt: AppendAttempt) => void;
  /** Of all PUTs of the process; undefined: they have no limit. */
  readonly putBudget?: PutBudget | undefined;
}

/** What is wrong with the store. */
export interface StoreTrouble {
  /** Wall clock, in milliseconds. */
  readonly since: number;
  readonly error: StoreError;
}

export class Appender {
  readonly #store: ObjectStore;
  readonly #options: AppenderOptions;
  readonly #latencies = new LatencyWindow();
  readonly #hedges = new PutAllowance(HEDGES_PER_UPLOAD, HEDGES_SAVED_MAX, 1);
  readonly #copies = new PutAllowance(COPIES_PER_WRITE, COPIES_SAVED_MAX, 0);
  #trouble: StoreTrouble | undefined;

  constructor(store: ObjectStore, options: AppenderOptions) {
    this.#store = store;
    this.#options = options;
  }

  /** Undefined while the store answers; else since when it fails, and its latest error. For /health. */
  get trouble(): StoreTrouble | undefined {
    return this.#trouble;
  }

  /** What a PUT lately took, in milliseconds: the median; undefined until that is known. */
  get putMs(): number | undefined {
    return this.#latencies.median;
  }

  /**
   * Resolves 'durable' when the object under `key` is exactly `body`, 'lost' when it is another writer's.
   * Failures are retried with backoff for as long as `signal` is not aborted; so are refusals ('denied',
   * 'no-bucket', and whatever else has an HTTP status), because credentials, policies and proxies are rotated and mended
   * while the server runs. Rejects with the signal's reason, with a 'fatal' or 'unsupported' `StoreError` of the machine, or with the
   * latest failure when `retryForMs` is over. `body` must not change meanwhile;
   * `writes` is how many requests wait for it. Each request to the store is added to `attempts` when it is sent.
   */
  async append(
    key: string,
    body: Uint8Array,
    writes: number,
    signal?: AbortSignal,
    attempts: AppendAttempt[] = [],
  ): Promise<'durable' | 'lost'> {
    const { clock, random, retryForMs = Number.POSITIVE_INFINITY } = this.#options;
    const retryUntil = clock.monotonicMs() + retryForMs;
    if (!this.#isPrimary()) await this.#untilPrimary(signal);
    this.#copies.earn(writes);
    const trustUntil = clock.monotonicMs() + UPLOAD_TRUST_MS;
    let readsCutShort = 0;
    for (let failures = 1; ; failures++) {
      let failure: unknown;
      try {
        this.#hedges.earn(1);
        const outcome = await hedgedPut(this.#hedgedPut(key, body, attempts), signal);
        if (outcome === 'created' && clock.monotonicMs() <= trustUntil) return 'durable';
        const stored = outcome === 'created' ? await this.#readBack(key, signal, attempts) : outcome.stored;
        if (stored !== undefined && beginsAs(stored, body) && ++readsCutShort < READS_MAX) {
          const message = `cannot read ${key} back: it broke off after ${stored.length} of ${body.length} bytes`;
          this.#noteFailure(key, new StoreError('transient', message), signal);
        } else if (stored !== undefined) {
          if (!asBuffer(stored).equals(body)) return 'lost';
          if (clock.monotonicMs() <= trustUntil || this.#isPrimary()) return 'durable';
        }
      } catch (error) {
        failure = error;
        this.#noteFailure(key, error, signal);
        if (clock.monotonicMs() > retryUntil) throw error;
      }
      await clock.sleep(backoffMs(failures, random, failure), signal);
      signal?.throwIfAborted();
      await this.#untilPrimary(signal);
    }
  }

  #hedgedPut(key: string, body: Uint8Array, attempts: AppendAttempt[]): HedgedPut {
    const copies = this.#copiesOf(body);
    return {
      clock: this.#options.clock,
      copies,
      hedgeAfterMs: copies > 1 ? undefined : this.#hedgeAfterMs(),
      mayHedge: () => this.#isPrimary() && this.#maySpendOnHedge(),
      put: (request, stop) =>
        this.#attempt(key, request, attempts, stop, (signal) => this.#store.putIfAbsent(key, body, signal)),
      readBack: (stop) => this.#readBack(key, stop, attempts),
    };
  }

  /** While the lease has run out it is being renewed; when another process has it, this one ends. */
  async #untilPrimary(signal: AbortSignal | undefined): Promise<void> {
    while (!this.#isPrimary()) {
      await this.#options.clock.sleep(LEASE_LOOK_MS, signal);
      signal?.throwIfAborted();
    }
  }

  #isPrimary(): boolean {
    return this.#options.isPrimary?.() ?? true;
  }

  #maySpendOnHedge(): boolean {
    return (this.#options.putBudget?.hasOneToSpare() ?? true) && this.#hedges.spend();
  }

  /** Only while the store is well: one that is in trouble isn't helped by more requests. */
  #copiesOf(body: Uint8Array): number {
    const { hedgeAfterMs, putBudget } = this.#options;
    if (hedgeAfterMs !== 'auto' || this.#trouble !== undefined || putBudget?.hasPlenty() === false) return 1;
    if (body.length > COPIED_BYTES_MAX) return 1;
    let copies = 1;
    while (copies < COPIES_MAX && this.#copies.spend()) copies++;
    return copies;
  }

  #hedgeAfterMs(): number | undefined {
    const after = this.#options.hedgeAfterMs;
    if (after === 'off') return undefined;
    if (typeof after === 'number') return after;
    const p95 = this.#latencies.p95;
    if (p95 === undefined) return HEDGE_AFTER_MS_AT_FIRST;
    return Math.max(p95 * HEDGE_AFTER_P95_TIMES, HEDGE_AFTER_MS_MIN);
  }

  async #readBack(
    key: string,
    signal: AbortSignal | undefined,
    attempts: AppendAttempt[],
  ): Promise<Uint8Array | undefined> {
    let stored: Uint8Array | undefined;
    await this.#attempt(key, 'readback', attempts, signal, async (stop) => {
      stored = await this.#store.get(key, stop);
      return stored === undefined ? 'absent' : 'read';
    });
    return stored;
  }

  /** One request with its deadline, reported to `onAttempt` however it ends. */
  async #attempt<T extends AppendAttempt['outcome']>(
    key: string,
    request: AppendAttempt['request'],
    attempts: AppendAttempt[],
    signal: AbortSignal | undefined,
    action: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { clock, attemptTimeoutMs, onAttempt } = this.#options;
    const sentMs = clock.monotonicMs();
    const attempt: Writable<AppendAttempt> = { request, outcome: 'pending', sentMs, latencyMs: 0 };
    attempts.push(attempt);
    try {
      const answer = await withDeadline(clock, attemptTimeoutMs, signal, action);
      attempt.outcome = answer;
      this.#noteAnswer(key);
      if (request !== 'readback') this.#latencies.record(clock.monotonicMs() - sentMs);
      return answer;
    } catch (error) {
      attempt.outcome = signal?.aborted ? 'dropped' : 'failed';
      attempt.error = errorMessage(error);
      throw error;
    } finally {
      attempt.latencyMs = clock.monotonicMs() - sentMs;
      onAttempt?.(attempt);
    }
  }

  #noteFailure(key: string, error: unknown, signal: AbortSignal | undefined): void {
    signal?.throwIfAborted();
    if (!(error instanceof StoreError)) throw error;
    // What HTTP says may be something in between, or what an operator mends; the probe has shown that the store can do it.
    const retried = error.status !== undefined || (error.kind !== 'fatal' && error.kind !== 'unsupported');
    const fields = { key, store: this.#store.url, error: error.message, kind: error.kind, retried };
    if (this.#trouble === undefined) this.#options.log.warn('store failed an upload', fields);
    else this.#options.log.debug('store failed an upload again', fields);
    this.#trouble = { since: this.#trouble?.since ?? this.#options.clock.wallMs(), error };
    if (!retried) throw error;
  }

  #noteAnswer(key: string): void {
    if (this.#trouble === undefined) return;
    const failedForMs = this.#options.clock.wallMs() - this.#trouble.since;
    this.#trouble = undefined;
    this.#options.log.info('store answers again', { key, store: this.#store.url, failedForMs });
  }
}

/** Whether what was read back may be our object, cut short on its way. */
function beginsAs(stored: Uint8Array, body: Uint8Array): boolean {
  return stored.length < body.length && asBuffer(body).subarray(0, stored.length).equals(stored);
}
