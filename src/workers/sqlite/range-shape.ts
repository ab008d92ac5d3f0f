import { isSingleKey, isUnbounded, type KeyRange } from '../../shared/model/key-range.ts';

/** The three shapes of a key range, as SQL conditions. */
export const SHAPES = ['key = ?', 'key >= ?', 'key >= ? AND key < ?'] as const;

/** Which of SHAPES a range has. */
export function shapeOf(range: KeyRange): number {
  if (isSingleKey(range)) return 0;
  return isUnbounded(range) ? 1 : 2;
}

/** The parameters of its condition. */
export function boundsOf(range: KeyRange): Uint8Array[] {
  return shapeOf(range) === 2 ? [range.key, range.rangeEnd] : [range.key];
}
