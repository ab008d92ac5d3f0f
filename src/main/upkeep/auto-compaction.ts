import type { Clock, Timer } from '../../shared/base/clock.ts';
import type { Log } from '../../shared/base/log.ts';
import { EtcdError } from '../../shared/etcd/errors.ts';

const HOUR_MS = 3_600_000;
/** A period's revisions are noted, and a compaction that failed is tried again, so many times per period or hour. */
const NOTES_PER_INTERVAL = 10;
const REVISION_LOOK_EVERY_MS = 5 * 60_000;

export interface AutoCompactionParts {
  clock: Clock;
  log: Log;
  /** The store's revision now. */
  revision(): number;
  /** Compacts as a client's request does. Rejects with etcd's error. */
  compact(revision: number): Promise<void>;
}

/** Compacts the history by itself, at etcd's times (server/etcdserver/api/v3compactor). */
export interface AutoCompaction {
  stop(): void;
}

/**
 * Keeps the history of the latest `periodMs` milliseconds. The first compaction comes a period after the start,
 * the next ones every period, or every hour if that is shorter.
 */
export function compactPeriodically(parts: AutoCompactionParts, periodMs: number): AutoCompaction {
  const { clock } = parts;
  const compactEveryMs = Math.min(periodMs, HOUR_MS);
  const noteEveryMs = compactEveryMs / NOTES_PER_INTERVAL;
  const notesMax = Math.floor(periodMs / noteEveryMs) + 1;
  /** One revision per note, oldest first; the first was the store's a period and one note ago, or at the start. */
  const notes = [parts.revision()];
  let dueMs = clock.monotonicMs() + periodMs;
  let last = 0;
  return repeat(clock, noteEveryMs, async () => {
    const [revision] = notes as [number];
    if (clock.monotonicMs() >= dueMs && revision !== last && (await compact(parts, revision))) {
      last = revision;
      dueMs = clock.monotonicMs() + compactEveryMs;
    }
    notes.push(parts.revision());
    if (notes.length > notesMax) notes.shift();
  });
}

/** Keeps the latest `count` revisions; looks every five minutes. */
export function compactByRevision(parts: AutoCompactionParts, count: number): AutoCompaction {
  let last = 0;
  return repeat(parts.clock, REVISION_LOOK_EVERY_MS, async () => {
    const revision = parts.revision() - count;
    if (revision > 0 && revision !== last && (await compact(parts, revision))) last = revision;
  });
}

/** Runs `action` again and again, `everyMs` after the last one has ended. */
function repeat(clock: Clock, everyMs: number, action: () => Promise<void>): AutoCompaction {
  let stopped = false;
  let timer: Timer;
  const schedule = (): void => {
    timer = clock.after(everyMs, () => {
      void action().then(() => {
        if (!stopped) schedule();
      });
    });
  };
  schedule();
  return {
    stop() {
      stopped = true;
      timer.cancel();
    },
  };
}

/** Whether history now begins at `revision`, or later. */
async function compact({ log, compact }: AutoCompactionParts, revision: number): Promise<boolean> {
  try {
    await compact(revision);
    log.info('compacted the history by itself', { revision });
    return true;
  } catch (error) {
    if (error instanceof EtcdError && error.kind === 'Compacted') return true;
    log.warn('could not compact the history; trying again later', { revision, error: String(error) });
    return false;
  }
}
