import { open } from 'node:fs/promises';
import { endianness } from 'node:os';

/** Where there is the number of valid frames in the log, and of those that are copied, in the byte order of the machine. */
const FRAMES_OFFSET = 16;
const COPIED_OFFSET = 96;
const HEADER_BYTES = 100;

/** Pages in the write-ahead log of a database. */
export interface WalPages {
  /** Of use, whatever the size of the file. */
  readonly logged: number;
  /** Of these, the first ones that are in the database already. */
  readonly copied: number;
}

/**
 * What is in the write-ahead log of an open database. From the WAL-index that its connections share, `-shm`:
 * https://sqlite.org/walformat.html#the_wal_index_header. Nothing when there is none yet.
 */
export async function walPages(databaseFile: string): Promise<WalPages> {
  const file = await open(`${databaseFile}-shm`, 'r');
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(HEADER_BYTES), 0, HEADER_BYTES, 0);
    if (bytesRead < HEADER_BYTES) return { logged: 0, copied: 0 };
    const at = (offset: number): number =>
      endianness() === 'LE' ? buffer.readUInt32LE(offset) : buffer.readUInt32BE(offset);
    return { logged: at(FRAMES_OFFSET), copied: at(COPIED_OFFSET) };
  } finally {
    await file.close();
  }
}
