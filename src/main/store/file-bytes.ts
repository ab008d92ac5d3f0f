import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { SYNCED_BYTES_MAX } from '../../shared/model/limits.ts';
import { StoreError } from './errors.ts';

const OPEN_TEMPORARY = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY;

/** The `length` bytes from `offset` on, which must be there; a 'transient' `StoreError` when they no longer are. */
export async function readFully(handle: FileHandle, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await handle.read(bytes, filled, length - filled, offset + filled);
    if (bytesRead === 0) throw new StoreError('transient', 'the file became shorter while it was read');
    filled += bytesRead;
  }
  return bytes;
}

/**
 * Makes a new file of `parts`, readable for this user only, durable when it resolves. Its name is not: for that
 * the directory has to be synced.
 */
export async function writeDurably(
  path: string,
  parts: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  signal: AbortSignal | undefined,
): Promise<void> {
  const handle = await open(path, OPEN_TEMPORARY, 0o600);
  try {
    let unsynced = 0;
    for await (const part of parts) {
      for (let begin = 0; begin < part.length; ) {
        signal?.throwIfAborted();
        const end = Math.min(part.length, begin + SYNCED_BYTES_MAX - unsynced);
        await writeFully(handle, part.subarray(begin, end));
        unsynced += end - begin;
        begin = end;
        if (unsynced < SYNCED_BYTES_MAX) continue;
        await handle.datasync();
        unsynced = 0;
      }
    }
    await handle.sync();
  } finally {
    // What was written is durable, or that failed: closing has nothing left to tell.
    handle.close().catch(() => undefined);
  }
}

async function writeFully(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  let written = 0;
  while (written < bytes.length) {
    const { bytesWritten } = await handle.write(bytes, written, bytes.length - written);
    written += bytesWritten;
  }
}
