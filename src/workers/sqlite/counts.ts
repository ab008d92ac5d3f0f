import type { Statement } from 'better-sqlite3';
import { compareBytes } from '../../shared/base/bytes.ts';
import { isSingleKey, isUnbounded, type KeyRange } from '../../shared/model/key-range.ts';
import type { Connection } from './database.ts';
import type { Past, PastPlace } from './past.ts';
import { boundsOf, SHAPES, shapeOf } from './range-shape.ts';

/** Looking at a change in the order they came costs about as much as looking at so many keys. */
const KEYS_PER_CHANGE = 4;

/** How many keys a range has, now and at an older revision, without a scan where that can be. */
export class KeyCounts {
  readonly #scan: Statement[];
  readonly #sum: Statement;
  readonly #sumFrom: Statement;
  readonly #beginning: Statement;
  readonly #block: Statement;
  readonly #changes: Statement[];
  readonly #past: Past;

  constructor(connection: Connection, past: Past) {
    this.#past = past;
    const prepare = (sql: string): Statement => connection.prepare(sql).pluck();
    const eachShape = (sqlOf: (where: string) => string): Statement[] =>
      SHAPES.map((where) => prepare(sqlOf(where)));
    this.#scan = eachShape((where) => `SELECT count(*) FROM current WHERE ${where}`);
    this.#sum = prepare('SELECT sum(keys) FROM key_blocks WHERE first >= ? AND first < ?');
    this.#sumFrom = prepare('SELECT sum(keys) FROM key_blocks WHERE first >= ?');
    this.#beginning = prepare('SELECT first FROM key_blocks WHERE first >= ? ORDER BY first LIMIT 1');
    this.#block = prepare('SELECT first FROM key_blocks WHERE first <= ? ORDER BY first DESC LIMIT 1');
    // A put of a key that lived has the row it replaces, and so has a delete, unless that was never imported.
    this.#changes = eachShape(
      (where) => `SELECT coalesce(sum(iif(deleted, -(previous_id <> 0), previous_id = 0)), 0)
        FROM history NOT INDEXED WHERE ${where} AND id >= ?`,
    );
  }

  /** Living keys of the range: whole blocks, and the keys before and behind them. */
  now(range: KeyRange): number {
    const { key, rangeEnd } = range;
    if (isSingleKey(range)) return this.#scanned(range);
    const from = this.#beginning.get(key) as Buffer | undefined;
    if (from === undefined) return this.#scanned(range);
    if (isUnbounded(range))
      return this.#scanned({ key, rangeEnd: from }) + (this.#sumFrom.get(from) as number);
    const to = this.#block.get(rangeEnd) as Buffer;
    if (compareBytes(from, to) >= 0) return this.#scanned(range);
    const whole = this.#sum.get(from, to) as number;
    return this.#scanned({ key, rangeEnd: from }) + whole + this.#scanned({ key: to, rangeEnd });
  }

  /**
   * Living keys of the range at `place`, after which `changed` rows came: those of now without what these did, or if
   * the range has too few keys for that, one by one.
   */
  before(range: KeyRange, place: PastPlace, changed: number): number {
    const now = this.now(range);
    if (changed * KEYS_PER_CHANGE > now) return this.#past.count(range, place);
    return now - (this.#changes[shapeOf(range)]!.get(...boundsOf(range), place.endId) as number);
  }

  #scanned(range: KeyRange): number {
    return this.#scan[shapeOf(range)]!.get(...boundsOf(range)) as number;
  }
}
