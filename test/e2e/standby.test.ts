import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { status } from '@grpc/grpc-js';
import {
  AlarmRequest_AlarmAction,
  AlarmType,
  Cluster,
  KV,
  Lease,
  Maintenance,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { Client } from '../crash/client.ts';
import { Nodes, STORE_KINDS, type StoreKind } from '../crash/nodes.ts';
import { eventually } from '../kube/parallel.ts';
import { bytes, EtcdClient, type Failure, failureOf, text } from '../support/etcd-client.ts';
import type { Netsy } from '../support/netsy.ts';

const NO_LEADER: Failure = { code: status.UNAVAILABLE, details: 'etcdserver: no leader' };
const WITHIN_MS = 30_000;

async function page(netsy: Netsy, path: string): Promise<{ code: number; body: string }> {
  const response = await fetch(`${netsy.endpoint}${path}`);
  return { code: response.status, body: await response.text() };
}

describe('a standby', { timeout: 120_000 }, () => {
  let kind: StoreKind;
  let nodes: Nodes;
  let primary: Netsy;
  let standby: Netsy;
  let first: EtcdClient;
  let second: EtcdClient;

  before(async () => {
    kind = await STORE_KINDS[0]!.make();
    nodes = new Nodes(kind);
    primary = await nodes.start({ leaseTtl: '2s', arguments: ['--name', 'one'] });
    standby = await nodes.start({ leaseTtl: '2s', arguments: ['--name', 'two'] });
    first = new EtcdClient(primary.authority);
    second = new EtcdClient(standby.authority);
  });
  after(async () => {
    first.close();
    second.close();
    await nodes.end();
    await kind.remove();
  });

  const put = (key: string, value: string) =>
    first.call(KV.method.put, { key: bytes(key), value: bytes(value) });

  it('answers serializable reads, and refuses for now what only the primary can do', async () => {
    await put('key', 'value');
    await eventually(
      'the standby does not follow',
      WITHIN_MS,
      async () => {
        const request = { key: bytes('key'), serializable: true };
        const { kvs, header } = await second.call(KV.method.range, request);
        if (kvs.length === 0) return undefined;
        assert.equal(text(kvs[0]!.value), 'value');
        const ahead = await first.call(KV.method.range, request);
        const { clusterId, raftTerm, revision } = ahead.header!;
        assert.deepEqual([header!.clusterId, header!.raftTerm], [clusterId, raftTerm]);
        assert.equal(header!.revision, revision);
        return true;
      },
      20,
    );
    const key = bytes('key');
    const success = [{ request: { case: 'requestPut', value: { key } } }] as const;
    const refused: Record<string, Promise<unknown>> = {
      put: second.call(KV.method.put, { key }),
      delete: second.call(KV.method.deleteRange, { key }),
      txn: second.call(KV.method.txn, { success: [...success] }),
      compact: second.call(KV.method.compact, { revision: 2n }),
      range: second.call(KV.method.range, { key }),
      grant: second.call(Lease.method.leaseGrant, { TTL: 60n }),
      revoke: second.call(Lease.method.leaseRevoke, { ID: 1n }),
      timeToLive: second.call(Lease.method.leaseTimeToLive, { ID: 1n }),
      leases: second.call(Lease.method.leaseLeases, {}),
      keepAlive: second.exchange(Lease.method.leaseKeepAlive, [{ ID: 1n }]),
    };
    // Asked for at once: they may all fail in one turn of the event loop.
    const failures = Object.entries(refused).map(([name, call]) => [name, failureOf(call)] as const);
    for (const [name, failure] of failures) assert.deepEqual(await failure, NO_LEADER, name);
    const transfer = second.call(Maintenance.method.moveLeader, { targetID: 1n });
    assert.equal((await failureOf(transfer)).details, 'etcdserver: not leader');
  });

  it('learns of what is not a key, such as alarms', async () => {
    const alarm = (action: AlarmRequest_AlarmAction) =>
      first.call(Maintenance.method.alarm, { action, memberID: 1n, alarm: AlarmType.CORRUPT });
    const shown = (expected: number) => async (): Promise<true | undefined> => {
      const { code } = await page(standby, '/health?serializable=true');
      return code === expected ? true : undefined;
    };
    await alarm(AlarmRequest_AlarmAction.ACTIVATE);
    await eventually('the alarm does not come', WITHIN_MS, shown(503), 20);
    await alarm(AlarmRequest_AlarmAction.DEACTIVATE);
    await eventually('the alarm does not go', WITHIN_MS, shown(200), 20);
  });

  it('says whose standby it is', async () => {
    const one = await first.call(Maintenance.method.status, {});
    const two = await second.call(Maintenance.method.status, {});
    assert.equal(one.leader, one.header!.memberId);
    assert.equal(two.leader, one.header!.memberId);
    assert.notEqual(two.header!.memberId, one.header!.memberId);
    assert.deepEqual([one.errors, two.errors], [[], []]);
    const { members } = await second.call(Cluster.method.memberList, { linearizable: true });
    assert.deepEqual(
      members.map(({ ID, name, clientURLs }) => [ID, name, clientURLs]),
      [
        [one.header!.memberId, 'one', [primary.endpoint]],
        [two.header!.memberId, 'two', [standby.endpoint]],
      ],
    );
  });

  it('is alive, not ready for writes, and ready for those who ask for serializable reads alone', async () => {
    assert.equal((await page(standby, '/livez')).code, 200);
    assert.equal((await page(standby, '/health?serializable=true')).code, 200);
    const { code, body } = await page(standby, '/health');
    assert.equal(code, 503);
    assert.match(
      body,
      new RegExp(`no leader here \\(this is a standby; the primary is at ${primary.endpoint}\\)`),
    );
    assert.match((await page(standby, '/readyz')).body, /\[-\]linearizable_read failed/);
    assert.equal((await page(standby, '/readyz?exclude=linearizable_read')).code, 200);
    const metrics = (await page(standby, '/metrics')).body;
    assert.match(metrics, /^etcd_server_has_leader 1$/m);
    assert.match(metrics, /^etcd_server_is_leader 0$/m);
    assert.match((await page(primary, '/metrics')).body, /^etcd_server_is_leader 1$/m);
  });

  it('keeps watches through a takeover, also those that require a leader', async () => {
    const wary = new Client(standby.authority, true);
    const request = { requestUnion: { case: 'createRequest', value: { key: bytes('seen') } } } as const;
    const watch = wary.watch();
    watch.send(request);
    assert.equal((await watch.next()).created, true);
    await put('seen', 'one');
    assert.equal((await watch.next()).events.length, 1);
    process.kill(primary.pid, 'SIGSTOP');
    await eventually('the standby does not take over', WITHIN_MS, async () => {
      const { leader, header } = await second.call(Maintenance.method.status, {});
      return leader === header!.memberId ? true : undefined;
    });
    process.kill(primary.pid, 'SIGCONT');
    assert.equal(await primary.exited, 'exit code 1');
    await second.call(KV.method.put, { key: bytes('seen'), value: bytes('two') });
    const [event] = (await watch.next()).events;
    assert.equal(text(event!.kv!.value), 'two');
    watch.cancel();
    wary.close();
  });
});
