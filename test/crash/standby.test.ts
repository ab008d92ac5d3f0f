import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type ServiceError, status } from '@grpc/grpc-js';
import { KV, Lease } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { Watcher } from '../e2e/watch-watchers.ts';
import type { Netsy } from '../support/netsy.ts';
import type { Client } from './client.ts';
import { readHistory } from './history.ts';
import { Ledger } from './ledger.ts';
import {
  endOf,
  type Nodes,
  roleAtStart,
  STORE_KINDS,
  type StoreKind,
  withNodes,
  writesAgain,
} from './nodes.ts';

const KEY = Buffer.from('lane-key');
const LANES = 8;
const SUITE_MS = 400_000;
/** Longer than any of the tests may take. */
const WAIT_MS = 60_000;
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);

interface Duo {
  readonly primary: Netsy;
  readonly standby: Netsy;
  readonly first: Client;
  readonly second: Client;
}

async function startDuo(nodes: Nodes, leaseTtl?: string): Promise<Duo> {
  const options = leaseTtl === undefined ? {} : { leaseTtl };
  const primary = await nodes.start(options);
  const standby = await nodes.start(options);
  assert.deepEqual([primary, standby].map(roleAtStart), ['primary', 'standby']);
  return { primary, standby, first: nodes.client(primary), second: nodes.client(standby) };
}

function isNoLeader(error: unknown): true {
  const { code, details } = error as ServiceError;
  assert.deepEqual([code, details], [status.UNAVAILABLE, 'etcdserver: no leader']);
  return true;
}

/** Everything that a watcher saw is the log, whole and in order, up to its end. */
async function sawEverything(watcher: Watcher, client: Client): Promise<void> {
  const history = await readHistory(client);
  await watcher.reaches(history[history.length - 1]!.revision);
  assert.deepEqual(watcher.reader.revisions, history);
}

