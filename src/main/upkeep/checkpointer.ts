import type { Clock, Timer } from '../../shared/base/clock.ts';
import type { Log } from '../../shared/base/log.ts';
import type { LogCopy } from '../../workers/contract/task.ts';
import { loggedPages } from './wal-index.ts';

const LOOK_EVERY_MS = 100;
/** While a long read keeps the log from starting anew: its pages were copied, and there is little else to do. */
const LOOK_AGAIN_MS = 1000;
/**
 * SQLite's write-ahead log may grow to this before it is copied into the database. The longer it is, the longer each
 * read looks for its pages in it, the longer the writer is kept by cutting it, and the longer a chunk's sync waits for the
 * copy's on the same disk.
 */
const LOG_PAGES = 512;
/** So many pages are few enough to copy while the writer commits nothing. */
const HELD_PAGES_MAX = 256;
/** After so many the rest is copied however much it is: the writer may write faster than its pages are copied. */
const ROUNDS_MAX = 4;

export interface CheckpointerParts {
  cacheFile: string;
  clock: Clock;
  log: Log;
  /** Copies the log's pages, off the write path. */
  copy(): Promise<LogCopy>;
  /** Runs `work` while the writer commits nothing, so that all pages may be copied. */
  holding(work: () => Promise<unknown>): Promise<unknown>;
}

/**
 * Keeps SQLite's write-ahead log short without making a write wait for the copying: the first commit that finds all of
 * it copied, and no read in it, starts it anew. Only the last pages are copied while the writer commits nothing.
 */
export class Checkpointer {
  readonly #parts: CheckpointerParts;
  #timer: Timer | undefined;
  #stopped = false;
  /** How long it was when it was last copied; 0 when it was not worth it. */
  #pagesBefore = 0;

  constructor(parts: CheckpointerParts) {
    this.#parts = parts;
    this.#schedule(LOOK_EVERY_MS);
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  #schedule(ms: number): void {
    if (this.#stopped) return;
    this.#timer = this.#parts.clock.after(ms, () => void this.#look());
  }

  async #look(): Promise<void> {
    const { cacheFile, log } = this.#parts;
    let againMs = LOOK_EVERY_MS;
    try {
      const pages = await loggedPages(cacheFile);
      const isLong = pages >= LOG_PAGES;
      // If it has only grown, a read keeps it from starting anew.
      if (isLong && this.#pagesBefore > 0 && pages >= this.#pagesBefore) againMs = LOOK_AGAIN_MS;
      this.#pagesBefore = isLong ? pages : 0;
      if (isLong) await this.#copyAll();
    } catch (error) {
      if (!this.#stopped) log.warn('checkpoint of the cache failed', { error: String(error) });
      againMs = LOOK_AGAIN_MS;
    }
    this.#schedule(againMs);
  }

  async #copyAll(): Promise<void> {
    const { copy, holding } = this.#parts;
    let copiedBefore = 0;
    for (let round = 0; round < ROUNDS_MAX; round++) {
      // As many as there were when it began: what is written meanwhile is for the next round.
      const { pages, copied } = await copy();
      // A read keeps the rest: there is nothing to wait for.
      if (copied < pages) return;
      const fresh = copied - copiedBefore;
      copiedBefore = copied;
      if (fresh <= HELD_PAGES_MAX) break;
    }
    if (!this.#stopped) await holding(copy);
  }
}
