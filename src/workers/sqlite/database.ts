import { existsSync, rmSync } from 'node:fs';
import Database, { type Statement } from 'better-sqlite3';
import { bytesInt64, int64Bytes } from '../../shared/base/bytes.ts';
import { syncPath } from '../../shared/base/directory.ts';
import { beginUnsynced, isUnsynced, mayBeTorn } from '../../shared/base/unsynced.ts';
import type { LogPosition } from '../contract/writer.ts';
import { countBlocks, KEY_BLOCKS } from './key-blocks.ts';
import { SIGNPOSTS } from './signposts.ts';

/**
 * The cache: one SQLite file that holds a prefix of the durable log and nothing more (invariant 3).
 *
 * `history` has one row per KeyValue record, in log order; its `kv` is etcd's encoded KeyValue, so that
 * lists, events and prev_kv are copies of bytes. `current` has one small row per living key, which is what
 * compares and lists scan; the value stands only in `history`, so that a write stores it once. The rows of a key are
 * joined by `previous_id`, and only a few of them are in an index by key (`signposts.ts`). `key_blocks` has the numbers
 * of living keys that counts add up.
 * Measured with 200,000 records of 1.1 KB in random key order and 8 KiB pages: 23,600 inserts/s and 264 MB
 * this way, 12,000 inserts/s and 534 MB with the value in `current` too (which lists 1.8 times as fast).
 *
 * A lease id is 8 bytes big-endian, not an SQLite integer, because JavaScript numbers can't hold it.
 */

const SCHEMA_VERSION = 4;
/** SQLite's result codes. */
const DAMAGE = /^SQLITE_(CORRUPT|NOTADB)/;
const DISK_TROUBLE = /^SQLITE_(FULL|IOERR)/;
export const PAGE_BYTES = 8192;
/** The pages of a cache that has nothing in it. */
export const EMPTY_CACHE_BYTES = 11 * PAGE_BYTES;
/** What etcd's database takes when it has nothing in it. */
const EMPTY_ETCD_BYTES = 20_480;
/** Of each connection's pages; the system's cache has the rest. Four times as much made writes no cheaper. */
const CACHE_KIB = 16 * 1024;
/** Of a write-ahead log that grew longer while a read kept it from starting anew, so much stays. */
const LOG_BYTES_KEPT = 64 * 1024 * 1024;

/** `user_version` while a cache is being filled from a snapshot: it is no prefix of the log before it is whole. */
const FILLING_VERSION = -1;

const TABLES = `
CREATE TABLE log_position (
  only INTEGER PRIMARY KEY CHECK (only = 0),
  sequence INTEGER NOT NULL, chunk_crc BLOB NOT NULL, next_sequence INTEGER NOT NULL,
  epoch INTEGER NOT NULL, cluster_id BLOB NOT NULL,
  revision INTEGER NOT NULL, compact_revision INTEGER NOT NULL,
  compacted_revision INTEGER NOT NULL, next_history_id INTEGER NOT NULL
);
CREATE TABLE history (
  id INTEGER PRIMARY KEY, revision INTEGER NOT NULL, sub INTEGER NOT NULL,
  previous_id INTEGER NOT NULL, deleted INTEGER NOT NULL, signpost INTEGER NOT NULL,
  key BLOB NOT NULL, kv BLOB NOT NULL
);
CREATE TABLE current (
  key BLOB PRIMARY KEY, id INTEGER NOT NULL, mod_revision INTEGER NOT NULL,
  create_revision INTEGER NOT NULL, version INTEGER NOT NULL, lease BLOB
) WITHOUT ROWID;
CREATE TABLE leases (id BLOB PRIMARY KEY, ttl_seconds INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE system (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
${KEY_BLOCKS}`;
const INDEXES = `
CREATE INDEX history_by_revision ON history (revision);
${SIGNPOSTS}
CREATE INDEX current_by_lease ON current (lease, key) WHERE lease IS NOT NULL;
`;

export type Connection = Database.Database;

/** What SQLite's database takes. */
export class DatabaseSize {
  readonly #pages: Statement;
  readonly #free: Statement;

