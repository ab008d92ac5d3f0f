import type { Clock, Timer } from '../../shared/base/clock.ts';
import type { Log } from '../../shared/base/log.ts';
import type { LogCopy } from '../../workers/contract/task.ts';
import { walPages } from './wal-index.ts';

const LOOK_EVERY_MS = 100;
/** After a copy that failed, or for which a long read left nothing. */
const LOOK_AGAIN_MS = 1000;
/**
 * So many pages of SQLite's write-ahead log are copied into the database together. The longer the log is, the longer each
 * read looks for its pages in it; and the more is copied at once, the longer a chunk's sync waits for the copy's on the
 * same disk.
 */
const COPIED_PAGES = 512;
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
 * Keeps SQLite's write-ahead log short, and each copying of it small, without making a write wait for the copying: the
 * first commit that finds all of it copied, and no read in it, starts it anew. Only the last pages are copied while the
 * writer commits nothing. While reads keep the log from that it grows, and what is new in it is copied all the same.
 */
export class Checkpointer {
  readonly #parts: CheckpointerParts;
  #timer: Timer | undefined;
  #stopped = false;

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
      const { logged, copied } = await walPages(cacheFile);
      if (logged - copied >= COPIED_PAGES && !(await this.#copyAll(copied))) againMs = LOOK_AGAIN_MS;
    } catch (error) {
      if (!this.#stopped) log.warn('checkpoint of the cache failed', { error: String(error) });
      againMs = LOOK_AGAIN_MS;
    }
    this.#schedule(againMs);
  }

  /** Answers whether anything could be copied that was not before. */
  async #copyAll(before: number): Promise<boolean> {
    const { copy, holding } = this.#parts;
    let copiedBefore = before;
    for (let round = 0; round < ROUNDS_MAX; round++) {
      // As many as there were when it began: what is written meanwhile is for the next round.
      const { pages, copied } = await copy();
      // A read keeps the rest: there is nothing to wait for.
      if (copied < pages) return copied > before;
      const fresh = copied - copiedBefore;
      copiedBefore = copied;
      if (fresh <= HELD_PAGES_MAX) break;
    }
    if (!this.#stopped) await holding(copy);
    return true;
  }
}
