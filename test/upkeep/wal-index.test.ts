import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { loggedPages } from '../../src/main/upkeep/wal-index.ts';
import { openToWrite } from '../../src/workers/sqlite/database.ts';
import { temporaryDirectory } from '../support/netsy.ts';

test('the pages of the write-ahead log are those that SQLite itself counts, also when it starts anew', async () => {
  const file = join(temporaryDirectory(), 'cache.sqlite');
  const connection = openToWrite(file);
  const insert = connection.prepare('INSERT INTO system (name, value) VALUES (?, ?)');
  const counted = (): number => (connection.pragma('wal_checkpoint(PASSIVE)') as { log: number }[])[0]!.log;
  for (let round = 0; round < 3; round++) {
    for (let count = 0; count < 50; count++) insert.run(`${round} ${count}`, Buffer.alloc(20_000));
    const pages = await loggedPages(file);
    assert.ok(pages > 100, `only ${pages}`);
    assert.equal(pages, counted());
    insert.run(`first of ${round + 1}`, Buffer.alloc(1));
    assert.ok((await loggedPages(file)) < 20, 'all of it was copied, so it began anew');
  }
  connection.close();
});
