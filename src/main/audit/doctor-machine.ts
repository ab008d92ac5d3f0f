import { closeSync, existsSync, fsyncSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import type { Clock } from '../../shared/base/clock.ts';
import { makeDirectory } from '../../shared/base/directory.ts';
import { errorMessage } from '../../shared/base/errors.ts';
import { openFilesMax } from '../../shared/base/open-files.ts';
import { type Random, randomId } from '../../shared/base/random.ts';
import { type DoctorFinding, finding } from './doctor-finding.ts';

const GIB = 2 ** 30;
/** SQLite's cache, its write-ahead log, and room to sort. */
const FREE_BYTES_WARN = 2 * GIB;
const FREE_BYTES_FAIL = 64 * 2 ** 20;
const SYNCS = 10;
const SYNC_MS_WARN = 50;
/** Each client takes a descriptor, and so do the store's connections. */
const FILES_WARN = 4096;
const CORES_MIN = 2;

/** Looks at a directory that the server writes to: whether it can be, its room, and how long a sync takes. */
export function examineDirectory(
  flag: string,
  directory: string,
  { clock, random }: { readonly clock: Clock; readonly random: Random },
): DoctorFinding[] {
  const isNew = !existsSync(directory);
  const file = path.join(directory, `.netsy-doctor-${randomId(random).toString(16)}`);
  try {
    makeDirectory(directory);
    const syncMs = syncTime(file, clock);
    const { bavail, bsize } = statfsSync(directory);
    return [roomFinding(flag, directory, bavail * bsize), syncFinding(flag, directory, syncMs)];
  } catch (error) {
    return [finding('disk', 'fail', `${flag}: ${directory} can't be written: ${errorMessage(error)}`)];
  } finally {
    rmSync(file, { force: true });
    if (isNew) rmSync(directory, { force: true, recursive: true });
  }
}

function roomFinding(flag: string, directory: string, free: number): DoctorFinding {
  const room = `${flag}: ${directory} has ${(free / GIB).toFixed(1)} GiB of room`;
  if (free < FREE_BYTES_FAIL) return finding('disk', 'fail', `${room}; the cache needs more`);
  if (free < FREE_BYTES_WARN) return finding('disk', 'warn', `${room}; the cache may fill it`);
  return finding('disk', 'ok', room);
}

function syncFinding(flag: string, directory: string, syncMs: number): DoctorFinding {
  const took = `${flag}: a sync of ${directory} takes ${syncMs.toFixed(1)} ms`;
  if (syncMs <= SYNC_MS_WARN) return finding('disk', 'ok', took);
  return finding('disk', 'warn', `${took}; reads wait for the cache: use a local SSD`);
}

/** The median of a few, in milliseconds. */
function syncTime(file: string, clock: Clock): number {
  const descriptor = openSync(file, 'wx');
  const times: number[] = [];
  try {
    for (let i = 0; i < SYNCS; i++) {
      writeSync(descriptor, Buffer.alloc(4096, i));
      const begunMs = clock.monotonicMs();
      fsyncSync(descriptor);
      times.push(clock.monotonicMs() - begunMs);
    }
  } finally {
    closeSync(descriptor);
  }
  return times.sort((a, b) => a - b)[SYNCS / 2] ?? 0;
}

/** Looks at what the system lets this process have. Never throws. */
export function examineLimits(): DoctorFinding[] {
  return [...examineFiles(), examineCores()];
}

function examineFiles(): DoctorFinding[] {
  const files = openFilesMax();
  if (files === undefined) return [];
  const text = `up to ${files} open files`;
  if (files >= FILES_WARN) return [finding('limits', 'ok', text)];
  return [finding('limits', 'warn', `${text}; each client takes one: raise it (ulimit -n, LimitNOFILE)`)];
}

function examineCores(): DoctorFinding {
  const cores = availableParallelism();
  if (cores >= CORES_MIN) return finding('limits', 'ok', `${cores} cores`);
  return finding('limits', 'warn', 'one core: reads, writes and the network share it');
}
