import type { Statement } from 'better-sqlite3';
import { assert } from '../../shared/base/assert.ts';
import { errorCode } from '../../shared/base/errors.ts';
import { KVS_TAG, PackedKvs } from '../../shared/etcd/packed-kvs.ts';
import { Writer } from '../../shared/etcd/wire.ts';
import type { KeyRange } from '../../shared/model/key-range.ts';
import type { Connection } from './database.ts';
import { listParameters, listSql, type PastPlace } from './past.ts';
import { boundsOf, SHAPES, shapeOf } from './range-shape.ts';

type PackedRow = [buffer: Buffer, found: number, keys: number, lastKey: Buffer | null];

/** A KeyValue shorter than this has its tag and length in so many bytes, which are looked up. */
const PREFIX_BYTES = 3;
const LENGTHS = 16_384;

/**
 * Lists whose KeyValues SQLite puts together itself, each behind its tag and length: a value that comes to JavaScript
 * costs more than all else that is done for it.
 *
 * `group_concat` is about text, which to SQLite are bytes that nobody looks at: a NUL or what is no UTF-8 goes through
 * as it is, since the database's encoding is UTF-8. The rows come in the order of the subquery, which keeps its ORDER BY
 * because it has a LIMIT; `group_concat(… ORDER BY …)` would sort the values once more (2.3 times as slow).
 */
export class PackedLists {
  readonly #now: Statement[];
  readonly #before: Statement[];
  readonly #prefixes = prefixTable();

  constructor(connection: Connection) {
    const eachShape = (sqlOf: (where: string) => string): Statement[] =>
      SHAPES.map((where) => connection.prepare(packed(sqlOf(where))).raw());
    this.#now = eachShape(
      (where) => `(SELECT key, id FROM current WHERE ${where} ORDER BY key LIMIT ?) AS listed
                  LEFT JOIN history AS row ON row.id = listed.id`,
    );
    this.#before = eachShape((where) => `(${listSql(where, 'start.key AS key, state.kv AS kv')}) AS listed`);
  }

  /**
   * The first `limit` living keys of `range` (-1: all), undefined if there is none; `tooLarge` if they don't fit into
   * one value of SQLite (1 GB).
   */
  now(range: KeyRange, limit: number): PackedKvs | undefined | 'tooLarge' {
    return this.#run(this.#now[shapeOf(range)]!, [...boundsOf(range), limit]);
  }

  /** As `now`, of the keys that lived at `place`. */
  before(range: KeyRange, place: PastPlace, limit: number): PackedKvs | undefined | 'tooLarge' {
    return this.#run(this.#before[shapeOf(range)]!, listParameters(range, place, limit));
  }

  #run(statement: Statement, parameters: unknown[]): PackedKvs | undefined | 'tooLarge' {
    try {
      const [buffer, found, keys, lastKey] = statement.get(this.#prefixes, ...parameters) as PackedRow;
      assert(found === keys, 'history row of a living key is missing');
      return lastKey === null ? undefined : new PackedKvs(buffer, keys, lastKey);
    } catch (error) {
      if (errorCode(error) === 'SQLITE_TOOBIG') return 'tooLarge';
      throw error;
    }
  }
}

/** One row with every `kv` of `rows`, in their order, and room around them; `listed.key` is the key. */
function packed(rows: string): string {
  return `
    SELECT CAST(group_concat(part, X'') AS BLOB), count(part) - 2, count(key), max(key) FROM (
      SELECT zeroblob(${PackedKvs.ROOM_BEFORE}) AS part, NULL AS key
      UNION ALL
      SELECT ${fieldPrefix('length(kv)')} || kv, listed.key FROM ${rows}
      UNION ALL
      SELECT zeroblob(${PackedKvs.ROOM_BEHIND}), NULL)`;
}

/** The field's tag and length, as an expression: a few bytes of the table that is bound to it, or made if the KeyValue is long. */
export function fieldPrefix(length: string): string {
  const low = (shift: number): string => `${length} >> ${shift} & 127 | 128`;
  const last = (shift: number): string => `${length} >> ${shift}`;
  return `CASE
    WHEN ${length} < ${LENGTHS} THEN substr(?, ${PREFIX_BYTES} * ${length} + 1, iif(${length} < 128, 2, 3))
    WHEN ${length} < ${1 << 21} THEN unhex(format('12%02x%02x%02x', ${low(0)}, ${low(7)}, ${last(14)}))
    WHEN ${length} < ${1 << 28} THEN
      unhex(format('12%02x%02x%02x%02x', ${low(0)}, ${low(7)}, ${low(14)}, ${last(21)}))
    ELSE unhex(format('12%02x%02x%02x%02x%02x', ${low(0)}, ${low(7)}, ${low(14)}, ${low(21)}, ${last(28)})) END`;
}

let prefixes: Buffer | undefined;

/** Tag and length of every KeyValue below LENGTHS bytes: made once for all connections of a thread. */
export function prefixTable(): Buffer {
  prefixes ??= makePrefixTable();
  return prefixes;
}

function makePrefixTable(): Buffer {
  const table = Buffer.alloc(PREFIX_BYTES * LENGTHS);
  const writer = new Writer(PREFIX_BYTES);
  for (let length = 0; length < LENGTHS; length++) {
    writer.varint(KVS_TAG);
    writer.varint(length);
    table.set(writer.view(), PREFIX_BYTES * length);
    writer.reset();
  }
  return table;
}
