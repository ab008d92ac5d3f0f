import type { CallError } from '../grpc/connection.ts';
import type { KeySpace, KnownKey } from './key-space.ts';
import { method, putIfModRevision, range, readRangeAnswer, readTxnAnswer } from './messages.ts';
import { counts, lists, pages } from './range-workloads.ts';

export type OperationName = 'create' | 'update' | 'get' | 'page' | 'count' | 'list';

/** Whether the operation writes. */
export function isWrite(name: OperationName): boolean {
  return name === 'create' || name === 'update';
}

/** One request and the check of its answer. */
export interface Operation {
  readonly method: string;
  readonly message: Uint8Array;
  /** Called once with the answer; returns what is wrong with it, undefined when it is as it must be. */
  settle(error: CallError | undefined, message: Uint8Array): string | undefined;
}

/** An endless list of operations. */
export interface Workload {
  /** Undefined when every key has a request in flight: ask again when one is done. */
  next(): Operation | undefined;
}

/** Thrown when a workload needs keys and none were created. */
class NoKeysError extends Error {}

/** What there is to list for a process that has no keys of its own. */
export interface ForeignKeys {
  readonly prefix: string;
  readonly count: number;
}

/** `foreign` is what `count` and `list` go over instead of the keys of `space`. */
export function createWorkload(name: OperationName, space: KeySpace, foreign?: ForeignKeys): Workload {
  if (name === 'create') return { next: () => write(space, space.add(), () => {}) };
  const acknowledged = space.keys.filter((key) => key.modRevision > 0 && !key.unknown);
  const whole = { prefix: space.prefix, count: space.keys.length, ...foreign };
  if (whole.count === 0) throw new NoKeysError(`${name} needs keys: run create before it`);
  switch (name) {
    case 'update':
      return updates(space, acknowledged);
    case 'get':
      return gets(space, acknowledged);
    case 'page':
      return pages(space, acknowledged);
    case 'count':
      return counts(whole.prefix, whole.count);
    case 'list':
      return lists(whole.prefix, whole.count);
  }
}

/**
 * Creates `count` keys and then has no more. What a scenario needs before it begins; a fill is not a figure of its
 * own.
 */
export function createFill(space: KeySpace, count: number): Workload {
  let left = count;
  return { next: () => (left-- > 0 ? write(space, space.add(), () => {}) : undefined) };
}

/** Each key has at most one write in flight, so that its revision is known when it is compared. */
function updates(space: KeySpace, keys: readonly KnownKey[]): Workload {
  // A ring of the keys that are free, begun in an order that is not the order of the keys.
  const ring = [...keys];
  for (let index = ring.length - 1; index > 0; index--) {
    const other = space.pick(index + 1);
    [ring[index], ring[other]] = [ring[other]!, ring[index]!];
  }
  let taken = 0;
  let freed = 0;
  const free = (key: KnownKey): void => {
    ring[freed++ % ring.length] = key;
  };
  return {
    next() {
      if (taken - freed >= ring.length) return undefined;
      return write(space, ring[taken++ % ring.length]!, free);
    },
  };
}

function gets(space: KeySpace, keys: readonly KnownKey[]): Workload {
  return {
    next() {
      const key = keys[space.pick(keys.length)]!;
      const settle = (error: CallError | undefined, message: Uint8Array): string | undefined => {
        if (error) return `grpc ${error.code}: ${error.message}`;
        if (space.shape.unchecked) return undefined;
        const [found, ...others] = readRangeAnswer(message).keyValues;
        if (!found || others.length > 0) return 'get: not exactly one key';
        if (found.modRevision !== key.modRevision) return 'get: another mod revision than acknowledged';
        if (!space.value(key, key.valueAt).equals(found.value)) return 'get: another value than acknowledged';
        return undefined;
      };
      return { method: method.range, message: range(key.key), settle };
    },
  };
}

/** `free` is called when another write of the key may follow. */
function write(space: KeySpace, key: KnownKey, free: (key: KnownKey) => void): Operation {
  const valueAt = space.nextValueAt();
  const expected = key.modRevision;
  const message = putIfModRevision(key.key, expected, space.value(key, valueAt), expected > 0);
  key.unknown = true;
  const settle = (error: CallError | undefined, answer: Uint8Array): string | undefined => {
    if (error) return `grpc ${error.code}: ${error.message}`;
    const { revision, succeeded } = space.shape.unchecked
      ? { revision: expected + 1, succeeded: true }
      : readTxnAnswer(answer);
    if (!succeeded)
      return `${expected > 0 ? 'update' : 'create'}: the compare failed, though nobody else writes`;
    if (revision <= expected) return 'write: the revision did not grow';
    key.modRevision = revision;
    key.valueAt = valueAt;
    key.unknown = false;
    space.onAcknowledged(key);
    free(key);
    return undefined;
  };
  return { method: method.txn, message, settle };
}