  constructor(connection: Connection) {
    this.#pages = connection.prepare('PRAGMA page_count').pluck();
    this.#free = connection.prepare('PRAGMA freelist_count').pluck();
  }

  /** As of this connection's last transaction; `freeBytes` are those of unused pages. */
  read(): { databaseBytes: number; freeBytes: number } {
    const [pages, free] = [this.#pages.get() as number, this.#free.get() as number];
    return { databaseBytes: pages * PAGE_BYTES, freeBytes: free * PAGE_BYTES };
  }
}

/**
 * What a quota is held against when the cache has so many bytes in use: as if it had begun at the size of an empty etcd.
 * It is larger from the start, and a small quota, as tests have, must not be used up before the first key.
 */
export function quotaBytesOf(cacheBytes: number): number {
  return Math.max(0, cacheBytes - EMPTY_CACHE_BYTES) + EMPTY_ETCD_BYTES;
}

/** What `log_position` holds beyond a LogPosition: the progress of row removal and the next row id. */
export interface CachePosition extends LogPosition {
  /** Rows that the compaction up to here made unreachable are gone. */
  compactedRevision: number;
  nextHistoryId: number;
}

/** An empty log: the store's first revision is 1, and nothing is compacted (etcd starts at -1). */
const EMPTY_POSITION: CachePosition = {
  sequence: 0,
  chunkCrc: 0n,
  nextSequence: 1,
  epoch: 0,
  clusterId: 0n,
  revision: 1,
  compactRevision: -1,
  compactedRevision: -1,
  nextHistoryId: 1,
};

/** Opens the cache to write, creating it if it is not there. Throws if the file is not a usable cache. */
export function openToWrite(file: string): Connection {
  if (existsSync(file) && mayBeTorn(file))
    throw new Error('the system ended before all of it was on the disk');
  const connection = new Database(file);
  try {
    connection.pragma(`page_size = ${PAGE_BYTES}`);
    connection.pragma('auto_vacuum = INCREMENTAL');
    connection.pragma('journal_mode = WAL');
    // Else the write-ahead log and what is copied of it are synced in turns: after a power cut SQLite opens at some
    // earlier commit, and recovery applies the rest of the log again.
    connection.pragma(`synchronous = ${beginUnsynced(file) ? 'OFF' : 'NORMAL'}`);
    connection.pragma('wal_autocheckpoint = 0');
    // A log that starts anew overwrites what it has: cutting the file and growing it again would have the file system
    // allocate blocks, and flush them with every file that the store syncs.
    connection.pragma(`journal_size_limit = ${LOG_BYTES_KEPT}`);
    connection.pragma(`cache_size = ${-CACHE_KIB}`);
    connection.pragma('temp_store = MEMORY');
    const version = connection.pragma('user_version', { simple: true });
    if (version === 0) createSchema(connection);
    else if (version === FILLING_VERSION) throw new Error('it was only partly filled from a snapshot');
    else if (version !== SCHEMA_VERSION) throw new Error(`cache has schema version ${String(version)}`);
    return connection;
  } catch (error) {
    connection.close();
    throw error;
  }
}

/**
 * Opens a new cache to fill it from a snapshot. Nothing in it is safe before `endFilling`, and a start that finds
 * it so throws it away: it has no journal and is not synced, and its indexes come last.
 */
export function openToFill(file: string): Connection {
  beginUnsynced(file);
  const connection = new Database(file);
  connection.pragma(`page_size = ${PAGE_BYTES}`);
  connection.pragma('auto_vacuum = INCREMENTAL');
  connection.pragma('journal_mode = OFF');
  connection.pragma('synchronous = OFF');
  connection.pragma(`cache_size = ${-CACHE_KIB}`);
  // Sorting the keys must not need memory for all of them.
  connection.pragma('temp_store = FILE');
  connection.pragma(`user_version = ${FILLING_VERSION}`);
  connection.exec(TABLES);
  insertPosition(connection);
  return connection;
}

/** Makes a filled cache a cache: everything is on the disk before the mark that says so, unless the cache needs no syncs. */
export function endFilling(connection: Connection, file: string): void {
  connection.exec(INDEXES);
  countBlocks(connection);
  if (!isUnsynced(file)) {
    syncPath(file);
    connection.pragma('synchronous = FULL');
  }
  connection.pragma(`user_version = ${SCHEMA_VERSION}`);
}

/** Opens the cache to read. Many readers and the one writer work at the same time (WAL). */
export function openToRead(file: string): Connection {
  const connection = new Database(file, { readonly: true });
  connection.pragma(`cache_size = ${-CACHE_KIB}`);
  connection.pragma('temp_store = MEMORY');
  return connection;
}

/** Throws the cache away. Connections that have it open go on with what they have. */
export function discardCache(file: string): void {
  for (const suffix of ['', '-wal', '-shm']) rmSync(file + suffix, { force: true });
}

/**
 * Copies the write-ahead log into the database and cuts both files. Answers false, at once, if a read of another
 * connection keeps it from that.
 */
export function truncateLog(connection: Connection): boolean {
  const timeout = connection.pragma('busy_timeout', { simple: true }) as number;
  connection.pragma('busy_timeout = 0');
  try {
    return connection.pragma('wal_checkpoint(TRUNCATE)', { simple: true }) === 0;
  } finally {
    connection.pragma(`busy_timeout = ${timeout}`);
  }
}

/** Whether SQLite found that the file is damaged, or no database at all. */
export function isDamage(error: unknown): error is Error {
  return hasCode(error, DAMAGE);
}

/** Whether the disk refused a write: full, for instance. It may take it later. */
export function isDiskTrouble(error: unknown): error is Error {
  return hasCode(error, DISK_TROUBLE);
}

function hasCode(error: unknown, pattern: RegExp): boolean {
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' && pattern.test(code);
}

/** What to say of a damaged cache that a thread found and threw away. */
export function damageMessage(file: string, error: Error): string {
  return `the cache ${file} is damaged (${error.message}) and was thrown away; the next start fills it from the store`;
}

function createSchema(connection: Connection): void {
  connection.transaction(() => {
    connection.exec(TABLES);
    connection.exec(INDEXES);
    connection.pragma(`user_version = ${SCHEMA_VERSION}`);
    insertPosition(connection);
  })();
}

function insertPosition(connection: Connection): void {
  connection
    .prepare('INSERT INTO log_position VALUES (0, 0, ?, 0, 0, ?, 0, 0, 0, 0)')
    .run(int64Bytes(0n), int64Bytes(0n));
  new PositionTable(connection).write(EMPTY_POSITION);
}

type PositionRow = {
  sequence: number;
  chunk_crc: Buffer;
  next_sequence: number;
  epoch: number;
  cluster_id: Buffer;
  revision: number;
  compact_revision: number;
  compacted_revision: number;
  next_history_id: number;
};

/** The single row that says up to where the cache follows the log. */
export class PositionTable {
  readonly #select: Database.Statement;
  readonly #update: Database.Statement;

  constructor(connection: Connection) {
    this.#select = connection.prepare('SELECT * FROM log_position');
    this.#update = connection.prepare(
      `UPDATE log_position SET sequence = ?, chunk_crc = ?, next_sequence = ?, epoch = ?, cluster_id = ?,
       revision = ?, compact_revision = ?, compacted_revision = ?, next_history_id = ?`,
    );
  }

  read(): CachePosition {
    const row = this.#select.get() as PositionRow;
    return {
      sequence: row.sequence,
      chunkCrc: BigInt.asUintN(64, bytesInt64(row.chunk_crc)),
      nextSequence: row.next_sequence,
      epoch: row.epoch,
      clusterId: BigInt.asUintN(64, bytesInt64(row.cluster_id)),
      revision: row.revision,
      compactRevision: row.compact_revision,
      compactedRevision: row.compacted_revision,
      nextHistoryId: row.next_history_id,
    };
  }

  write(position: CachePosition): void {
    this.#update.run(
      position.sequence,
      int64Bytes(position.chunkCrc),
      position.nextSequence,
      position.epoch,
      int64Bytes(position.clusterId),
      position.revision,
      position.compactRevision,
      position.compactedRevision,
      position.nextHistoryId,
    );
  }
}
