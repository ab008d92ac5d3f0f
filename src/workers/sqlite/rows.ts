import type { Statement } from 'better-sqlite3';
import { assert } from '../../shared/base/assert.ts';
import { bytesInt64 } from '../../shared/base/bytes.ts';
import { decodeKeyValue } from '../../shared/etcd/responses.ts';
import { isSingleKey, type KeyRange } from '../../shared/model/key-range.ts';
import type { KeyState } from '../../shared/model/key-state.ts';
import { KeyCounts } from './counts.ts';
import { type Connection, PositionTable } from './database.ts';
import { PackedLists } from './packed-lists.ts';
import { PageCounts } from './page-counts.ts';
import { Past, type PastKey } from './past.ts';
import { boundsOf, SHAPES, shapeOf } from './range-shape.ts';
import type { KeyView, KvList } from './view.ts';

type CurrentRow = [
  key: Buffer,
  id: number,
  mod: number,
  create: number,
  version: number,
  lease: Buffer | null,
];

const CURRENT_COLUMNS = 'key, id, mod_revision, create_revision, version, lease';

/**
 * The keys as SQLite's rows have them. In a reader every call must happen inside one read transaction
 * that `refresh` began in; the writer refreshes after each apply.
 */
export class RowView implements KeyView {
  revision = 0;
  compactRevision = -1;
  epoch = 0;
  #nextHistoryId = 0;
  readonly #position: PositionTable;
  readonly #get: Statement;
  readonly #kv: Statement;
  readonly #list: Statement[];
  readonly #listKvs: Statement[];
  readonly #packed: PackedLists;
  readonly #past: Past;
  readonly #counts: KeyCounts;
  readonly #pageCounts = new PageCounts();
  readonly #leaseKeys: Statement;

  constructor(connection: Connection) {
    this.#position = new PositionTable(connection);
    this.#get = connection.prepare(`SELECT ${CURRENT_COLUMNS} FROM current WHERE key = ?`).raw();
    this.#kv = connection.prepare('SELECT kv FROM history WHERE id = ?').pluck();
    const eachShape = (sqlOf: (where: string) => string): Statement[] =>
      SHAPES.map((where) => connection.prepare(sqlOf(where)));
    const list = (where: string, columns: string): string =>
      `SELECT ${columns} FROM current WHERE ${where} ORDER BY key LIMIT ?`;
    this.#list = eachShape((where) => list(where, CURRENT_COLUMNS)).map((statement) => statement.raw());
    // One statement for all values costs a quarter of one for each.
    this.#listKvs = eachShape(
      (where) => `SELECT history.kv FROM (${list(where, 'id')}) AS listed
                  LEFT JOIN history ON history.id = listed.id`,
    ).map((statement) => statement.pluck());
    this.#packed = new PackedLists(connection);
    this.#past = new Past(connection);
    this.#counts = new KeyCounts(connection, this.#past);
    this.#leaseKeys = connection.prepare('SELECT key FROM current WHERE lease = ? ORDER BY key').pluck();
  }

  /** Reads the position anew. In a reader: inside the transaction whose snapshot is to be read. */
  refresh(): void {
    const position = this.#position.read();
    this.revision = position.revision;
    this.compactRevision = position.compactRevision;
    this.epoch = position.epoch;
    this.#nextHistoryId = position.nextHistoryId;
  }

  get(key: Uint8Array): KeyState | undefined {
    const row = this.#get.get(key) as CurrentRow | undefined;
    return row && stateOfRow(row);
  }

  list(range: KeyRange, revision: number, limit: number): KeyState[] {
    if (revision < this.revision) {
      return this.#past.list(range, this.#past.placeOf(revision), limit).map(stateOfPast);
    }
    const sqlLimit = limit > 0 ? limit : -1;
    return (this.#list[shapeOf(range)]!.all(...boundsOf(range), sqlLimit) as CurrentRow[]).map(stateOfRow);
  }

  listKvs(range: KeyRange, revision: number, limit: number): KvList {
    const sqlLimit = limit > 0 ? limit : -1;
    if (isSingleKey(range)) return this.#listEach(range, revision, sqlLimit);
    const packed =
      revision >= this.revision
        ? this.#packed.now(range, sqlLimit)
        : this.#packed.before(range, this.#past.placeOf(revision), sqlLimit);
    return packed === 'tooLarge' ? this.#listEach(range, revision, sqlLimit) : (packed ?? []);
  }

  #listEach(range: KeyRange, revision: number, sqlLimit: number): Uint8Array[] {
    const shape = shapeOf(range);
    if (revision >= this.revision) {
      const kvs = this.#listKvs[shape]!.all(...boundsOf(range), sqlLimit) as (Buffer | null)[];
      assert(!kvs.includes(null), 'history row of a living key is missing');
      return kvs as Buffer[];
    }
    return this.#past.listKvs(range, this.#past.placeOf(revision), sqlLimit);
  }

  count(range: KeyRange, revision: number): number {
    if (revision >= this.revision) return this.#counts.now(range);
    const place = this.#past.placeOf(revision);
    return this.#counts.before(range, place, this.#nextHistoryId - place.endId);
  }

  countPage(range: KeyRange, revision: number, keys: number, behind: KeyRange): number {
    const count = this.#pageCounts.get(range, revision) ?? keys + this.count(behind, revision);
    this.#pageCounts.set(behind, revision, count - keys);
    return count;
  }

  kv(state: KeyState): Uint8Array {
    if (state.kv === undefined) state.kv = this.kvOfRow(state.rowId);
    return state.kv;
  }

  /** The encoded KeyValue of a history row that must exist. */
  kvOfRow(rowId: number): Uint8Array {
    const kv = this.#kv.get(rowId) as Buffer | undefined;
    assert(kv !== undefined, `history row ${rowId} is missing`);
    return kv;
  }

  /** The keys attached to a lease, in key order. */
  leaseKeys(leaseBytes: Uint8Array): Uint8Array[] {
    return this.#leaseKeys.all(leaseBytes) as Buffer[];
  }
}

function stateOfRow(row: CurrentRow): KeyState {
  return {
    key: row[0],
    rowId: row[1],
    modRevision: row[2],
    createRevision: row[3],
    version: row[4],
    lease: row[5] === null ? 0n : bytesInt64(row[5]),
    kv: undefined,
  };
}

function stateOfPast({ id, kv }: PastKey): KeyState {
  const { key, modRevision, createRevision, version, lease } = decodeKeyValue(kv);
  return { key, rowId: id, modRevision, createRevision, version, lease, kv };
}
