import assert from 'node:assert/strict';
import { copyFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { KV } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { type Netsy, temporaryDirectory } from '../support/netsy.ts';
import { Ledger } from './ledger.ts';
import { endOf, type Nodes, roleAtStart, STORE_KINDS, type StoreKind, withNodes } from './nodes.ts';

const ROUNDS = 3;
const FENCED = /"error":"fenced: (chunk \d+ was written by another process|node \w+ has taken the lease)"/;

/** A data directory with another's node id: its process takes the lease for its own and does not wait. */
function cloneOf(node: Netsy): string {
  const dataDir = temporaryDirectory();
  copyFileSync(join(node.dataDir, 'node.sqlite'), join(dataDir, 'node.sqlite'));
  return dataDir;
}

/** The lease is good manners. What keeps the log whole when nobody heeds it is the log. */
describe('two processes that append to one log', { timeout: 400_000 }, () => {
  let kind: StoreKind;
  before(async () => {
    kind = await STORE_KINDS[0]!.make();
  });
  after(() => kind.remove());
  const on = (body: (nodes: Nodes) => Promise<void>): Promise<void> => withNodes(kind, body);

  it('the later one takes over; the earlier acknowledges nothing more and ends', (test) =>
    on(async (nodes) => {
      const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
      test.diagnostic(`SEED=${seed}`);
      const small = ['--batch-max-requests', '4', '--hedge-after', 'off'];
      const ledger = new Ledger(seed);
      let current = await nodes.start({ leaseTtl: '30s', arguments: small });
      for (let round = 0; round < ROUNDS; round++) {
        const client = nodes.client(current);
        await ledger.verify(client);
        const loaded = ledger.load(client);
        await ledger.untilAcknowledged(100);
        const next = await nodes.start({ leaseTtl: '30s', arguments: small, dataDir: cloneOf(current) });
        // Every lane ends: the writes of the earlier process fail from the moment of the claim.
        assert.equal(await endOf(current), 'exit code 1', current.log());
        await loaded;
        assert.match(current.log(), FENCED);
        current = next;
      }
      await ledger.verify(nodes.client(current));
      assert.equal(await current.stop(), 'exit code 0');
      test.diagnostic(`${ledger.acknowledged} acknowledged, ${ledger.unknown} of unknown fate`);
    }));

  it('an idle one learns of it at its next write, which it refuses', () =>
    on(async (nodes) => {
      const earlier = await nodes.start({ leaseTtl: '30s' });
      const later = await nodes.start({ leaseTtl: '30s', dataDir: cloneOf(earlier) });
      const put = nodes
        .client(earlier)
        .call(KV.method.put, { key: Buffer.from('a'), value: Buffer.from('b') });
      await assert.rejects(put, /leader changed|UNAVAILABLE/);
      assert.equal(await endOf(earlier), 'exit code 1');
      assert.equal(await nodes.client(later).revision(), 1, 'the refused write is not there');
    }));

  it('an idle one ends when it does not write, too: its lease is taken', () =>
    on(async (nodes) => {
      const earlier = await nodes.start({ leaseTtl: '3s' });
      await nodes.start({ leaseTtl: '3s', dataDir: cloneOf(earlier) });
      assert.equal(await endOf(earlier), 'exit code 1');
      assert.match(earlier.log(), /fenced: node \w+ has taken the lease/);
    }));

  it('started at once end up with one that writes, whichever it is, and standbys', () =>
    on(async (nodes) => {
      const started = await Promise.all([1, 2, 3].map(() => nodes.start({ leaseTtl: '30s' })));
      const wrote: Netsy[] = [];
      for (const node of started) {
        const key = Buffer.from(node.authority);
        await nodes
          .client(node)
          .call(KV.method.put, { key, value: key })
          .then(
            () => wrote.push(node),
            (error: Error) => assert.match(error.message, /etcdserver: no leader/),
          );
      }
      assert.equal(wrote.length, 1, 'exactly one of them was acknowledged');
      assert.deepEqual(started.map(roleAtStart).sort(), ['primary', 'standby', 'standby']);
      assert.equal(await nodes.client(wrote[0]!).revision(), 2);
    }));
});
