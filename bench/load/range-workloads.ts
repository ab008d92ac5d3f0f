import type { CallError } from '../grpc/connection.ts';
import { type KeySpace, type KnownKey, prefixEnd } from './key-space.ts';
import { method, outlineRangeAnswer, type RangeOutline, range } from './messages.ts';
import type { Operation, Workload } from './workload.ts';

/** Keys of one page: kube-apiserver's and kubectl's usual limit. */
const PAGE_LIMIT = 500;

/** Pages of 500 from keys picked at random; the answer must have as many keys as there are from there on. */
export function pages(space: KeySpace, acknowledged: readonly KnownKey[]): Workload {
  const keys = [...acknowledged].sort((a, b) => Buffer.compare(a.key, b.key));
  const end = prefixEnd(space.prefix);
  return {
    next() {
      // Of the keys that have a whole page behind them, so that every answer is of one size.
      const at = space.pick(Math.max(1, keys.length - PAGE_LIMIT));
      const expected = Math.min(PAGE_LIMIT, keys.length - at);
      return rangeOperation(range(keys[at]!.key, end, PAGE_LIMIT), (outline) =>
        outline.keyValues === expected ? undefined : `page: ${outline.keyValues} keys instead of ${expected}`,
      );
    },
  };
}

/** Counts of the whole prefix, without its keys. */
export function counts(prefix: string, expected: number): Workload {
  const message = range(Buffer.from(prefix, 'latin1'), prefixEnd(prefix), 0, true);
  return {
    next: () =>
      rangeOperation(message, ({ count }) =>
        count === expected ? undefined : `count: ${count} instead of ${expected}`,
      ),
  };
}

/** The whole prefix in one answer, without a limit. */
export function lists(prefix: string, expected: number): Workload {
  const message = range(Buffer.from(prefix, 'latin1'), prefixEnd(prefix));
  return {
    next: () =>
      rangeOperation(message, ({ keyValues }) =>
        keyValues === expected ? undefined : `list: ${keyValues} keys instead of ${expected}`,
      ),
  };
}

function rangeOperation(
  message: Uint8Array,
  check: (outline: RangeOutline) => string | undefined,
): Operation {
  const settle = (error: CallError | undefined, answer: Uint8Array): string | undefined =>
    error ? `grpc ${error.code}: ${error.message}` : check(outlineRangeAnswer(answer));
  return { method: method.range, message, settle };
}
