import type { Statement } from 'better-sqlite3';
import { NO_BYTES } from '../../shared/base/bytes.ts';
import { isSingleKey, type KeyRange } from '../../shared/model/key-range.ts';
import type { Connection } from './database.ts';
import { boundsOf, SHAPES, shapeOf } from './range-shape.ts';
import { SIGNPOST_VERSIONS } from './signposts.ts';

/**
 * What the keys were at an older revision, from `current` and the chains that `previous_id` makes of the history's
 * rows. No index has all rows of a key, because that would cost every write a page of its own. Instead some rows are
 * signposts, and only they are in an index: tombstones, where a chain ends that `current` does not lead to, and every
 * 32nd version of a key, so that no walk along a chain is longer.
 *
 * A key's state at a revision: of its rows that came later, the walk begins at the oldest one that is known, which is a
 * signpost or the one in `current`, and goes back to the first that is not later. None of them, or a chain that ends
 * before that, means that the key did not live. A row before a tombstone is never reached from behind it, because a
 * create has no `previous_id`. Compaction leaves all rows later than a revision that may be read, and the row before
 * them.
 */

/** A revision that is older than the newest, and the first history row behind it. */
export interface PastPlace {
  readonly revision: number;
  readonly endId: number;
}

/** A key that lived: its history row and encoded KeyValue. */
export interface PastKey {
  readonly id: number;
  readonly kv: Uint8Array;
}

/** A row of the history without its KeyValue. */
export interface HistoryChange {
  id: number;
  revision: number;
  sub: number;
  previous_id: number;
  deleted: number;
  key: Uint8Array;
}

/** Reads older revisions; each call inside one read transaction, like those of `RowView`. */
export class Past {
  readonly #end: Statement;
  readonly #unchanged: Statement;
  readonly #list: Statement[];
  readonly #listKvs: Statement[];
  readonly #lasting: Statement[];
  readonly #dead: Statement[];
  readonly #signposts: Statement;
  readonly #newest: Statement;
  readonly #change: Statement;

