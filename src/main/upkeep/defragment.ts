import type { Clock } from '../../shared/base/clock.ts';

/** A read that is under way keeps SQLite's files from being cut: then it is tried again. */
const TRIES_MAX = 100;
const RETRY_AFTER_MS = 20;

export interface DefragmentParts {
  clock: Clock;
  /** Takes the unused pages out of the database, in small steps between writes. */
  vacuum(): Promise<void>;
  /** Copies the write-ahead log into the database, off the write path. */
  copy(): Promise<unknown>;
  /** Copies what is left of it in the writer's thread and cuts both files; answers whether that could be done. */
  truncate(): Promise<boolean>;
}

/**
 * Gives the cache's unused pages back to the disk while reads and writes go on. Vacuuming is written to the log
 * like any other change; the database is cut when the log has been copied into it to its end. If reads never leave
 * a gap, the files are cut with a later checkpoint.
 */
export async function defragment({ clock, vacuum, copy, truncate }: DefragmentParts): Promise<void> {
  await vacuum();
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    await copy();
    if (await truncate()) return;
    await clock.sleep(RETRY_AFTER_MS);
  }
}
