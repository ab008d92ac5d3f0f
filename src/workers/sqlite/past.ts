import type { Statement } from 'better-sqlite3';
import { assert } from '../../shared/base/assert.ts';
import { compareBytes, keyAfter, NO_BYTES } from '../../shared/base/bytes.ts';
import { decodeKeyValue } from '../../shared/etcd/responses.ts';
import { isSingleKey, isUnbounded, type KeyRange } from '../../shared/model/key-range.ts';
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

/** More than are wanted, so that keys which did not live seldom make another batch. */
const BATCH_SPARE = 16;
const BATCH_MIN = 64;

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

/**
 * Where a key's walk begins, and the row before that. A row that is not later than the place has its KeyValue, and one
 * to begin at that is later has its key.
 */
type Start = [
  id: number,
  kv: Buffer | null,
  key: Buffer | null,
  beforeId: number | null,
  beforePreviousId: number | null,
  beforeKv: Buffer | null,
];
type Link = [previousId: number, kv: Buffer | null];

/** Reads older revisions; each call inside one read transaction, like those of `RowView`. */
export class Past {
  readonly #end: Statement;
  readonly #starts: Statement[];
  readonly #link: Statement;
  readonly #lasting: Statement[];
  readonly #dead: Statement[];
  readonly #previousId: Statement;
  readonly #signposts: Statement;
  readonly #newest: Statement;
  readonly #change: Statement;

  constructor(connection: Connection) {
    const eachShape = (sqlOf: (where: string) => string): Statement[] =>
      SHAPES.map((where) => connection.prepare(sqlOf(where)));
    this.#end = connection
      .prepare('SELECT id FROM history WHERE revision > ? ORDER BY revision, id LIMIT 1')
      .pluck();
    this.#starts = eachShape(startsSql).map((statement) => statement.raw());
    this.#link = connection
      .prepare('SELECT previous_id, iif(id < ?, kv, NULL) FROM history WHERE id = ?')
      .raw();
    this.#lasting = eachShape(
      (where) => `SELECT count(*) FROM current WHERE ${where} AND create_revision <= ?`,
    ).map((statement) => statement.pluck());
    this.#dead = eachShape(deadSql).map((statement) => statement.pluck());
    this.#previousId = connection.prepare('SELECT previous_id FROM history WHERE id = ?').pluck();
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
    if (limit === 0 || isSingleKey(range)) return this.#listSome(range, place, -1).found;
    const all: PastKey[] = [];
    let rest: KeyRange | undefined = range;
    for (let least = 0; rest !== undefined && all.length < limit; least = Math.max(BATCH_MIN, least * 2)) {
      const batch = Math.max(limit - all.length + BATCH_SPARE, least);
      const { found, lastKey } = this.#listSome(rest, place, batch);
      for (const key of found) all.push(key);
      rest = lastKey === undefined ? undefined : behind(range, lastKey);
    }
    return all.length > limit ? all.slice(0, limit) : all;
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
    let count = this.#lasting[shape]!.get(...bounds, place.revision) as number;
    const { endId } = place;
    for (const id of this.#dead[shape]!.iterate(endId, ...bounds, endId) as Iterable<number>) {
      let previousId = id;
      while (previousId >= endId) previousId = this.#previousId.get(previousId) as number;
      if (previousId !== 0) count++;
    }
    return count;
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

  /** Looks at `batch` places to begin at (-1: all). `lastKey` is that of the last one if there may be more. */
  #listSome(
    range: KeyRange,
    { revision, endId }: PastPlace,
    batch: number,
  ): { found: PastKey[]; lastKey: Uint8Array | undefined } {
    const bounds = boundsOf(range);
    const ends = [endId, endId, endId];
    const statement = this.#starts[shapeOf(range)]!;
    const starts = statement.all(...ends, ...bounds, revision, ...bounds, endId, batch, endId) as Start[];
    const found: PastKey[] = [];
    let lastKey: Buffer | undefined;
    for (const [id, kv, key, beforeId, beforePreviousId, beforeKv] of starts) {
      if (kv !== null) {
        found.push({ id, kv });
        continue;
      }
      // The first of a key's is the oldest.
      if (lastKey !== undefined && compareBytes(key!, lastKey) === 0) continue;
      lastKey = key!;
      if (beforeId === null) continue;
      const state = beforeKv === null ? this.#walk(beforePreviousId!, endId) : { id: beforeId, kv: beforeKv };
      if (state !== undefined) found.push(state);
    }
    return { found, lastKey: starts.length === batch ? keyOf(starts.at(-1)!) : undefined };
  }

  /** Back along a chain to the first row that stands before `endId`. */
  #walk(startId: number, endId: number): PastKey | undefined {
    let id = startId;
    while (id !== 0) {
      const link = this.#link.get(endId, id) as Link | undefined;
      assert(link !== undefined, `history row ${id} is missing`);
      const [previousId, kv] = link;
      if (kv !== null) return { id, kv };
      id = previousId;
    }
    return undefined;
  }
}

/** Keys that live since before the place and signposts behind it, in the order of keys and then of rows. */
function startsSql(where: string): string {
  return `SELECT start.id, iif(start.id < ?, first.kv, NULL), iif(start.id < ?, NULL, start.key),
      before.id, before.previous_id, iif(before.id < ?, before.kv, NULL)
    FROM (
      SELECT key, id FROM current WHERE ${where} AND create_revision <= ?
      UNION ALL
      SELECT key, id FROM history WHERE signpost = 1 AND ${where} AND id >= ?
      ORDER BY key, id LIMIT ?
    ) AS start
    CROSS JOIN history AS first ON first.id = start.id
    LEFT JOIN history AS before ON before.id = iif(start.id < ?, NULL, first.previous_id)`;
}

/** Of each key's first tombstone behind the place, the row before it, or the one before that if it is later too. */
function deadSql(where: string): string {
  // Of the columns that aren't grouped, SQLite takes those of the row that has the minimum.
  return `SELECT coalesce(before.previous_id, dead.previous_id) AS id
    FROM (
      SELECT previous_id, min(id) AS end, ? AS place_end FROM history
      WHERE signpost = 1 AND deleted = 1 AND ${where} AND id >= ? GROUP BY key
    ) AS dead
    LEFT JOIN history AS before ON before.id = dead.previous_id AND before.id >= dead.place_end
    WHERE coalesce(before.previous_id, dead.previous_id) <> 0`;
}

function keyOf([, kv, key]: Start): Uint8Array {
  return key ?? decodeKeyValue(kv!).key;
}

function behind(range: KeyRange, lastKey: Uint8Array): KeyRange | undefined {
  const key = keyAfter(lastKey);
  if (!isUnbounded(range) && compareBytes(key, range.rangeEnd) >= 0) return undefined;
  return { key, rangeEnd: range.rangeEnd };
}
