import { stat } from 'node:fs/promises';
import type { Clock, Timer } from '../../shared/base/clock.ts';
import type { Log } from '../../shared/base/log.ts';

const LOOK_EVERY_MS = 1000;
/** SQLite's write-ahead log may grow to this before it is copied into the database. */
const WAL_BYTES = 16 * 1024 * 1024;

export interface CheckpointerParts {
  cacheFile: string;
  clock: Clock;
  log: Log;
  /** Copies the log's pages, off the write path. */
  copy(): Promise<void>;
  /** Lets the writer start the log anew, now that little of it is left to copy. */
  restart(): Promise<unknown>;
}

/** Keeps SQLite's write-ahead log short without making a write wait for the copying. */
export class Checkpointer {
  readonly #parts: CheckpointerParts;
  #timer: Timer | undefined;
  #stopped = false;

  constructor(parts: CheckpointerParts) {
    this.#parts = parts;
    this.#schedule();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  #schedule(): void {
    if (this.#stopped) return;
    this.#timer = this.#parts.clock.after(LOOK_EVERY_MS, () => void this.#look());
  }

  async #look(): Promise<void> {
    const { cacheFile, log, copy, restart } = this.#parts;
    try {
      const { size } = await stat(`${cacheFile}-wal`);
      if (size >= WAL_BYTES) {
        await copy();
        await restart();
      }
    } catch (error) {
      if (!this.#stopped) log.warn('checkpoint of the cache failed', { error: String(error) });
    }
    this.#schedule();
  }
}
