import { open } from 'node:fs/promises';
import { endianness } from 'node:os';

/** In the header of SQLite's WAL-index: the number of valid frames in the log, in the byte order of the machine. */
const FRAMES_OFFSET = 16;
const FRAMES_BYTES = 4;

/**
 * Pages in the write-ahead log of an open database that are of use, whatever the size of the file. From the WAL-index that
 * its connections share, `-shm`: https://sqlite.org/walformat.html#the_wal_index_header. 0 when there is none yet.
 */
export async function loggedPages(databaseFile: string): Promise<number> {
  const file = await open(`${databaseFile}-shm`, 'r');
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(FRAMES_BYTES), 0, FRAMES_BYTES, FRAMES_OFFSET);
    if (bytesRead < FRAMES_BYTES) return 0;
    return endianness() === 'LE' ? buffer.readUInt32LE() : buffer.readUInt32BE();
  } finally {
    await file.close();
  }
}
