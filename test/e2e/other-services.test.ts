import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  AlarmRequest_AlarmAction,
  Cluster,
  Maintenance,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { failureOf } from '../support/etcd-client.ts';
import { Fixture } from './fixture.ts';

const NO_BYTES = new Uint8Array();

describe('Maintenance, Cluster and Auth over gRPC', { timeout: 60_000 }, () => {
  const server = new Fixture({ arguments: ['--name', 'n1', '--advertise-client-urls', 'http://example:1'] });

  it('Status says who leads, which etcd this is like, and how large the cache is', async () => {
    const { header } = await server.put('a');
    const status = await server.client.call(Maintenance.method.status, {});
    assert.equal(status.header?.revision, header?.revision);
    assert.equal(status.leader, status.header?.memberId);
    assert.equal(status.version, '3.7.3');
    assert.ok(status.dbSize >= status.dbSizeInUse && status.dbSizeInUse > 0n);
    assert.ok(status.raftIndex >= status.raftAppliedIndex && status.raftAppliedIndex > 0n);
    assert.deepEqual([status.isLearner, status.errors], [false, []]);
  });

  it('Alarm lists none, and clearing none is no error', async () => {
    for (const action of [AlarmRequest_AlarmAction.GET, AlarmRequest_AlarmAction.DEACTIVATE]) {
      assert.deepEqual((await server.client.call(Maintenance.method.alarm, { action })).alarms, []);
    }
  });

  it('Defragment ends, and changes nothing that can be read', async () => {
    for (let index = 0; index < 20; index++) await server.put('big', 'x'.repeat(100_000));
    await server.client.call(Maintenance.method.defragment, {});
    assert.equal((await server.range('big')).kvs[0]?.value.length, 100_000);
  });

  it('MemberList is this member, under its name and advertised URL', async () => {
    const { header, members } = await server.client.call(Cluster.method.memberList, {});
    assert.equal(members.length, 1);
    assert.deepEqual(
      [members[0]?.ID, members[0]?.name, members[0]?.clientURLs],
      [header?.memberId, 'n1', ['http://example:1']],
    );
  });

  // What etcd 3.7.3 says of the same paths.
  for (const [typeName, name, details] of [
    ['etcdserverpb.KV', 'None', 'unknown method None for service etcdserverpb.KV'],
    ['etcdserverpb.None', 'Put', 'unknown service etcdserverpb.None'],
    ['a/b', 'c', 'unknown service a/b'],
    ['', 'Put', 'unknown service '],
  ] as const) {
    it(`a method that there is not is UNIMPLEMENTED, ${details}, and the connection goes on`, async () => {
      const unknown = { name, parent: { typeName } };
      const failure = await failureOf(server.client.callBytes(unknown, NO_BYTES));
      assert.deepEqual(failure, { code: 12, details });
      await server.put('a');
    });
  }
});
