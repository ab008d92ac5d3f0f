import Database from 'better-sqlite3';
import { isUnsynced } from '../../shared/base/unsynced.ts';
import type { LogCopy } from '../contract/task.ts';

/**
 * Copies what the write-ahead log of a database holds into its file, and waits for the disk where it is synced, so that
 * the writer need not. Readers and the writer go on meanwhile.
 */
export function checkpoint(file: string): LogCopy {
  const connection = new Database(file, { fileMustExist: true });
  try {
    if (isUnsynced(file)) connection.pragma('synchronous = OFF');
    const [result] = connection.pragma('wal_checkpoint(PASSIVE)') as { log: number; checkpointed: number }[];
    return { pages: result!.log, copied: result!.checkpointed };
  } finally {
    connection.close();
  }
}
