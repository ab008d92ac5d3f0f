import { readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncDirectory, syncPath } from './directory.ts';

/**
 * A file that need not be on the disk while the system is up: what a process wrote is in the system's cache, whatever
 * becomes of the process, and another one reads it there. When the system itself ends, it may be gone, or in parts. So
 * before the first write that nothing syncs a mark beside the file says under which boot it is written; it is taken away
 * when all is synced. A mark of another boot means that the file can't be trusted.
 */

const BOOT_ID = '/proc/sys/kernel/random/boot_id';
/** What a mark says of a file that was not synced, though it should have been. */
const LOST = 'lost';

/**
 * File systems of this machine, by the numbers that statfs(2) has of them: ext, XFS, Btrfs, F2FS, ZFS, bcachefs, tmpfs,
 * overlay. Of others, as NFS or what a process implements, nothing is known of what they keep when.
 */
const LOCAL_FILE_SYSTEMS: ReadonlySet<number> = new Set([
  0xef53, 0x58465342, 0x9123683e, 0xf2f52010, 0x2fc12fc1, 0xca451a4e, 0x01021994, 0x794c7630,
]);

/** What the system is called while it is up; undefined where it says nothing, which is not Linux. */
function bootId(): string | undefined {
  try {
    return readFileSync(BOOT_ID, 'utf8').trim() || undefined;
  } catch {
    return undefined;
  }
}

function markOf(file: string): string {
  return `${file}-boot`;
}

/** Undefined: there is none. */
function readMark(file: string): string | undefined {
  try {
    return readFileSync(markOf(file), 'utf8').trim();
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' ? undefined : LOST;
  }
}

/** Whether the system has ended since the file was written without syncs, or some of it is known to be lost. */
export function mayBeTorn(file: string): boolean {
  const mark = readMark(file);
  return mark !== undefined && mark !== bootId();
}

/** Whether the file is written without syncs now. */
export function isUnsynced(file: string): boolean {
  const mark = readMark(file);
  return mark !== undefined && mark === bootId();
}

/**
 * Marks `file`, which is new or not torn, as written without syncs from now on. Answers false, and leaves no mark of what
 * had the name before, where it has to be synced: nothing tells one boot of the system from the next, its file system is
 * not this machine's own, or it takes no mark.
 */
export function beginUnsynced(file: string): boolean {
  const boot = bootId();
  if (boot !== undefined && readMark(file) === boot) return true;
  try {
    if (boot !== undefined && isOnLocalFileSystem(file)) {
      writeMark(file, boot);
      return true;
    }
  } catch {
    // It is synced instead.
  }
  forgetMark(file);
  return false;
}

/** Else each start would take what is synced for what the mark is about. That is gone for good before its mark is. */
function forgetMark(file: string): void {
  if (readMark(file) === undefined) return;
  try {
    syncPath(dirname(file));
    rmSync(markOf(file));
  } catch {
    // The next start fills a cache anew that need not be.
  }
}

/**
 * Syncs what `file` and its `companions` hold, those that there are, and takes the mark away; nothing when there is none.
 * Nobody may write them meanwhile. After a failure the mark says that the file can't be trusted.
 */
export async function endUnsynced(file: string, companions: readonly string[] = []): Promise<void> {
  if (!isUnsynced(file)) return;
  try {
    for (const path of [file, ...companions]) await syncFile(path);
    await syncDirectory(dirname(file));
  } catch (error) {
    writeMark(file, LOST);
    throw error;
  }
  await rm(markOf(file));
  await syncDirectory(dirname(file));
}

/** Whether the file's directory is on a file system of this machine, whose cache lives as long as the system. */
export function isOnLocalFileSystem(file: string): boolean {
  return LOCAL_FILE_SYSTEMS.has(statfsSync(dirname(file)).type);
}

function writeMark(file: string, text: string): void {
  writeFileSync(markOf(file), `${text}\n`, { mode: 0o600 });
  syncPath(markOf(file));
  syncPath(dirname(file));
}

async function syncFile(path: string): Promise<void> {
  let handle: Awaited<ReturnType<typeof open>>;
  try {
    handle = await open(path, 'r+');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    throw error;
  }
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
