import type { EventPiece } from './pieces.ts';

/** A part of a piece, sent as one fragment of its response. */
export interface Fragment {
  section: Uint8Array;
  eventCount: number;
  /** True for the part that completes the response. */
  last: boolean;
}

/** Two bytes say that more fragments follow (WatchResponse.fragment, field 7). */
const FRAGMENT_FLAG_BYTES = 2;

/**
 * Cuts a piece between events so that each part with its flag stays below `bytesMax`, as etcd's
 * sendFragments does; a part has at least one event, so a single larger event makes a larger part.
 */
export function fragments(piece: EventPiece, bytesMax: number): Fragment[] {
  const parts: Fragment[] = [];
  const { ends, section } = piece;
  for (let first = 0, start = 0; first < ends.length; ) {
    let next = first + 1;
    while (next < ends.length && ends[next]! - start + FRAGMENT_FLAG_BYTES < bytesMax) next += 1;
    const end = ends[next - 1]!;
    parts.push({
      section: section.subarray(start, end),
      eventCount: next - first,
      last: next === ends.length,
    });
    first = next;
    start = end;
  }
  return parts;
}
