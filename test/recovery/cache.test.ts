import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import {
  closeSync,
  cpSync,
  existsSync,
  openSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { beginUnsynced, isUnsynced, mayBeTorn } from '../../src/shared/base/unsynced.ts';
import { PAGE_BYTES } from '../../src/workers/sqlite/database.ts';
import { Ledger } from '../crash/ledger.ts';
import { newSite, type Site, withSite } from '../crash/victim-process.ts';
import { temporaryDirectory } from '../support/netsy.ts';
import { Seeded } from '../support/seeded.ts';

const OPERATIONS = 12;
/** Of tests for which a cache must not need syncs. */
const unsynced = {
  skip: beginUnsynced(join(temporaryDirectory(), 'file'))
    ? false
    : 'the directory of temporary files is not on a local file system of Linux',
};

interface Written {
  readonly site: Site;
  readonly ledger: Ledger;
  readonly cache: string;
  readonly file: string;
}

/** A store with some writes, its server killed. */
async function written(seed: number): Promise<Written> {
  const site = newSite();
  const ledger = new Ledger(seed, 12);
  const cache = join(site.dataDir, 'cache');
  const written = { site, ledger, cache, file: join(cache, 'cache.sqlite') };
  await write(written);
  return written;
}

function write({ site, ledger }: Written): Promise<string> {
  return withSite(site, ledger, 'kill', (client) => ledger.load(client, { operationsMax: OPERATIONS }));
}

/** Restarts twice: right away, and again on what that start left. */
async function restart({ site, ledger }: Written): Promise<string> {
  const log = await withSite(site, ledger, 'kill');
  const again = await withSite(site, ledger, 'stop');
  assert.doesNotMatch(again, /rebuilt/, 'the cache is good again');
  return log;
}

function chunksFollowed(log: string): number {
  return Number(/"chunks":(\d+),.*"msg":"followed the log"/.exec(log)?.[1]);
}

describe('the cache at start', { timeout: 300_000 }, () => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);

  it('is kept when it is a prefix of the log, so that only the rest is read', async (test) => {
    test.diagnostic(`SEED=${seed}`);
    const store = await written(seed);
    const log = await restart(store);
    assert.doesNotMatch(log, /rebuilt/);
    assert.ok(chunksFollowed(log) < store.ledger.acknowledged / 4, 'most of the log was not read again');
  });

  it(
    'is marked with the boot while it is not synced, and no more when the server was stopped',
    unsynced,
    async () => {
      const store = await written(seed);
      assert.ok(isUnsynced(store.file), 'a killed server leaves the mark');
      await withSite(store.site, store.ledger, 'stop');
      assert.ok(!isUnsynced(store.file) && !mayBeTorn(store.file));
      const log = await restart(store);
      assert.doesNotMatch(log, /rebuilt/);
    },
  );

  it('is rebuilt when the system has ended since it was written, and the log says so', unsynced, async () => {
    const store = await written(seed);
    writeFileSync(`${store.file}-boot`, `${randomUUID()}\n`);
    assert.match(
      await restart(store),
      /"reason":"the system ended before.*"msg":"cache could not be used and is rebuilt"/,
    );
  });

  it('is filled from the log when it was deleted', async () => {
    const store = await written(seed);
    rmSync(store.cache, { recursive: true });
    const log = await restart(store);
    assert.ok(chunksFollowed(log) >= readdirSync(join(store.site.dataDir, 'store', 'chunks')).length - 5);
  });

  it('is filled from the log when only its write-ahead log was deleted, or only its database', async () => {
    const store = await written(seed);
    rmSync(`${store.file}-wal`);
    await restart(store);
    await write(store);
    assert.ok(existsSync(`${store.file}-wal`), 'a killed server leaves it');
    rmSync(store.file);
    await restart(store);
  });

  it('goes on from an older copy', async () => {
    const store = await written(seed);
    const older = join(store.site.dataDir, 'older');
    cpSync(store.cache, older, { recursive: true });
    await write(store);
    await write(store);
    rmSync(store.cache, { recursive: true });
    cpSync(older, store.cache, { recursive: true });
    assert.doesNotMatch(await restart(store), /rebuilt/);
  });

  it('is rebuilt when it is from another store, ahead of this one or behind it, and the log says so', async () => {
    const [store, ahead] = [await written(seed), await written(seed + 1)];
    await write(ahead);
    // Its one chunk is an epoch chunk, and every store has one at sequence 1.
    const behind = newSite();
    await withSite(behind, new Ledger(seed), 'stop');
    for (const [from, why] of [
      [ahead.cache, 'no'],
      [join(behind.dataDir, 'cache'), 'another'],
    ] as const) {
      rmSync(store.cache, { recursive: true });
      cpSync(from, store.cache, { recursive: true });
      const log = await restart(store);
      const said = new RegExp(
        `"reason":"the store has ${why} chunks/.*"msg":"cache is not from this store and is rebuilt"`,
      );
      assert.match(log, said);
    }
  });

  it('is rebuilt when it is garbage, truncated or empty of a schema, and the log says so', async (test) => {
    test.diagnostic(`SEED=${seed}`);
    const store = await written(seed);
    const seeded = new Seeded(seed);
    await withSite(store.site, store.ledger, 'stop');
    writeFileSync(store.file, Buffer.from(seeded.text(100_000)));
    assert.match(await restart(store), /"msg":"cache could not be used and is rebuilt"/);
    truncateSync(store.file, 8192);
    assert.match(await restart(store), /"msg":"cache could not be used and is rebuilt"/);
    truncateSync(store.file, 0);
    await restart(store);
  });

  for (const page of [1, 9, 30]) {
    it(`is rebuilt when it is garbage from page ${page} on, if need be by the start after`, async (test) => {
      test.diagnostic(`SEED=${seed}`);
      const store = await written(seed);
      await withSite(store.site, store.ledger, 'stop');
      const from = page * PAGE_BYTES;
      const garbage = Buffer.from(new Seeded(seed).text(statSync(store.file).size - from));
      overwrite(store.file, from, garbage);
      const failure = await failureOf(withSite(store.site, store.ledger, 'stop'));
      // A server that found the damage while it served has ended and thrown the cache away.
      if (failure !== '') assert.match(failure, /is damaged .* and was thrown away/);
      await restart(store);
    });
  }
});

async function failureOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => '',
    (error: Error) => error.message,
  );
}

function overwrite(file: string, offset: number, bytes: Buffer): void {
  const descriptor = openSync(file, 'r+');
  writeSync(descriptor, bytes, 0, bytes.length, offset);
  closeSync(descriptor);
}
