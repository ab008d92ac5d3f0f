import type { Statement } from 'better-sqlite3';
import { assert } from '../../shared/base/assert.ts';
import { bytesKey, compareBytes } from '../../shared/base/bytes.ts';
import type { Connection } from './database.ts';

/**
 * The living keys in blocks, and how many of them there are in each, so that counting a range needs no scan of it.
 *
 * A block begins before all keys, and at every living key whose hash says so, which is one in BLOCK_KEYS. So
 * `key_blocks` is a function of `current`: the same whatever way led there, applied, recovered or filled from a
 * snapshot. Whoever picks keys that never begin a block gets counts that scan, and nothing worse.
 *
 * Invariant, after each transaction: `keys` of a row is the number of rows of `current` from `first` up to the next
 * row's `first`.
 */

/** A power of two. Larger blocks are fewer to sum up and to write, but more keys to count at both ends of a range. */
const BLOCK_KEYS = 1024;
/** From so many keys on it pays to sort them, so that those of a block stand together. */
const SORT_MIN = 1000;

export const KEY_BLOCKS = `
CREATE TABLE key_blocks (first BLOB PRIMARY KEY, keys INTEGER NOT NULL CHECK (keys >= 0)) WITHOUT ROWID;
INSERT INTO key_blocks VALUES (X'', 0);
`;

/** Whether a block begins at `key` while it lives. Part of the cache's schema. */
export function beginsBlock(key: Uint8Array): boolean {
  // FNV-1a, whose low bits are then mixed as MurmurHash3 ends.
  let hash = 0x811c9dc5;
  for (let index = 0; index < key.length; index++) hash = Math.imul(hash ^ key[index]!, 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) & (BLOCK_KEYS - 1)) === 0;
}

/** Keeps `key_blocks` true to `current`: between `begin` and `end` it is told of every key that comes to life or dies. */
export class KeyBlocks {
  readonly #span: Statement;
  readonly #block: Statement;
  readonly #add: Statement;
  readonly #addAt: Statement;
  readonly #next: Statement;
  readonly #count: Statement;
  readonly #countFrom: Statement;
  readonly #insert: Statement;
  readonly #keys: Statement;
  readonly #delete: Statement;
  #born: Uint8Array[] = [];
  #died: Uint8Array[] = [];
  /** How often each key that begins a block came to life, less how often it died. */
  readonly #beginnings = new Map<string, number>();

  constructor(connection: Connection) {
    const prepare = (sql: string): Statement => connection.prepare(sql);
    const block = 'SELECT first FROM key_blocks WHERE first <= ? ORDER BY first DESC LIMIT 1';
    this.#span = prepare(
      `SELECT first, (SELECT next.first FROM key_blocks AS next WHERE next.first > key_blocks.first
       ORDER BY next.first LIMIT 1) FROM key_blocks WHERE first <= ? ORDER BY first DESC LIMIT 1`,
    ).raw();
    this.#block = prepare(block).pluck();
    this.#next = prepare('SELECT first FROM key_blocks WHERE first > ? ORDER BY first LIMIT 1').pluck();
    this.#add = prepare('UPDATE key_blocks SET keys = keys + ? WHERE first = ?');
    this.#addAt = prepare(`UPDATE key_blocks SET keys = keys + ? WHERE first = (${block})`);
    this.#count = prepare('SELECT count(*) FROM current WHERE key >= ? AND key < ?').pluck();
    this.#countFrom = prepare('SELECT count(*) FROM current WHERE key >= ?').pluck();
    this.#insert = prepare('INSERT INTO key_blocks VALUES (?, ?)');
    this.#keys = prepare('SELECT keys FROM key_blocks WHERE first = ?').pluck();
    this.#delete = prepare('DELETE FROM key_blocks WHERE first = ?');
  }

  /** A transaction begins. What one before it left, which failed, is forgotten. */
  begin(): void {
    this.#born = [];
    this.#died = [];
    this.#beginnings.clear();
  }

  /** `current` has got the key. */
  born(key: Uint8Array): void {
    this.#born.push(key);
    if (beginsBlock(key)) this.#noteBeginning(key, 1);
  }

  /** `current` has lost the key. */
  died(key: Uint8Array): void {
    this.#died.push(key);
    if (beginsBlock(key)) this.#noteBeginning(key, -1);
  }

  /** Writes it all, in the same transaction. */
  end(): void {
    this.#change(this.#born, 1);
    this.#change(this.#died, -1);
    // From the last one on, so that no key is counted in more than one block that begins.
    for (const name of [...this.#beginnings.keys()].sort().reverse()) {
      const change = this.#beginnings.get(name)!;
      const key = Buffer.from(name, 'latin1');
      if (change > 0) this.#split(key);
      else if (change < 0) this.#join(key);
    }
    this.begin();
  }

  #noteBeginning(key: Uint8Array, change: number): void {
    const name = bytesKey(key);
    this.#beginnings.set(name, (this.#beginnings.get(name) ?? 0) + change);
  }

  /**
   * Adds `change` for each of the keys. Keys that follow each other are often of the same block: then it is written
   * once. Where they are not, it costs less not to ask for the blocks.
   */
  #change(keys: Uint8Array[], change: number): void {
    if (keys.length >= SORT_MIN) keys.sort(compareBytes);
    let span: { first: Buffer; end: Buffer | null; keys: number } | undefined;
    for (const key of keys) {
      if (span !== undefined && isWithin(key, span.first, span.end)) span.keys++;
      else if (span === undefined || span.keys > 1) {
        if (span !== undefined) this.#addTo(span.first, change * span.keys);
        const [first, end] = this.#span.get(key) as [Buffer, Buffer | null];
        span = { first, end, keys: 1 };
      } else {
        const { changes } = this.#addAt.run(change, key);
        assert(changes === 1, 'every key is in a block');
      }
    }
    if (span !== undefined) this.#addTo(span.first, change * span.keys);
  }

  #split(key: Uint8Array): void {
    const before = this.#block.get(key) as Buffer;
    const next = this.#next.get(key) as Buffer | undefined;
    const keys = (next === undefined ? this.#countFrom.get(key) : this.#count.get(key, next)) as number;
    this.#insert.run(key, keys);
    this.#addTo(before, -keys);
  }

  #join(key: Uint8Array): void {
    const keys = this.#keys.get(key) as number | undefined;
    assert(keys !== undefined, 'a key that begins a block has its row');
    this.#delete.run(key);
    this.#addTo(this.#block.get(key) as Buffer, keys);
  }

  #addTo(first: Uint8Array, keys: number): void {
    const { changes } = this.#add.run(keys, first);
    assert(changes === 1, 'a block that keys are in has its row');
  }
}

function isWithin(key: Uint8Array, first: Uint8Array, end: Uint8Array | null): boolean {
  return compareBytes(key, first) >= 0 && (end === null || compareBytes(key, end) < 0);
}

/** Counts the blocks of a cache that is being filled; their rows are there, also some of keys that have died since. */
export function countBlocks(connection: Connection): void {
  const next =
    '(SELECT next.first FROM key_blocks AS next WHERE next.first > key_blocks.first ORDER BY 1 LIMIT 1)';
  connection.exec(`
    DELETE FROM key_blocks WHERE first <> X'' AND first NOT IN (SELECT key FROM current);
    UPDATE key_blocks SET keys = (SELECT count(*) FROM current WHERE key >= first AND key < ${next});
    UPDATE key_blocks SET keys = (SELECT count(*) FROM current WHERE key >= first)
      WHERE first = (SELECT max(first) FROM key_blocks);
  `);
}
