import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { KV } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import type { Etcd } from '../support/etcd.ts';
import { bytes, EtcdClient } from '../support/etcd-client.ts';
import { type Netsy, startNetsy } from '../support/netsy.ts';
import { missingTools } from '../support/tools.ts';
import { assertSameState, hashKvOf, stateOf, writeHistory } from './history.ts';
import { etcdFrom, saveSnapshot, snapshotStatus } from './tools.ts';

const FRESH_SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31));

describe('moving out: etcdctl snapshot save, then a real etcd', {
  timeout: 180_000,
  skip: missingTools('go'),
}, () => {
  let netsy: Netsy;
  let etcd: Etcd | undefined;

  before(async () => {
    netsy = await startNetsy();
  });
  after(async () => {
    await etcd?.process.stop();
    await netsy?.stop();
  });

  const authority = (): string => new URL(etcd!.endpoint).host;

  it('an empty server gives a snapshot that etcdutl takes', async () => {
    const file = await saveSnapshot(netsy.endpoint);
    const { revision, totalKey, totalSize, version } = await snapshotStatus(file);
    assert.deepEqual([revision, totalKey, version], [0, 0, '3.6.0']);
    assert.equal(readFileSync(file).length, totalSize + 32);
  });

  it(`every key, revision, event and lease of a random history is served (seed ${FRESH_SEED})`, async () => {
    const client = new EtcdClient(netsy.authority);
    await writeHistory(client, FRESH_SEED, 110);
    // Larger than any page, and the largest request that etcd takes.
    const large = { key: bytes('large'), value: bytes('L'.repeat(1_500_000)) };
    await client.call(KV.method.put, large);
    await client.call(KV.method.put, { key: bytes('large'), value: bytes('l'.repeat(1_499_999)) });
    client.close();
    const state = await stateOf(netsy.authority);
    const file = await saveSnapshot(netsy.endpoint);
    const status = await snapshotStatus(file);
    assert.equal(String(status.revision), state.revision);
    etcd = await etcdFrom(file);
    assertSameState(await stateOf(authority()), state);
    assert.deepEqual(await hashKvOf(authority()), await hashKvOf(netsy.authority));
  });

  it('the etcd goes on at the next revision, and can compact what it was given', async () => {
    const client = new EtcdClient(authority());
    const { revision } = (await client.call(KV.method.range, { key: bytes('a') })).header!;
    const put = await client.call(KV.method.put, { key: bytes('new') });
    assert.equal(put.header?.revision, revision + 1n);
    await client.call(KV.method.compact, { revision: revision + 1n, physical: true });
    client.close();
  });
});
