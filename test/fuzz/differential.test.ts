import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { DescMethod } from '@bufbuild/protobuf';
import { Auth, Cluster, KV, Lease, Maintenance } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { Election } from '../../src/shared/etcd/gen/v3electionpb/v3election_pb.ts';
import { Lock } from '../../src/shared/etcd/gen/v3lockpb/v3lock_pb.ts';
import { startEtcd } from '../support/etcd.ts';
import { EtcdClient, settled } from '../support/etcd-client.ts';
import { type Netsy, startNetsy, temporaryDirectory } from '../support/netsy.ts';
import { Seeded } from '../support/seeded.ts';
import { missingTools } from '../support/tools.ts';
import { randomMessage, type Shape } from './messages.ts';

/**
 * Methods that neither end etcd (Alarm with an unknown action does), nor wait, nor answer otherwise on a server that
 * keeps its log elsewhere, or a moment later (leases of a second or two end).
 */
const METHODS: readonly DescMethod[] = [
  ...[KV.method.range, KV.method.put, KV.method.deleteRange, KV.method.txn],
  ...[Lease.method.leaseRevoke, Lease.method.leaseTimeToLive, Lease.method.leaseLeases],
  ...[Auth.method.userGet, Auth.method.roleGet, Auth.method.roleGrantPermission, Auth.method.authenticate],
  ...[Cluster.method.memberList, Maintenance.method.status, Maintenance.method.hash],
  ...[Lock.method.unlock, Election.method.leader, Election.method.resign],
];
const SHAPES: ReadonlySet<Shape> = new Set([
  'message',
  'cut',
  'flipped',
  'noise',
  'lying lengths',
  'repeated',
]);
const TRIES = 800;

describe('bad protobuf beside a real etcd', { timeout: 240_000, skip: missingTools('go') }, () => {
  let netsy: Netsy;
  let etcd: Awaited<ReturnType<typeof startEtcd>>;
  before(async () => {
    netsy = await startNetsy();
    etcd = await startEtcd(temporaryDirectory());
  });
  after(async () => {
    await netsy?.stop();
    await etcd?.process.stop();
  });

  it('gets the same code and text, or none from both', async (context) => {
    const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
    context.diagnostic(`seed ${seed}`);
    const random = new Seeded(seed);
    const peers = [new EtcdClient(netsy.authority), new EtcdClient(new URL(etcd.endpoint).host)] as const;
    let refused = 0;
    try {
      for (let tries = 0; tries < TRIES; tries++) {
        const method = random.pick(METHODS);
        const { shape, bytes } = randomMessage(random, method.input);
        if (!SHAPES.has(shape)) continue;
        const [ours, theirs] = await Promise.all(peers.map((peer) => failure(peer, method, bytes)));
        const what = `try ${tries}: ${method.name}, ${shape}: ${Buffer.from(bytes).toString('hex')}`;
        assert.equal(ours, theirs, what);
        if (ours?.startsWith('13')) refused++;
      }
    } finally {
      for (const peer of peers) peer.close();
    }
    assert.ok(refused > 30, `only ${refused} messages could not be decoded`);
  });
});

/**
 * The code and text of a call's failure. protobuf's Go library says `proto:` with either kind of space; and of a message
 * that has text which is no UTF-8 and is cut off later, either may be said.
 */
async function failure(peer: EtcdClient, method: DescMethod, bytes: Uint8Array): Promise<string | undefined> {
  const outcome = await settled(peer.callBytes(method, bytes));
  if (!('failure' in outcome)) return undefined;
  return `${outcome.failure.code} ${outcome.failure.details}`
    .replace('proto:\u00a0', 'proto: ')
    .replace('string field contains invalid UTF-8', 'proto: cannot parse invalid wire-format data');
}
