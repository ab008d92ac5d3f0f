import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { KV } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { bytes, EtcdClient } from '../support/etcd-client.ts';
import { MAIN, runNetsy, startNetsy, temporaryDirectory } from '../support/netsy.ts';
import { startProcess } from '../support/process.ts';
import { madeSnapshot, puts } from './made.ts';

const KEYS = 1500;
const VALUE_BYTES = 12_000;

function chunksIn(directory: string): number {
  const chunks = join(directory, 'chunks');
  return existsSync(chunks) ? readdirSync(chunks).length : 0;
}

/** Starts an import and ends it by SIGKILL when the store has `chunks` chunks. */
async function killedImport(file: string, directory: string, chunks: number): Promise<void> {
  const store = pathToFileURL(directory).href;
  const child = await startProcess({
    command: process.execPath,
    arguments: [MAIN, 'import', file, '--store', store],
    logFile: join(temporaryDirectory(), 'import.log'),
  });
  while (child.running() && chunksIn(directory) < chunks) await sleep(1);
  await child.kill();
  assert.equal(await child.ended, 'signal SIGKILL');
}

test('an import that is killed is never served, is gone on with, and then is whole', {
  timeout: 180_000,
}, async () => {
  const directory = join(temporaryDirectory(), 'store');
  const store = pathToFileURL(directory).href;
  const file = madeSnapshot(puts(KEYS, VALUE_BYTES));
  const data = temporaryDirectory();
  for (const chunks of [1, 3]) {
    await killedImport(file, directory, chunks);
    const start = runNetsy([
      '--store',
      store,
      '--data-dir',
      data,
      '--listen-client-urls',
      'http://127.0.0.1:0',
    ]);
    assert.equal(start.code, 1, 'a server on a half import must not start');
    assert.match(start.stderr, /the store holds an import that did not end; run the same netsy import again/);
  }
  const other = madeSnapshot(puts(KEYS + 1, VALUE_BYTES));
  const refused = runNetsy(['import', other, '--store', store]);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /holds an import of something else/);

  const ended = runNetsy(['import', file, '--store', store, '--json']);
  assert.equal(ended.code, 0, ended.stderr);
  const { resumed, records, chunks } = JSON.parse(ended.stdout) as Record<string, unknown>;
  assert.deepEqual([resumed, records, chunks], [true, KEYS, chunksIn(directory)]);
  // On the data directory, and so the cache, of the starts that were refused.
  const netsy = await startNetsy({ dataDir: data, arguments: ['--store', store] });
  const client = new EtcdClient(netsy.authority);
  const all = { key: bytes('\0'), rangeEnd: bytes('\0'), countOnly: true };
  const { count, header } = await client.call(KV.method.range, all);
  assert.deepEqual([count, header!.revision], [BigInt(KEYS), BigInt(KEYS + 1)]);
  client.close();
  await netsy.stop();
});

test('an import into a store that a server has claimed is refused', async () => {
  const netsy = await startNetsy();
  const store = pathToFileURL(join(netsy.dataDir, 'store')).href;
  const run = runNetsy(['import', madeSnapshot(puts(3, 10)), '--store', store]);
  assert.equal(run.code, 1);
  assert.match(run.stderr, /is not empty/);
  await netsy.stop();
});
