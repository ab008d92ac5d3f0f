/**
 * Rows of the history that an index has by their keys: tombstones, and every so many versions of a key. The others are
 * found from these and from `current` by `previous_id` (`past.ts`).
 */

/** Versions of a key from one signpost to the next; part of the cache's schema. */
export const SIGNPOST_VERSIONS = 32;

/** SQLite uses it only where a query says `signpost = 1`. */
export const SIGNPOSTS = 'CREATE INDEX history_signposts ON history (key, id) WHERE signpost = 1;';

/** Whether a row is a signpost, as its column has it. A function of the record alone. */
export function signpostOf({ deleted, version }: { deleted: boolean; version: number }): 0 | 1 {
  return deleted || version % SIGNPOST_VERSIONS === 0 ? 1 : 0;
}
