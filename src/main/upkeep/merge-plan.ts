import type { LogObject } from '../recovery/log-objects.ts';

/** Packs of this size are not merged any more. See docs/decisions/merging.md for what these two were chosen by. */
export const PACK_BYTES = 16 * 1024 * 1024;
/** So many packs that have not grown to that size are merged into one. */
const SMALL_PACKS_MAX = 16;

/**
 * Which of the last packs are to become one: as many as can without exceeding `PACK_BYTES` by much, if they are
 * `SMALL_PACKS_MAX` or fill one. Undefined if none are. `packs` are in the log's order and don't overlap.
 *
 * The first of them is no larger than all others together, so whatever is written again is part of something twice as
 * large as before.
 */
export function planMerge<T extends Pick<LogObject, 'size'>>(packs: readonly T[]): readonly T[] | undefined {
  let found: readonly T[] | undefined;
  let bytes = 0;
  for (let first = packs.length - 1; first >= 0; first--) {
    const { size } = packs[first]!;
    if (size >= PACK_BYTES / 2 || bytes >= PACK_BYTES) break;
    const isWorthIt = packs.length - first >= SMALL_PACKS_MAX || bytes + size >= PACK_BYTES;
    if (isWorthIt && size <= bytes) found = packs.slice(first);
    bytes += size;
  }
  return found;
}
