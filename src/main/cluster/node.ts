import path from 'node:path';
import Database from 'better-sqlite3';
import { bytesInt64, int64Bytes } from '../../shared/base/bytes.ts';
import { makeDirectory } from '../../shared/base/directory.ts';
import { type Random, randomId } from '../../shared/base/random.ts';

/** Two processes may not share a data directory. */
class DataDirectoryInUseError extends Error {
  override name = 'DataDirectoryInUseError';
}

/**
 * Who this node is: ids chosen once and kept in its data directory. The file is held under an OS lock (SQLite's
 * exclusive locking mode), which the system releases however the process ends.
 */
export class Node {
  /** etcd's member id. */
  readonly memberId: bigint;
  readonly #database: Database.Database;

  /** Opens or creates the node in `directory`. Throws DataDirectoryInUseError while another process holds it. */
  constructor(directory: string, random: Random) {
    makeDirectory(directory);
    this.#database = new Database(path.join(directory, 'node.sqlite'), { timeout: 0 });
    try {
      this.#database.pragma('locking_mode = EXCLUSIVE');
      this.#database.exec('BEGIN EXCLUSIVE; CREATE TABLE IF NOT EXISTS node (member_id BLOB NOT NULL)');
      this.memberId = this.#memberId(random);
      this.#database.exec('COMMIT');
    } catch (error) {
      this.#database.close();
      if ((error as { code?: string }).code !== 'SQLITE_BUSY') throw error;
      throw new DataDirectoryInUseError(
        `--data-dir: ${directory} is in use by another netsy; stop it or choose another directory`,
      );
    }
  }

  /** The node's name in files and logs: its member id in hexadecimal, as etcd prints it. */
  get id(): string {
    return this.memberId.toString(16);
  }

  close(): void {
    this.#database.close();
  }

  #memberId(random: Random): bigint {
    const row = this.#database.prepare('SELECT member_id FROM node').get() as
      | { member_id: Buffer }
      | undefined;
    if (row !== undefined) return bytesInt64(row.member_id);
    const id = randomId(random);
    this.#database.prepare('INSERT INTO node VALUES (?)').run(int64Bytes(id));
    return id;
  }
}
