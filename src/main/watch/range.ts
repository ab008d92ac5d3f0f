/**
 * The keys that a watch covers. Bounds and keys are compared as latin1 strings, one character per byte, so
 * that JavaScript's string order is the byte order and a string can be the key of a map.
 */

/** Keys with `start` ≤ key < `end`; `end` null means that there is no upper bound. */
export interface WatchRange {
  readonly start: string;
  readonly end: string | null;
  /** True when the range is the one key `start`. */
  readonly single: boolean;
}

/** The bytes as a string of one character per byte. */
export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

/**
 * The range of etcd's `key` and `range_end`: an empty end is the single key, one zero byte is every key from
 * `key` on. Returns undefined when the end is not above the key. `key` is not empty.
 */
export function watchRange(key: Uint8Array, rangeEnd: Uint8Array): WatchRange | undefined {
  const start = latin1(key);
  if (rangeEnd.length === 0) return { start, end: `${start}\0`, single: true };
  if (rangeEnd.length === 1 && rangeEnd[0] === 0) return { start, end: null, single: false };
  const end = latin1(rangeEnd);
  return start < end ? { start, end, single: false } : undefined;
}

export function rangeHas(range: WatchRange, key: string): boolean {
  return range.start <= key && (range.end === null || key < range.end);
}
