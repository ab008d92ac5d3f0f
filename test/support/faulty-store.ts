import { StoreError } from '../../src/main/store/errors.ts';
import type { ObjectInfo, ObjectStore } from '../../src/main/store/store.ts';
import type { Clock } from '../../src/shared/base/clock.ts';
import type { Random } from '../../src/shared/base/random.ts';

type FaultyOperation = 'get' | 'getRange' | 'putIfAbsent' | 'put' | 'list' | 'delete' | 'putMultipart';

/** What goes wrong with one call. The effect happens unless `failBefore` is there. */
export interface Fault {
  /** Thrown instead of the call. */
  readonly failBefore?: StoreError;
  /** Thrown instead of the answer, after the effect: the answer is lost. */
  readonly failAfter?: StoreError;
  /** Passes before the effect, in milliseconds. */
  readonly delayBeforeMs?: number;
  /** Passes after the effect, before the answer. */
  readonly delayAfterMs?: number;
}

/** Decides the fate of each call; `call` counts all calls of the store from 0. */
export type FaultPlan = (operation: FaultyOperation, key: string, call: number) => Fault;

/** The error of a call that the network or the store lost. */
export function lostAnswer(): StoreError {
  return new StoreError('transient', 'injected: the answer was lost', { code: 'ECONNRESET' });
}

/** Faults with the given probabilities, delays of up to `delayMsMax` on each side. */
export function randomFaults(random: Random, failure: number, delayMsMax: number): FaultPlan {
  return () => {
    const kind = random.fraction();
    return {
      ...(kind < failure / 2 ? { failBefore: lostAnswer() } : {}),
      ...(kind >= failure / 2 && kind < failure ? { failAfter: lostAnswer() } : {}),
      delayBeforeMs: random.fraction() ** 4 * delayMsMax,
      delayAfterMs: random.fraction() ** 4 * delayMsMax,
    };
  };
}

/**
 * The same store, with faults. As on a network, an aborted caller is answered at once but the request that it
 * sent goes on to have its effect.
 */
export function faultyStore(store: ObjectStore, plan: FaultPlan, clock: Clock): ObjectStore {
  let calls = 0;
  const meet = async <T>(fault: Fault, action: () => Promise<T>): Promise<T> => {
    if (fault.delayBeforeMs !== undefined) await clock.sleep(fault.delayBeforeMs);
    if (fault.failBefore !== undefined) throw fault.failBefore;
    const answer = await action();
    if (fault.delayAfterMs !== undefined) await clock.sleep(fault.delayAfterMs);
    if (fault.failAfter !== undefined) throw fault.failAfter;
    return answer;
  };
  const call = <T>(
    operation: FaultyOperation,
    key: string,
    signal: AbortSignal | undefined,
    action: () => Promise<T>,
  ): Promise<T> => abandonable(signal, () => meet(plan(operation, key, calls++), action));
  return {
    url: store.url,
    get: (key, signal) => call('get', key, signal, () => store.get(key)),
    getRange: (key, offset, length, signal) =>
      call('getRange', key, signal, () => store.getRange(key, offset, length)),
    putIfAbsent: (key, body, signal) => call('putIfAbsent', key, signal, () => store.putIfAbsent(key, body)),
    put: (key, body, signal) => call('put', key, signal, () => store.put(key, body)),
    list: (prefix, startAfter) =>
      faultyList(store.list(prefix, startAfter), () => meet(plan('list', prefix, calls++), async () => {})),
    delete: (key, signal) => call('delete', key, signal, () => store.delete(key)),
    putMultipart: (key, parts, signal) =>
      call('putMultipart', key, signal, () => store.putMultipart(key, parts, signal)),
    close: () => store.close(),
  };
}

function abandonable<T>(signal: AbortSignal | undefined, action: () => Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
    action().then(resolve, reject);
  });
}

/** Each object of the list meets its own fault. */
async function* faultyList(
  objects: AsyncIterable<ObjectInfo>,
  meet: () => Promise<void>,
): AsyncIterable<ObjectInfo> {
  for await (const object of objects) {
    await meet();
    yield object;
  }
}
