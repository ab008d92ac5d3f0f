import { compareBytes } from '../base/bytes.ts';

/**
 * A range of keys as etcd's API writes it: `rangeEnd` empty means the one key, a single zero byte means
 * every key from `key` on, anything else is the exclusive end.
 */
export interface KeyRange {
  key: Uint8Array;
  rangeEnd: Uint8Array;
}

/** True for a range that is one key. */
export function isSingleKey(range: KeyRange): boolean {
  return range.rangeEnd.length === 0;
}

/** True for a range without an end. */
export function isUnbounded(range: KeyRange): boolean {
  return range.rangeEnd.length === 1 && range.rangeEnd[0] === 0;
}

/** Whether `key` lies in `range`. */
export function rangeContains(range: KeyRange, key: Uint8Array): boolean {
  const fromStart = compareBytes(key, range.key);
  if (isSingleKey(range)) return fromStart === 0;
  if (fromStart < 0) return false;
  return isUnbounded(range) || compareBytes(key, range.rangeEnd) < 0;
}
