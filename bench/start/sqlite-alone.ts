import { join } from 'node:path';
import Database from 'better-sqlite3';

/** Rows per transaction. */
const TRANSACTION = 5000;

/**
 * Records per second that SQLite alone takes on this machine at this moment: `count` of them in the order of their keys
 * into a table with the values and one with the keys, without a log, syncs or anything before it. In `directory`.
 */
export function sqliteAlone(directory: string, count: number, valueBytes: number): number {
  const database = new Database(join(directory, 'alone.sqlite'));
  for (const pragma of [
    'page_size = 8192',
    'journal_mode = OFF',
    'synchronous = OFF',
    'cache_size = -65536',
  ]) {
    database.pragma(pragma);
  }
  database.exec(`
    CREATE TABLE history (id INTEGER PRIMARY KEY, key BLOB NOT NULL, kv BLOB NOT NULL);
    CREATE TABLE current (key BLOB PRIMARY KEY, id INTEGER NOT NULL) WITHOUT ROWID`);
  const history = database.prepare('INSERT INTO history VALUES (?, ?, ?)');
  const current = database.prepare('INSERT INTO current VALUES (?, ?)');
  const insert = database.transaction((from: number, to: number) => {
    for (let id = from; id < to; id++) {
      const key = Buffer.from(`/registry/pods/namespace/pod-${String(id).padStart(9, '0')}`);
      history.run(id, key, Buffer.alloc(valueBytes, id));
      current.run(key, id);
    }
  });
  const begun = performance.now();
  for (let from = 0; from < count; from += TRANSACTION) insert(from, Math.min(count, from + TRANSACTION));
  const seconds = (performance.now() - begun) / 1000;
  database.close();
  return Math.round(count / seconds);
}
