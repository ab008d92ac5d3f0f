import type { Clock } from '../../shared/base/clock.ts';
import type { Random } from '../../shared/base/random.ts';
import { StoreError } from './errors.ts';
import type { ObjectInfo, ObjectStore, ReadableStore } from './store.ts';

const BACKOFF_MS_MIN = 50;
const BACKOFF_MS_MAX = 5_000;

/**
 * How long to wait before try number `failures` + 1, in milliseconds: doubling from 50 ms to 5 s, of which
 * the upper half is random, so that clients that failed together do not return together. Not less than
 * what the store asked for, but for more than those 5 s: a write's client gives up after `--request-timeout`, so that one
 * answer that asks for a minute must not be what it waits for.
 */
export function backoffMs(failures: number, random: Random, error?: unknown): number {
  const ceiling = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** Math.min(failures - 1, 16));
  const jittered = (ceiling * (1 + random.fraction())) / 2;
  const asked = error instanceof StoreError ? (error.retryAfterMs ?? 0) : 0;
  return Math.max(jittered, Math.min(BACKOFF_MS_MAX, asked));
}

export interface RetryOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** No new try begins later than this after the first, in milliseconds. */
  readonly retryForMs: number;
  /** Told of each failure that is followed by another try. */
  readonly retrying?: (error: unknown) => void;
}

/** Calls `action` until it resolves, fails with something not 'transient', or the time is over. */
export async function retryTransient<T>(
  options: RetryOptions,
  signal: AbortSignal | undefined,
  action: () => Promise<T>,
): Promise<T> {
  const deadline = options.clock.monotonicMs() + options.retryForMs;
  for (let failures = 1; ; failures++) {
    try {
      return await action();
    } catch (error) {
      const wait = backoffMs(failures, options.random, error);
      if (!isTransient(error) || options.clock.monotonicMs() + wait > deadline) throw error;
      options.retrying?.(error);
      await options.clock.sleep(wait, signal);
      signal?.throwIfAborted();
    }
  }
}

function isTransient(error: unknown): boolean {
  return error instanceof StoreError && error.kind === 'transient';
}

/**
 * A store whose reads, lists, deletes and plain puts are tried again after transient failures: for recovery,
 * snapshots and the like. `putIfAbsent` is not: after an unknown outcome, what 'exists' means is its caller's
 * to find out (see `append.ts`). Neither is `putMultipart`: its parts can be read only once.
 */
export function retryingStore(store: ObjectStore, options: RetryOptions): ObjectStore {
  return {
    ...retryingReads(store, options),
    putIfAbsent: (key, body, signal) => store.putIfAbsent(key, body, signal),
    put: (key, body, signal) => retryTransient(options, signal, () => store.put(key, body, signal)),
    delete: (key, signal) => retryTransient(options, signal, () => store.delete(key, signal)),
    putMultipart: (key, parts, signal) => store.putMultipart(key, parts, signal),
  };
}

/** The same for a store that is only looked at. */
export function retryingReads(store: ReadableStore, options: RetryOptions): ReadableStore {
  return {
    url: store.url,
    get: (key, signal) => retryTransient(options, signal, () => store.get(key, signal)),
    getRange: (key, offset, length, signal) =>
      retryTransient(options, signal, () => store.getRange(key, offset, length, signal)),
    list: (prefix, startAfter) => retryingList(store, options, prefix, startAfter),
    close: () => store.close(),
  };
}

/** A list that broke off is begun again after the last key that it gave. */
async function* retryingList(
  store: Pick<ObjectStore, 'list'>,
  options: RetryOptions,
  prefix: string,
  startAfter: string | undefined,
): AsyncIterable<ObjectInfo> {
  let last = startAfter;
  let iterator = store.list(prefix, last)[Symbol.asyncIterator]();
  for (;;) {
    const next = await retryTransient(options, undefined, async () => {
      try {
        return await iterator.next();
      } catch (error) {
        iterator = store.list(prefix, last)[Symbol.asyncIterator]();
        throw error;
      }
    });
    if (next.done === true) return;
    last = next.value.key;
    yield next.value;
  }
}
