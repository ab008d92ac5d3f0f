import type { Statement } from 'better-sqlite3';
import { assert } from '../../shared/base/assert.ts';
import { bytesInt64 } from '../../shared/base/bytes.ts';
import { decodeKeyValue } from '../../shared/etcd/responses.ts';
import { isSingleKey, isUnbounded, type KeyRange } from '../../shared/model/key-range.ts';
import type { KeyState } from '../../shared/model/key-state.ts';
import { type Connection, PositionTable } from './database.ts';
import type { KeyView } from './view.ts';

type CurrentRow = [
  key: Buffer,
  id: number,
  mod: number,
  create: number,
  version: number,
  lease: Buffer | null,
];
type HistoryRow = [id: number, key: Buffer, deleted: number, kv: Buffer];

const CURRENT_COLUMNS = 'key, id, mod_revision, create_revision, version, lease';

/** The three shapes of a key range, as SQL conditions. */
const SHAPES = ['key = ?', 'key >= ?', 'key >= ? AND key < ?'] as const;

function shapeOf(range: KeyRange): number {
  if (isSingleKey(range)) return 0;
  return isUnbounded(range) ? 1 : 2;
}

function boundsOf(range: KeyRange): Uint8Array[] {
  return shapeOf(range) === 2 ? [range.key, range.rangeEnd] : [range.key];
}

/**
 * The keys as SQLite's rows have them. In a reader every call must happen inside one read transaction
 * that `refresh` began in; the writer refreshes after each apply.
 */
export class RowView implements KeyView {
  revision = 0;
  compactRevision = -1;
  epoch = 0;
  readonly #position: PositionTable;
  readonly #get: Statement;
  readonly #kv: Statement;
  readonly #list: Statement[];
  readonly #count: Statement[];
  readonly #historyEnd: Statement;
  readonly #listOld: Statement[];
  readonly #countOld: Statement[];
  readonly #leaseKeys: Statement;

  constructor(connection: Connection) {
    this.#position = new PositionTable(connection);
    this.#get = connection.prepare(`SELECT ${CURRENT_COLUMNS} FROM current WHERE key = ?`).raw();
    this.#kv = connection.prepare('SELECT kv FROM history WHERE id = ?').pluck();
    this.#list = SHAPES.map((where) =>
      connection.prepare(`SELECT ${CURRENT_COLUMNS} FROM current WHERE ${where} ORDER BY key LIMIT ?`).raw(),
    );
    this.#count = SHAPES.map((where) =>
      connection.prepare(`SELECT count(*) FROM current WHERE ${where}`).pluck(),
    );
    this.#historyEnd = connection
      .prepare('SELECT id FROM history WHERE revision > ? ORDER BY revision, id LIMIT 1')
      .pluck();
    const newest = (where: string): string =>
      `(SELECT max(id) AS id FROM history WHERE ${where} AND id < ? GROUP BY key ORDER BY key)`;
    this.#listOld = SHAPES.map((where) =>
      connection
        .prepare(
          `SELECT history.id, history.key, history.deleted, history.kv FROM ${newest(where)} AS newest
           CROSS JOIN history ON history.id = newest.id WHERE history.deleted = 0 LIMIT ?`,
        )
        .raw(),
    );
    this.#countOld = SHAPES.map((where) =>
      connection
        .prepare(
          `SELECT count(*) FROM ${newest(where)} AS newest
           CROSS JOIN history ON history.id = newest.id WHERE history.deleted = 0`,
        )
        .pluck(),
    );
    this.#leaseKeys = connection.prepare('SELECT key FROM current WHERE lease = ? ORDER BY key').pluck();
  }

  /** Reads the position anew. In a reader: inside the transaction whose snapshot is to be read. */
  refresh(): void {
    const position = this.#position.read();
    this.revision = position.revision;
    this.compactRevision = position.compactRevision;
    this.epoch = position.epoch;
  }

  get(key: Uint8Array): KeyState | undefined {
    const row = this.#get.get(key) as CurrentRow | undefined;
    return row && stateOfRow(row);
  }

  list(range: KeyRange, revision: number, limit: number): KeyState[] {
    const shape = shapeOf(range);
    const sqlLimit = limit > 0 ? limit : -1;
    if (revision >= this.revision) {
      return (this.#list[shape]!.all(...boundsOf(range), sqlLimit) as CurrentRow[]).map(stateOfRow);
    }
    const rows = this.#listOld[shape]!.all(...boundsOf(range), this.#endOf(revision), sqlLimit);
    return (rows as HistoryRow[]).map(stateOfHistory);
  }

  count(range: KeyRange, revision: number): number {
    const shape = shapeOf(range);
    if (revision >= this.revision) return this.#count[shape]!.get(...boundsOf(range)) as number;
    return this.#countOld[shape]!.get(...boundsOf(range), this.#endOf(revision)) as number;
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

  /** The first row id that is newer than `revision`. */
  #endOf(revision: number): number {
    return (this.#historyEnd.get(revision) as number | undefined) ?? Number.MAX_SAFE_INTEGER;
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

function stateOfHistory(row: HistoryRow): KeyState {
  const kv = decodeKeyValue(row[3]);
  return {
    key: row[1],
    rowId: row[0],
    modRevision: kv.modRevision,
    createRevision: kv.createRevision,
    version: kv.version,
    lease: kv.lease,
    kv: row[3],
  };
}
