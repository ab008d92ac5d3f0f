import type { Statement } from 'better-sqlite3';
import { int64Bytes } from '../../shared/base/bytes.ts';
import { readSnapshotRows } from '../contract/snapshot-rows.ts';
import type { SnapshotPiece } from '../contract/task.ts';
import type { FilledPosition } from '../contract/writer.ts';
import { type Connection, endFilling, openToFill, PositionTable } from './database.ts';
import { beginsBlock } from './key-blocks.ts';
import { signpostOf } from './signposts.ts';

/**
 * Fills a new cache from a snapshot: the rows that applying the log up to there would have left. Every table and
 * index is written in the order of its own keys, which is what makes it fast: `history` in the log's order, as a
 * snapshot has it; `current` and the indexes at the end, by SQLite's sorter, which spills to disk.
 */
export class CacheFiller {
  readonly #file: string;
  readonly #connection: Connection;
  readonly #insertHistory: Statement;
  readonly #insertState: Statement;
  readonly #insertBlock: Statement;
  readonly #insertLease: Statement;
  readonly #insertSystem: Statement;

  constructor(file: string) {
    this.#file = file;
    this.#connection = openToFill(file);
    // The states of each key in the log's order; the last one is the key's current one, or a tombstone.
    this.#connection.exec(`CREATE TEMP TABLE states (
      key BLOB NOT NULL, id INTEGER NOT NULL, mod_revision INTEGER NOT NULL, create_revision INTEGER NOT NULL,
      version INTEGER NOT NULL, lease BLOB, deleted INTEGER NOT NULL)`);
    const prepare = (sql: string): Statement => this.#connection.prepare(sql);
    this.#insertHistory = prepare('INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?, ?)');
    this.#insertState = prepare('INSERT INTO states VALUES (?, ?, ?, ?, ?, ?, ?)');
    this.#insertBlock = prepare('INSERT OR IGNORE INTO key_blocks VALUES (?, 0)');
    this.#insertLease = prepare('INSERT INTO leases VALUES (?, ?)');
    this.#insertSystem = prepare('INSERT INTO system VALUES (?, ?)');
  }

  /** The snapshot's next piece. */
  add({ rows, leases, system }: Omit<SnapshotPiece, 'tally'>): void {
    this.#connection.transaction(() => {
      for (const row of readSnapshotRows(rows)) {
        const { ordinal, revision, sub, previousOrdinal, key, kv, createRevision, version, lease } = row;
        const deleted = row.deleted ? 1 : 0;
        const signpost = signpostOf(row);
        this.#insertHistory.run(ordinal, revision, sub, previousOrdinal, deleted, signpost, key, kv);
        this.#insertState.run(key, ordinal, revision, createRevision, version, lease ?? null, deleted);
        if (beginsBlock(key)) this.#insertBlock.run(key);
      }
      for (const { id, ttlSeconds } of leases) this.#insertLease.run(int64Bytes(id), ttlSeconds);
      for (const { name, value } of system) this.#insertSystem.run(name, value);
    })();
  }

  /** After the last piece: makes it a cache at `position`, and lets go of it. */
  end({ nextOrdinal, ...position }: FilledPosition): void {
    // Of the columns that aren't grouped, SQLite takes those of the row that has the maximum.
    this.#connection.exec(`
      INSERT INTO current SELECT key, id, mod_revision, create_revision, version, lease FROM (
        SELECT key, max(id) AS id, mod_revision, create_revision, version, lease, deleted
        FROM states GROUP BY key
      ) WHERE deleted = 0 ORDER BY key;
      DROP TABLE states;
    `);
    new PositionTable(this.#connection).write({ ...position, nextHistoryId: nextOrdinal });
    endFilling(this.#connection, this.#file);
    this.close();
  }

  close(): void {
    this.#connection.close();
  }
}
