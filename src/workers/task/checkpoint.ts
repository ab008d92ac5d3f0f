import Database from 'better-sqlite3';

/**
 * Copies what the write-ahead log of a database holds into its file, and waits for the disk, so that the
 * writer need not. Readers and the writer go on meanwhile.
 */
export function checkpoint(file: string): void {
  const connection = new Database(file, { fileMustExist: true });
  try {
    connection.pragma('wal_checkpoint(PASSIVE)');
  } finally {
    connection.close();
  }
}
