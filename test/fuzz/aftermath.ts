import assert from 'node:assert/strict';
import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  AlarmRequest_AlarmAction,
  KV,
  Lease,
  Maintenance,
  Watch,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { bytes, EtcdClient, text } from '../support/etcd-client.ts';
import { type Netsy, startNetsy } from '../support/netsy.ts';

/** Ends alarms: a request that was meant badly may well have raised one. */
async function disarm(client: EtcdClient): Promise<void> {
  const { alarms } = await client.call(Maintenance.method.alarm, {});
  for (const { memberID, alarm } of alarms) {
    await client.call(Maintenance.method.alarm, {
      action: AlarmRequest_AlarmAction.DEACTIVATE,
      memberID,
      alarm,
    });
  }
}

/** Whether a client who means well is served: writes, reads, leases, watches. */
export async function assertServes(netsy: Netsy): Promise<void> {
  const client = new EtcdClient(netsy.authority);
  try {
    await disarm(client);
    const key = bytes('well-meant');
    const { header } = await client.call(KV.method.put, { key, value: bytes('here') });
    const { kvs } = await client.call(KV.method.range, { key });
    assert.equal(text(kvs[0]?.value), 'here');
    const { ID } = await client.call(Lease.method.leaseGrant, { TTL: 60n });
    const [alive] = await client.exchange(Lease.method.leaseKeepAlive, [{ ID }]);
    assert.equal(alive?.TTL, 60n);
    await client.call(Lease.method.leaseRevoke, { ID });
    await new Promise<void>((resolve, reject) => {
      const request = {
        requestUnion: { case: 'createRequest', value: { key, startRevision: header!.revision } },
      } as const;
      client.watch(Watch.method.watch, request, ({ events }) => events.length > 0 && resolve()).catch(reject);
    });
  } finally {
    client.close();
  }
}

/** All that is there at a revision; the newest when there is none. */
async function contents(netsy: Netsy, revision = 0n): Promise<{ revision: bigint; kvs: unknown }> {
  const client = new EtcdClient(netsy.authority);
  try {
    const { header, kvs } = await client.call(KV.method.range, {
      key: bytes('\0'),
      rangeEnd: bytes('\0'),
      revision,
    });
    return { revision: header!.revision, kvs };
  } finally {
    client.close();
  }
}

/**
 * Whether a server that is killed and has to start from its store alone has everything it acknowledged. Resolves to the
 * new process.
 */
export async function assertKept(netsy: Netsy): Promise<Netsy> {
  const before = await contents(netsy);
  await netsy.kill();
  for (const file of readdirSync(netsy.dataDir, { recursive: true, encoding: 'utf8' })) {
    if (/cache\.sqlite/.test(file)) rmSync(join(netsy.dataDir, file));
  }
  const again = await startNetsy({ dataDir: netsy.dataDir });
  // A lease may have ended meanwhile, which is a newer revision.
  assert.deepEqual((await contents(again, before.revision)).kvs, before.kvs);
  return again;
}
