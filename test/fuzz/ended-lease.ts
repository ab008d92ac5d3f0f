import { fromBinary } from '@bufbuild/protobuf';
import {
  AlarmRequest_AlarmAction,
  AlarmType,
  Lease,
  LeaseKeepAliveRequestSchema,
  Maintenance,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { EtcdClient } from '../support/etcd-client.ts';
import type { Netsy } from '../support/netsy.ts';

/** The lease that a keep-alive names, in protobuf or JSON; undefined when it can't be told. */
export function leaseNamed(request: Uint8Array | string): bigint | undefined {
  try {
    if (typeof request !== 'string') return fromBinary(LeaseKeepAliveRequestSchema, request).ID;
    return BigInt((JSON.parse(request) as { ID: string | number }).ID);
  } catch {
    return undefined;
  }
}

/**
 * Whether it is right that a keep-alive of this lease has no answer. One of a lease that has ended waits until the lease's
 * revoke is in the log, as in etcd (lessor.Renew). While the alarm CORRUPT is raised there is no such entry, for it
 * refuses revokes as well: so the answer comes when somebody disarms it, which is done here, and says that the lease is gone.
 * Whatever else keeps an answer back is a fault.
 */
export async function waitsForCorrupt(netsy: Netsy, ID: bigint | undefined): Promise<boolean> {
  if (ID === undefined) return false;
  const client = new EtcdClient(netsy.authority);
  try {
    const { alarms } = await client.call(Maintenance.method.alarm, {});
    const corrupt = alarms.filter(({ alarm }) => alarm === AlarmType.CORRUPT);
    const { TTL, grantedTTL } = await client.call(Lease.method.leaseTimeToLive, { ID });
    const hasEnded = grantedTTL > 0n && TTL < 0n;
    if (corrupt.length === 0 || !hasEnded) return false;
    for (const { memberID, alarm } of corrupt) {
      const action = AlarmRequest_AlarmAction.DEACTIVATE;
      await client.call(Maintenance.method.alarm, { action, memberID, alarm });
    }
    const [answer] = await client.exchange(Lease.method.leaseKeepAlive, [{ ID }]);
    return answer?.TTL === 0n;
  } finally {
    client.close();
  }
}