  constructor(connection: Connection) {
    const eachShape = (sqlOf: (where: string) => string): Statement[] =>
      SHAPES.map((where) => connection.prepare(sqlOf(where)));
    this.#end = connection
      .prepare('SELECT id FROM history WHERE revision > ? ORDER BY revision, id LIMIT 1')
      .pluck();
    this.#unchanged = connection.prepare(
      'SELECT id, kv FROM history WHERE id = (SELECT id FROM current WHERE key = ?) AND id < ?',
    );
    this.#list = eachShape((where) => listSql(where, 'state.id, state.kv'));
    this.#listKvs = eachShape((where) => listSql(where, 'state.kv')).map((statement) => statement.pluck());
    this.#lasting = eachShape(
      (where) => `SELECT count(*) FROM current WHERE ${where} AND create_revision <= ?`,
    ).map((statement) => statement.pluck());
    this.#dead = eachShape(deadSql).map((statement) => statement.pluck());
    this.#signposts = connection
      .prepare('SELECT id FROM history WHERE signpost = 1 AND key = ? AND id >= ? ORDER BY id LIMIT ?')
      .pluck();
    this.#newest = connection.prepare('SELECT id FROM current WHERE key = ?').pluck();
    this.#change = connection.prepare(
      'SELECT id, revision, sub, previous_id, deleted, key FROM history WHERE id = ?',
    );
  }

  placeOf(revision: number): PastPlace {
    const endId = (this.#end.get(revision) as number | undefined) ?? Number.MAX_SAFE_INTEGER;
    return { revision, endId };
  }

  /** The range's keys that lived at `place`, in key order, at most `limit` of them (0: all). */
  list(range: KeyRange, place: PastPlace, limit: number): PastKey[] {
    if (isSingleKey(range)) {
      const unchanged = this.#unchanged.get(range.key, place.endId) as PastKey | undefined;
      if (unchanged !== undefined) return [unchanged];
    }
    return this.#list[shapeOf(range)]!.all(...listParameters(range, place, limit)) as PastKey[];
  }

  /** Their encoded KeyValues. */
  listKvs(range: KeyRange, place: PastPlace, limit: number): Uint8Array[] {
    if (isSingleKey(range)) return this.list(range, place, limit).map(({ kv }) => kv);
    return this.#listKvs[shapeOf(range)]!.all(...listParameters(range, place, limit)) as Buffer[];
  }

  /** The key as it was, if it lived. */
  get(key: Uint8Array, place: PastPlace): PastKey | undefined {
    return this.list({ key, rangeEnd: NO_BYTES }, place, 1)[0];
  }

  /** How many keys of the range lived at `place`; the time it takes does not depend on `place`, unless many have died since. */
  count(range: KeyRange, place: PastPlace): number {
    const shape = shapeOf(range);
    const bounds = boundsOf(range);
    // One that lives since before `place` has no tombstone behind it, so that none is counted twice.
    const lasting = this.#lasting[shape]!.get(...bounds, place.revision) as number;
    return lasting + (this.#dead[shape]!.get(place.endId, ...bounds, place.endId) as number);
  }

  /** The changes of a key from the row `firstId` on, in order: all of them, or several of at least `atLeast`. */
  changesOf(key: Uint8Array, firstId: number, atLeast: number): { rows: HistoryChange[]; all: boolean } {
    const signpostsMax = Math.ceil(atLeast / SIGNPOST_VERSIONS);
    const starts = this.#signposts.all(key, firstId, signpostsMax) as number[];
    const all = starts.length < signpostsMax;
    const newest = all ? (this.#newest.get(key) as number | undefined) : undefined;
    if (newest !== undefined) starts.push(newest);
    const rows: HistoryChange[] = [];
    let bottom = firstId;
    for (const start of starts) {
      const segment: HistoryChange[] = [];
      for (let id = start; id >= bottom; id = segment.at(-1)!.previous_id) {
        const row = this.#change.get(id) as HistoryChange | undefined;
        // A compaction at `firstId`'s own revision removes what came before in it.
        if (row === undefined) break;
        segment.push(row);
      }
      rows.push(...segment.reverse());
      bottom = Math.max(bottom, start + 1);
    }
    return { rows, all };
  }
}

/**
 * The first row of the chain from `id` back that stands before the place, 0 if there is none. Most chains are short,
 * and a recursion costs more to set up than two steps.
 */
function walkSql(id: string, previousId: string, end: string): string {
  return `CASE WHEN ${id} < ${end} THEN ${id} WHEN ${previousId} < ${end} THEN ${previousId} ELSE (
      WITH RECURSIVE walk (id) AS (
        SELECT (SELECT previous_id FROM history WHERE id = ${previousId})
        UNION ALL
        SELECT (SELECT previous_id FROM history WHERE id = walk.id) FROM walk WHERE walk.id >= ${end}
      ) SELECT id FROM walk WHERE id < ${end}
    ) END`;
}

/**
 * The range's keys that lived at a place, in key order: columns of `start.key` and of `state`, the row of the history.
 * Takes `listParameters`. It stops when it has enough: keys that live since before the place, and first signposts behind
 * it of the others, come merged in their order from the two indexes.
 */
export function listSql(where: string, columns: string): string {
  const first = `SELECT min(id) FROM history WHERE signpost = 1 AND history.key = current.key AND id >= ?`;
  return `SELECT ${columns}
    FROM (
      SELECT key, ? AS place_end, iif(id < ?, id, coalesce((${first}), id)) AS id
      FROM current WHERE ${where} AND create_revision <= ?
      UNION ALL
      SELECT key, ?, id FROM history WHERE signpost = 1 AND ${where} AND id >= ?
        AND NOT EXISTS (SELECT 1 FROM history AS earlier WHERE earlier.signpost = 1
          AND earlier.key = history.key AND earlier.id >= ? AND earlier.id < history.id)
        AND NOT EXISTS (SELECT 1 FROM current WHERE current.key = history.key AND create_revision <= ?)
      ORDER BY key LIMIT -1
    ) AS start
    CROSS JOIN history AS state ON state.id = iif(start.id < start.place_end, start.id, (
      SELECT ${walkSql('begun.id', 'begun.previous_id', 'start.place_end')}
      FROM history AS begun WHERE begun.id = start.id
    ))
    LIMIT ?`;
}

export function listParameters(range: KeyRange, { revision, endId }: PastPlace, limit: number): unknown[] {
  const bounds = boundsOf(range);
  const ofCurrent = [endId, endId, endId, ...bounds, revision];
  return [...ofCurrent, endId, ...bounds, endId, endId, revision, limit || -1];
}

/** The number of keys that lived at the place and have a tombstone behind it. */
function deadSql(where: string): string {
  // Of the columns that aren't grouped, SQLite takes those of the row that has the minimum.
  return `SELECT count(*)
    FROM (
      SELECT previous_id, min(id) AS id, ? AS place_end FROM history
      WHERE signpost = 1 AND deleted = 1 AND ${where} AND id >= ? GROUP BY key
    ) AS dead
    WHERE ${walkSql('dead.id', 'dead.previous_id', 'dead.place_end')} <> 0`;
}
