import type { Statement } from 'better-sqlite3';
import { crc32c } from '../../shared/base/crc32c.ts';
import { EtcdError } from '../../shared/etcd/errors.ts';
import { KEY_BUCKET, revisionKey, tombstoneValue } from '../../shared/etcd/key-bucket.ts';
import type { HashReply, HashRequest } from '../contract/reader.ts';
import { type Connection, openToRead } from './database.ts';
import { Past, type PastPlace } from './past.ts';
import { RowView } from './rows.ts';

/** A piece ends after so many rows or bytes: some milliseconds, so that reads never wait long behind one. */
const PIECE_ROWS = 500;
const PIECE_BYTES = 256 * 1024;

const EMPTY_HASH = crc32c(Buffer.from(KEY_BUCKET));

type Row = {
  id: number;
  revision: number;
  sub: number;
  deleted: number;
  key: Buffer;
  kv: Buffer;
  /** Of the key, if it lives; looked up only where it is needed. */
  newest_id: number | null;
};

/**
 * etcd's HashKV, and our Hash, over one snapshot in small pieces. The snapshot has a connection of its own, so that
 * the reader goes on with newer ones between the pieces.
 *
 * What is hashed is what etcd has in its database once its compaction is carried out, so the result does not depend
 * on how far our own removal of rows has come: a record at or below the compaction revision counts only if it is a
 * put, its key's newest there, and (unless no key lives at the hashed revision) its key's newest at the hashed
 * revision too. A tombstone at exactly the compaction revision never counts, though etcd keeps it. Source:
 * server/storage/mvcc/hash.go, and `keep` in key_index.go.
 */
export class HashJob {
  readonly #connection: Connection;
  readonly #scan: Statement;
  readonly #whole: boolean;
  readonly #revision: number;
  readonly #compactRevision: number;
  readonly #newestRevision: number;
  readonly #past: Past;
  /** Where the compaction and the hashed revision end. */
  readonly #compacted: PastPlace;
  readonly #hashed: PastPlace;
  #cursor = { revision: -1, id: -1 };
  /** Whether a key is known to live at the hashed revision. */
  #anyAlive = false;
  /** Keys that the hashed revision deletes. One that it puts again too does not count as living, as in etcd's `keep`. */
  readonly #deletedLast = new Set<string>();
  #hash = EMPTY_HASH;
  /** The hash if no key lives there: etcd then skips nothing for being superseded since the compaction. */
  #hashIfNoneAlive = EMPTY_HASH;

  /** Throws Compacted or FutureRev. */
  constructor(cacheFile: string, request: HashRequest) {
    this.#connection = openToRead(cacheFile);
    try {
      this.#connection.exec('BEGIN');
      const rows = new RowView(this.#connection);
      rows.refresh();
      this.#compactRevision = rows.compactRevision;
      this.#newestRevision = rows.revision;
      this.#whole = request.whole;
      const asked = request.whole ? 0 : request.revision;
      if (asked > 0 && asked < rows.compactRevision) throw new EtcdError('Compacted');
      if (asked > rows.revision) throw new EtcdError('FutureRev');
      this.#revision = asked === 0 ? rows.revision : asked;
      this.#past = new Past(this.#connection);
      this.#compacted = this.#past.placeOf(this.#compactRevision);
      this.#hashed = this.#past.placeOf(this.#revision);
      this.#scan = this.#connection.prepare(
        `SELECT id, revision, sub, deleted, key, kv,
           CASE WHEN revision <= :probed THEN
             (SELECT current.id FROM current WHERE current.key = history.key)
           END AS newest_id
         FROM history WHERE (revision, id) > (:revision, :id) AND revision <= :last
         ORDER BY revision, id LIMIT ${PIECE_ROWS}`,
      );
    } catch (error) {
      this.#connection.close();
      throw error;
    }
  }

  /** Hashes one piece; answers the result after the last one, and then has closed its snapshot. */
  step(): HashReply | undefined {
    let rows = 0;
    let bytes = 0;
    const probed = this.#anyAlive ? this.#compactRevision : this.#revision;
    const limits = { ...this.#cursor, last: this.#revision, probed };
    for (const row of this.#scan.iterate(limits) as IterableIterator<Row>) {
      this.#add(row, row.revision <= probed);
      this.#cursor = { revision: row.revision, id: row.id };
      rows++;
      bytes += row.kv.length;
      if (bytes >= PIECE_BYTES) return undefined;
    }
    if (rows === PIECE_ROWS) return undefined;
    if (this.#whole) this.#addTheRest();
    this.close();
    return {
      hash: this.#anyAlive ? this.#hash : this.#hashIfNoneAlive,
      compactRevision: this.#compactRevision,
      hashRevision: this.#revision,
      newestRevision: this.#newestRevision,
    };
  }

  /** Lets go of the snapshot. */
  close(): void {
    if (this.#connection.open) this.#connection.close();
  }

  #add(row: Row, probed: boolean): void {
    const { revision, key } = row;
    const deleted = row.deleted === 1;
    const superseded = probed && !deleted && !this.#isNewestAt(row, this.#hashed);
    if (deleted && revision === this.#revision) this.#deletedLast.add(key.toString('latin1'));
    if (!probed || this.#anyAlive) return this.#hashRow(row, superseded);
    this.#anyAlive = !deleted && !superseded && !this.#deletedLast.has(key.toString('latin1'));
    this.#hashRow(row, superseded);
  }

  #hashRow(row: Row, superseded: boolean): void {
    const { revision, sub, key, kv } = row;
    const deleted = row.deleted === 1;
    const compacted = revision <= this.#compactRevision;
    if (compacted && (deleted || !this.#isNewestAt(row, this.#compacted))) return;
    const skipped = compacted && superseded;
    this.#update(revisionKey(revision, sub, deleted), skipped);
    this.#update(deleted ? tombstoneValue(key) : kv, skipped);
  }

  /** Whether a put is its key's newest record at `place`. */
  #isNewestAt({ id, key, newest_id }: Row, place: PastPlace): boolean {
    return newest_id === id || this.#past.get(key, place)?.id === id;
  }

  #update(bytes: Uint8Array, skipped = false): void {
    if (!skipped) this.#hash = crc32c(bytes, this.#hash);
    if (!this.#anyAlive) this.#hashIfNoneAlive = crc32c(bytes, this.#hashIfNoneAlive);
  }

  /** What the log says besides the keys' history: leases, users, roles, alarms. */
  #addTheRest(): void {
    const leases = this.#connection.prepare('SELECT id, ttl_seconds FROM leases ORDER BY id').raw().all();
    for (const [id, ttl] of leases as [Buffer, number][]) {
      this.#update(id);
      this.#update(Buffer.from(`${ttl};`));
    }
    const entries = this.#connection.prepare('SELECT name, value FROM system ORDER BY name').raw().all();
    for (const [name, value] of entries as [string, Buffer][]) {
      this.#update(Buffer.from(`${name}=${value.length};`));
      this.#update(value);
    }
  }
}
