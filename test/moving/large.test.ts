import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { KV } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { bytes, EtcdClient } from '../support/etcd-client.ts';
import { MAIN, startNetsy, temporaryDirectory } from '../support/netsy.ts';
import { missingTools } from '../support/tools.ts';
import { madeSnapshot, puts } from './made.ts';
import { etcdFrom, fileHashKv, saveSnapshot, snapshotStatus } from './tools.ts';

const KEYS = 100_000;
const HEAP_MIB = 64;

describe('a hundred thousand keys', { timeout: 180_000, skip: missingTools('go') }, () => {
  it('go in and out in little memory, and a real etcd can delete and compact them', async () => {
    const file = madeSnapshot(puts(KEYS, 60));
    const store = pathToFileURL(join(temporaryDirectory(), 'store')).href;
    const words = [`--max-old-space-size=${HEAP_MIB}`, MAIN, 'import', file, '--store', store];
    const run = spawnSync(process.execPath, words, { encoding: 'utf8' });
    assert.equal(run.status, 0, run.stderr);

    const netsy = await startNetsy({ arguments: ['--store', store] });
    const saved = await saveSnapshot(netsy.endpoint);
    await netsy.stop();
    const { revision, totalKey } = await snapshotStatus(saved);
    assert.deepEqual([revision, totalKey], [KEYS + 1, KEYS]);
    assert.deepEqual(await fileHashKv(saved), await fileHashKv(file));

    const etcd = await etcdFrom(saved);
    const client = new EtcdClient(new URL(etcd.endpoint).host);
    const all = { key: bytes('\0'), rangeEnd: bytes('\0') };
    const { deleted, header } = await client.call(KV.method.deleteRange, all);
    assert.equal(deleted, BigInt(KEYS));
    // Empties nearly every page of our tree, which etcd would not survive if it were not as bbolt makes them.
    await client.call(KV.method.put, { key: bytes('last') });
    const revisionNow = header!.revision + 1n;
    await client.call(KV.method.compact, { revision: revisionNow, physical: true });
    const { count } = await client.call(KV.method.range, { ...all, countOnly: true });
    assert.equal(count, 1n);
    client.close();
    await etcd.process.stop();
  });
});
