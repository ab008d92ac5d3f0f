import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync, statfsSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { errorMessage } from '../shared/base/errors.ts';
import type { SnapshotData, SnapshotReply, SnapshotRequest } from './contract/snapshot.ts';
import { openToRead } from './sqlite/database.ts';
import { writeEtcdDatabase } from './sqlite/etcd-database.ts';

/**
 * The thread of one snapshot: builds etcd's database in a file that has no name any more, so that nothing is left of it
 * however the process ends, and hands it out piece by piece.
 */

/** Pages are gathered to this before they are written. */
const WRITE_BYTES = 1024 * 1024;
/** How often the disk is asked for its free space. */
const ROOM_EVERY_BYTES = 16 * 1024 * 1024;
/** What a snapshot leaves free, because the cache must go on taking writes on the same disk. */
const ROOM_BYTES_MIN = 64 * 1024 * 1024;

class CancelledError extends Error {
  override name = 'CancelledError';
}

/** The disk has no room for a snapshot beside the cache. */
class NoRoomError extends Error {
  override name = 'NoRoomError';
}

const port = parentPort!;
const data = workerData as SnapshotData;
const cancelled = new Int32Array(data.cancelled);
const file = openNameless();
const digest = createHash('sha256');
let bytes = 0;
let sent = 0;
let ended = false;

function openNameless(): number {
  const path = join(data.directory, data.fileName);
  const opened = openSync(path, 'wx+', 0o600);
  unlinkSync(path);
  return opened;
}

/** Writes pages, which come one after the other except the first ones, which come last. */
class PageFile {
  #gathered: Uint8Array[] = [];
  #start = 0;
  #length = 0;
  #unchecked = 0;

  readonly write = (offset: number, pages: Uint8Array): void => {
    if (offset !== this.#start + this.#length) {
      this.flush();
      this.#start = offset;
    }
    this.#gathered.push(pages);
    this.#length += pages.length;
    if (this.#length >= WRITE_BYTES) this.flush();
  };

  flush(): void {
    const all = Buffer.concat(this.#gathered, this.#length);
    this.#checkRoom(all.length);
    for (let written = 0; written < all.length; ) {
      written += writeSync(file, all, written, all.length - written, this.#start + written);
    }
    this.#start += this.#length;
    this.#gathered = [];
    this.#length = 0;
  }

  #checkRoom(more: number): void {
    this.#unchecked += more;
    if (this.#unchecked < ROOM_EVERY_BYTES) return;
    this.#unchecked = 0;
    const { bavail, bsize } = statfsSync(data.directory);
    if (bavail * bsize < ROOM_BYTES_MIN) {
      throw new NoRoomError(`${data.directory} has no room for a snapshot beside the cache`);
    }
  }
}

function build(): void {
  const connection = openToRead(data.cacheFile);
  try {
    const pages = new PageFile();
    const built = writeEtcdDatabase(connection, data.memberId, pages.write, () => {
      if (Atomics.load(cancelled, 0) !== 0) throw new CancelledError('cancelled');
    });
    pages.flush();
    bytes = built.bytes;
    reply({ type: 'built', ...built });
  } finally {
    connection.close();
  }
}

function next(bytesMax: number): void {
  const piece = new Uint8Array(Math.min(bytesMax, bytes - sent));
  for (let read = 0; read < piece.length; ) {
    const count = readSync(file, piece, read, piece.length - read, sent + read);
    if (count === 0) throw new Error('the snapshot file is cut short');
    read += count;
  }
  sent += piece.length;
  digest.update(piece);
  const sum = sent === bytes ? new Uint8Array(digest.digest()) : undefined;
  reply({ type: 'piece', bytes: piece, digest: sum }, [piece.buffer]);
}

function reply(message: SnapshotReply, transfer: ArrayBuffer[] = []): void {
  port.postMessage(message, transfer);
}

/** Once only: another file may have the same number by then. */
function end(): void {
  if (ended) return;
  ended = true;
  closeSync(file);
  port.close();
}

/** Runs `work`; what fails ends the snapshot, and is told unless nobody wants to know. */
function guard(work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof CancelledError)) {
      const noSpace = error instanceof NoRoomError || (error as NodeJS.ErrnoException).code === 'ENOSPC';
      reply({ type: 'failed', message: errorMessage(error), noSpace });
    }
    end();
  }
}

port.on('message', (request: SnapshotRequest) => {
  if (request.type === 'close') end();
  else guard(() => next(request.bytesMax));
});
guard(build);
