import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { KV, Lease } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { bytes, EtcdClient, failureOf, text } from '../support/etcd-client.ts';
import { startNetsy } from '../support/netsy.ts';
import { Fixture, keysOf } from './fixture.ts';

const { leaseGrant, leaseRevoke, leaseKeepAlive, leaseTimeToLive, leaseLeases } = Lease.method;
const NOT_FOUND = { code: 5, details: 'etcdserver: requested lease not found' };

describe('Lease over gRPC', { timeout: 60_000 }, () => {
  const server = new Fixture();

  it('Grant takes the id it is given or chooses one, without a revision', async () => {
    const before = (await server.range('x')).header?.revision;
    const chosen = await server.client.call(leaseGrant, { ID: 5n, TTL: 60n });
    assert.deepEqual([chosen.ID, chosen.TTL, chosen.error], [5n, 60n, '']);
    const own = await server.client.call(leaseGrant, { TTL: 1n });
    assert.ok(own.ID > 0n);
    assert.equal(own.TTL, 2n, 'etcd grants at least two seconds');
    assert.equal(own.header?.revision, before);
    assert.deepEqual(await failureOf(server.client.call(leaseGrant, { ID: 5n, TTL: 60n })), {
      code: 9,
      details: 'etcdserver: lease already exists',
    });
    assert.deepEqual(await failureOf(server.client.call(leaseGrant, { TTL: 9_000_000_001n })), {
      code: 11,
      details: 'etcdserver: too large lease TTL',
    });
  });

  it('TimeToLive and Leases know it and its keys; a lease that is not there has -1', async () => {
    await server.client.call(leaseGrant, { ID: 6n, TTL: 100n });
    await server.put('ttl/b', '', { lease: 6n });
    await server.put('ttl/a', '', { lease: 6n });
    await server.put('ttl/gone', '', { lease: 6n });
    await server.put('ttl/gone', '');
    const told = await server.client.call(leaseTimeToLive, { ID: 6n, keys: true });
    assert.ok(told.TTL > 90n && told.TTL <= 100n);
    assert.deepEqual([told.grantedTTL, told.keys.map(text)], [100n, ['ttl/a', 'ttl/b']]);
    const missing = await server.client.call(leaseTimeToLive, { ID: 404n, keys: true });
    assert.deepEqual([missing.ID, missing.TTL, missing.grantedTTL], [404n, -1n, 0n]);
    const { leases } = await server.client.call(leaseLeases, {});
    assert.ok(leases.some(({ ID }) => ID === 6n));
  });

  it('KeepAlive answers each message in order, and 0 for a lease that is not there', async () => {
    await server.client.call(leaseGrant, { ID: 7n, TTL: 30n });
    const answers = await server.client.exchange(leaseKeepAlive, [{ ID: 7n }, { ID: 404n }, { ID: 7n }]);
    assert.deepEqual(
      answers.map(({ ID, TTL }) => [ID, TTL]),
      [
        [7n, 30n],
        [404n, 0n],
        [7n, 30n],
      ],
    );
  });

  it('Revoke deletes the attached keys in one revision, and only them', async () => {
    await server.client.call(leaseGrant, { ID: 8n, TTL: 60n });
    for (const key of ['r/a', 'r/b']) await server.put(key, '', { lease: 8n });
    const { header } = await server.put('r/free');
    const revoked = await server.client.call(leaseRevoke, { ID: 8n });
    assert.equal(revoked.header?.revision, header!.revision + 1n);
    assert.deepEqual(keysOf(await server.range('r/', 'r0')), ['r/free']);
    const before = await server.range('r/', 'r0', { revision: header!.revision });
    assert.deepEqual(keysOf(before), ['r/a', 'r/b', 'r/free']);
    assert.deepEqual(await failureOf(server.client.call(leaseRevoke, { ID: 8n })), NOT_FOUND);
    assert.deepEqual(await failureOf(server.put('r/a', '', { lease: 8n })), NOT_FOUND);
  });

  it('a lease that is not kept alive ends: its keys go in one revision, one that is kept stays', async () => {
    await server.client.call(leaseGrant, { ID: 20n, TTL: 2n });
    await server.client.call(leaseGrant, { ID: 21n, TTL: 2n });
    for (const key of ['e/a', 'e/b']) await server.put(key, '', { lease: 20n });
    const { header } = await server.put('e/kept', '', { lease: 21n });
    while ((await server.range('e/', 'e0')).count === 3n) {
      await server.client.exchange(leaseKeepAlive, [{ ID: 21n }]);
      await sleep(100);
    }
    const after = await server.range('e/', 'e0');
    assert.deepEqual(keysOf(after), ['e/kept']);
    assert.equal(after.header?.revision, header!.revision + 1n);
    const ended = await server.client.exchange(leaseKeepAlive, [{ ID: 20n }]);
    assert.equal(ended[0]?.TTL, 0n);
  });

  it('leases and their keys outlive a restart', async () => {
    const first = await startNetsy();
    const client = new EtcdClient(first.authority);
    await client.call(leaseGrant, { ID: 9n, TTL: 500n });
    await client.call(KV.method.put, { key: bytes('k'), lease: 9n });
    client.close();
    await first.kill();
    const second = await startNetsy({ dataDir: first.dataDir });
    const again = new EtcdClient(second.authority);
    const told = await again.call(leaseTimeToLive, { ID: 9n, keys: true });
    assert.deepEqual([told.grantedTTL, told.keys.map(text)], [500n, ['k']]);
    again.close();
    assert.equal(await second.stop(), 'exit code 0');
  });
});
