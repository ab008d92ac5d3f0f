import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { walPages } from '../../src/main/upkeep/wal-index.ts';
import { openToWrite } from '../../src/workers/sqlite/database.ts';
import { temporaryDirectory } from '../support/netsy.ts';

test('the pages of the write-ahead log are those that SQLite itself counts, also when it starts anew', async () => {
  const file = join(temporaryDirectory(), 'cache.sqlite');
  const connection = openToWrite(file);
  const insert = connection.prepare('INSERT INTO system (name, value) VALUES (?, ?)');
  const counted = (): number => (connection.pragma('wal_checkpoint(PASSIVE)') as { log: number }[])[0]!.log;
  for (let round = 0; round < 3; round++) {
    for (let count = 0; count < 50; count++) insert.run(`${round} ${count}`, Buffer.alloc(20_000));
    const { logged, copied } = await walPages(file);
    assert.ok(logged > 100, `only ${logged}`);
    assert.ok(copied < logged, `${copied} of ${logged} are copied`);
    assert.equal(logged, counted());
    assert.deepEqual(await walPages(file), { logged, copied: logged }, 'counting them copied them');
    insert.run(`first of ${round + 1}`, Buffer.alloc(1));
    const anew = await walPages(file);
    assert.ok(anew.logged < 20, 'all of it was copied, so it began anew');
    assert.equal(anew.copied, 0);
  }
  connection.close();
});
