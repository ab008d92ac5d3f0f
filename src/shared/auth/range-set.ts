import { compareBytes, NO_BYTES } from '../base/bytes.ts';
import { isSingleKey, isUnbounded, type KeyRange } from '../model/key-range.ts';

/** The keys from `begin` up to, not including, `end`; an empty `end` is after every key. */
interface Interval {
  begin: Uint8Array;
  end: Uint8Array;
}

/** A set of keys, made of ranges that are joined where they meet: what all permissions of a user come to. */
export class RangeSet {
  /** Sorted; no two meet. */
  readonly #intervals: readonly Interval[];

  constructor(ranges: readonly KeyRange[]) {
    this.#intervals = joined(ranges.map(intervalOf));
  }

  /** Whether every key of `range` is in the set. A range that ends before it begins counts as its first key. */
  covers(range: KeyRange): boolean {
    const { begin, end } = intervalOf(range);
    const found = this.#lastFrom(begin);
    if (found === undefined || compareEnds(begin, found.end) >= 0) return false;
    return compareEnds(end, found.end) <= 0;
  }

  /** The last interval that begins at or before `key`. */
  #lastFrom(key: Uint8Array): Interval | undefined {
    let low = 0;
    let high = this.#intervals.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compareBytes(this.#intervals[middle]!.begin, key) <= 0) low = middle + 1;
      else high = middle;
    }
    return this.#intervals[low - 1];
  }
}

function intervalOf(range: KeyRange): Interval {
  const { key, rangeEnd } = range;
  if (isUnbounded(range)) return { begin: key, end: NO_BYTES };
  if (!isSingleKey(range)) return { begin: key, end: rangeEnd };
  const next = new Uint8Array(key.length + 1);
  next.set(key);
  return { begin: key, end: next };
}

function joined(intervals: Interval[]): Interval[] {
  const sorted = intervals.sort((a, b) => compareBytes(a.begin, b.begin));
  const result: Interval[] = [];
  for (const { begin, end } of sorted) {
    const last = result.at(-1);
    if (last === undefined || compareEnds(begin, last.end) > 0) result.push({ begin, end });
    else if (compareEnds(end, last.end) > 0) last.end = end;
  }
  return result;
}

/** As `compareBytes`, with an empty end as the largest. */
function compareEnds(a: Uint8Array, b: Uint8Array): number {
  if (a.length === 0 || b.length === 0) return Number(a.length === 0) - Number(b.length === 0);
  return compareBytes(a, b);
}
