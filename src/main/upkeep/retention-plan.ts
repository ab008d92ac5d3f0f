import { DELETE_AGE_MS_MIN } from '../../shared/model/limits.ts';
import type { StoredSnapshot } from '../recovery/snapshot-list.ts';

/** Between the oldest kept snapshot and the newest two, at most so many more stay, to make going back quick. */
const BETWEEN_MAX = 8;

/** What may go. */
export interface RetentionPlan {
  /** The oldest first. */
  readonly snapshots: readonly StoredSnapshot[];
  /** Chunks up to this sequence, if they are old enough; 0 for none. */
  readonly chunksTo: number;
}

const NOTHING: RetentionPlan = { snapshots: [], chunksTo: 0 };

/**
 * What of the log no restore point of the last `retentionMs` milliseconds needs. `snapshots` are the store's, the
 * newest first; `isWhole` says which of them can be relied on, and is asked only of those that will be. Times are
 * the store's.
 *
 * Going back to a time needs a snapshot from before it and every chunk after that one. So the base, what everything
 * older is dropped for, is the newest whole snapshot that was there before the window began; and never one of the
 * newest but the second, because the newest may turn out to be damaged.
 */
export async function planRetention(
  snapshots: readonly StoredSnapshot[],
  retentionMs: number,
  nowMs: number,
  isWhole: (snapshot: StoredSnapshot) => Promise<boolean>,
): Promise<RetentionPlan> {
  const newest = await firstWhole(snapshots, isWhole);
  if (newest === undefined) return NOTHING;
  const older = snapshots.slice(snapshots.indexOf(newest) + 1);
  const second = await firstWhole(older, isWhole);
  if (second === undefined) return NOTHING;
  const candidates = older.slice(older.indexOf(second));
  const base = await firstWhole(
    candidates.filter(({ modifiedMs }) => modifiedMs <= nowMs - retentionMs),
    isWhole,
  );
  const isOld = ({ modifiedMs }: StoredSnapshot): boolean => modifiedMs <= nowMs - DELETE_AGE_MS_MIN;
  const between = candidates.filter((snapshot) => snapshot !== second && !isBefore(snapshot, base));
  const superfluous = thinnedOut(between.reverse(), retentionMs / BETWEEN_MAX);
  const before =
    base === undefined ? [] : candidates.filter((snapshot) => isBefore(snapshot, base)).reverse();
  // One that is too young to go keeps the chunks after it, as every snapshot that stays does.
  const oldest = before.find((snapshot) => !isOld(snapshot)) ?? base;
  return { snapshots: [...before, ...superfluous].filter(isOld), chunksTo: oldest?.sequence ?? 0 };
}

function isBefore(snapshot: StoredSnapshot, base: StoredSnapshot | undefined): boolean {
  return base !== undefined && snapshot.sequence < base.sequence;
}

async function firstWhole(
  snapshots: readonly StoredSnapshot[],
  isWhole: (snapshot: StoredSnapshot) => Promise<boolean>,
): Promise<StoredSnapshot | undefined> {
  for (const snapshot of snapshots) if (await isWhole(snapshot)) return snapshot;
  return undefined;
}

/** Those that follow a kept one by less than `spacingMs`. The first, the base, stays. */
function thinnedOut(oldestFirst: readonly StoredSnapshot[], spacingMs: number): StoredSnapshot[] {
  let keptMs = Number.NEGATIVE_INFINITY;
  return oldestFirst.filter(({ modifiedMs }) => {
    if (modifiedMs - keptMs < spacingMs) return true;
    keptMs = modifiedMs;
    return false;
  });
}