for (const { name, skip, make } of STORE_KINDS) {
  describe(`several processes on one store in ${name}`, { timeout: SUITE_MS, skip }, () => {
    let kind: StoreKind;
    before(async () => {
      kind = await make();
    });
    after(() => kind.remove());
    const on = (body: (nodes: Nodes) => Promise<void>): Promise<void> => withNodes(kind, body);

    it('a primary that is told to stop hands over: nothing lost, the watch on the standby goes on', (test) =>
      on(async (nodes) => {
        test.diagnostic(`SEED=${seed}`);
        // With the default TTL, so that only the release can explain that it is soon.
        const { primary, standby, first, second } = await startDuo(nodes, '10s');
        const ledger = new Ledger(seed, LANES);
        const watcher = new Watcher(second, 2);
        const loaded = ledger.load(first);
        await ledger.untilAcknowledged(60);
        const stopped = primary.stop();
        const gapMs = await writesAgain(second, KEY, 'after');
        test.diagnostic(`writes again ${Math.round(gapMs)} ms after SIGTERM`);
        assert.equal(await stopped, 'exit code 0', primary.log());
        await loaded;
        assert.ok(gapMs < 9_000, 'sooner than the lease ends');
        await second.call(KV.method.deleteRange, { key: KEY });
        await ledger.verify(second, [KEY.toString()]);
        await ledger.load(second, { operationsMax: 10 });
        await sawEverything(watcher, second);
        assert.equal(await standby.stop(), 'exit code 0', standby.log());
      }));

    it('of three, one takes over from a primary that is killed, and the third follows it', (test) =>
      on(async (nodes) => {
        test.diagnostic(`SEED=${seed}`);
        const { primary, standby, first, second } = await startDuo(nodes);
        const third = await nodes.start();
        assert.equal(roleAtStart(third), 'standby');
        const clients = [second, nodes.client(third)] as const;
        const { revision } = (await first.call(KV.method.put, { key: KEY, value: KEY })).header!;
        await first.call(KV.method.deleteRange, { key: KEY });
        const from = Number(revision) + 2;
        const watchers = clients.map((client) => new Watcher(client, from));
        const { ID: lease } = await first.call(Lease.method.leaseGrant, { TTL: 6n });
        const ledger = new Ledger(seed + 1, LANES);
        const loaded = ledger.load(first);
        await ledger.untilAcknowledged(60);
        await primary.kill();
        await loaded;
        const winner = await Promise.any(
          clients.map((client) => writesAgain(client, KEY, 'after').then(() => client)),
        );
        const { TTL } = await winner.call(Lease.method.leaseTimeToLive, { ID: lease });
        assert.ok(TTL >= 5n, `a lease has its full TTL after a takeover, not ${TTL} s of 6`);
        const [taken, follows] = winner === clients[0] ? [standby, third] : [third, standby];
        const other = clients.find((client) => client !== winner)!;
        await assert.rejects(other.call(KV.method.put, { key: KEY, value: KEY }), isNoLeader);
        await winner.call(KV.method.deleteRange, { key: KEY });
        // Lanes go on from what became of their writes of unknown fate.
        await ledger.verify(winner, [KEY.toString()]);
        await ledger.load(winner, { operationsMax: 10 });
        const newest = await winner.revision();
        for (const watcher of watchers) await watcher.reaches(newest);
        assert.deepEqual(watchers[0]!.reader.revisions, watchers[1]!.reader.revisions);
        await taken.kill();
        await writesAgain(other, KEY, 'after');
        await other.call(KV.method.deleteRange, { key: KEY });
        const history = (await readHistory(other)).filter(({ revision }) => revision >= from);
        ledger.compare(history.filter(({ changes }) => changes[0]!.key !== KEY.toString()));
        assert.equal(await follows.stop(), 'exit code 0', follows.log());
      }));

    it('a primary that slept longer than its lease acknowledges nothing and answers no linearizable read', () =>
      on(async (nodes) => {
        const { primary, standby, first, second } = await startDuo(nodes);
        await first.call(KV.method.put, { key: KEY, value: Buffer.from('before') });
        const reading = nodes.client(primary);
        await reading.call(KV.method.range, { key: KEY });
        process.kill(primary.pid, 'SIGSTOP');
        // They wait in its sockets: the first thing that it sees when it goes on.
        const reads = Array.from({ length: 20 }, () => reading.call(KV.method.range, { key: KEY }, WAIT_MS));
        const writes = ['one', 'two'].map((name) =>
          first.call(KV.method.put, { key: Buffer.from(`${KEY.toString()}/${name}`) }, WAIT_MS),
        );
        const settled = Promise.allSettled([...reads, ...writes]);
        await writesAgain(second, KEY, 'after');
        process.kill(primary.pid, 'SIGCONT');
        const late = Array.from({ length: 20 }, () => reading.call(KV.method.range, { key: KEY }, WAIT_MS));
        for (const outcome of [...(await settled), ...(await Promise.allSettled(late))]) {
          assert.equal(outcome.status, 'rejected', 'it answered');
        }
        assert.equal(await endOf(primary), 'exit code 1', primary.log());
        assert.match(primary.log(), /"error":"fenced: /);
        const { kvs } = await second.call(KV.method.range, { key: KEY });
        assert.equal(Buffer.from(kvs[0]!.value).toString(), 'after');
        const { count } = await second.call(KV.method.range, {
          key: Buffer.from(`${KEY.toString()}/`),
          rangeEnd: Buffer.from(`${KEY.toString()}0`),
        });
        assert.equal(count, 0n, 'what it did not acknowledge is not there');
        assert.equal(await standby.stop(), 'exit code 0', standby.log());
      }));
  });
}

describe('several processes on one store', { timeout: SUITE_MS }, () => {
  let kind: StoreKind;
  before(async () => {
    kind = await STORE_KINDS[0]!.make();
  });
  after(() => kind.remove());
  const on = (body: (nodes: Nodes) => Promise<void>): Promise<void> => withNodes(kind, body);

  it('a standby that slept while others wrote and took over serves what they wrote', () =>
    on(async (nodes) => {
      const { primary, standby, first, second } = await startDuo(nodes);
      const third = await nodes.start();
      const last = nodes.client(third);
      process.kill(standby.pid, 'SIGSTOP');
      for (let index = 0; index < 50; index++) {
        await first.call(KV.method.put, { key: KEY, value: Buffer.from(`${index}`) });
      }
      await primary.kill();
      await writesAgain(last, KEY, 'of the third');
      process.kill(standby.pid, 'SIGCONT');
      await assert.rejects(second.call(KV.method.put, { key: KEY }), isNoLeader);
      const { count } = await last.call(KV.method.range, { key: KEY });
      assert.equal(count, 1n);
      await third.stop();
      await writesAgain(second, Buffer.from('another'), 'of the second');
      const { kvs } = await second.call(KV.method.range, { key: KEY });
      assert.equal(Buffer.from(kvs[0]!.value).toString(), 'of the third');
    }));

  it('a restarted primary goes on at once though a standby waits, and one with an old cache catches up', () =>
    on(async (nodes) => {
      const { primary, standby, first } = await startDuo(nodes, '60s');
      await first.call(KV.method.put, { key: KEY, value: Buffer.from('one') });
      await primary.kill();
      const again = await nodes.start({ leaseTtl: '60s', dataDir: primary.dataDir });
      assert.equal(roleAtStart(again), 'primary', 'it did not wait for its own lease');
      await standby.stop();
      await nodes.client(again).call(KV.method.put, { key: KEY, value: Buffer.from('two') });
      const late = await nodes.start({ leaseTtl: '60s', dataDir: standby.dataDir });
      assert.equal(roleAtStart(late), 'standby');
      assert.doesNotMatch(late.log(), /rebuilt/);
      const { kvs } = await nodes.client(late).call(KV.method.range, { key: KEY, serializable: true });
      assert.equal(Buffer.from(kvs[0]!.value).toString(), 'two');
    }));
});
