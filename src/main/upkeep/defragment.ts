import { stat } from 'node:fs/promises';
import type { Clock } from '../../shared/base/clock.ts';

/** Reads keep SQLite's write-ahead log from being copied to its end: then it is tried again. */
const TRIES_MAX = 50;
const RETRY_AFTER_MS = 20;

export interface DefragmentParts {
  cacheFile: string;
  clock: Clock;
  /** Takes the unused pages out of the database, in small steps between writes. */
  vacuum(): Promise<void>;
  /** Copies the write-ahead log into the database, off the write path. */
  copy(): Promise<void>;
  /** Copies what is left of it in the writer's thread, where no write comes between. */
  restart(): Promise<void>;
  /** The database without its unused pages. */
  databaseBytes(): number;
}

/**
 * Gives the cache's unused pages back to the disk while reads and writes go on. Vacuuming is written to the log
 * like any other change; the file is cut when the log has been copied into it to its end.
 */
export async function defragment(parts: DefragmentParts): Promise<void> {
  const { cacheFile, clock, vacuum, copy, restart, databaseBytes } = parts;
  await vacuum();
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    await copy();
    await restart();
    const { size } = await stat(cacheFile);
    if (size <= databaseBytes()) return;
    await clock.sleep(RETRY_AFTER_MS);
  }
}
