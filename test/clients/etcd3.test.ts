import assert from 'node:assert/strict';
import { once } from 'node:events';
import { afterEach, describe, it } from 'node:test';
import { Etcd3, type IKeyValue, Range, type Watcher } from 'etcd3';
import { Both, type Peer } from '../concurrency/both.ts';
import { missingTools } from '../support/tools.ts';

/** In seconds. The package may leave a timer behind that keeps the process for as long, even after a revoke. */
const LEASE_TTL = 5;

/**
 * The npm package `etcd3` against the server and a real etcd: each test is how a program uses it, and says what it saw,
 * revisions included, which must be the same on both.
 */
describe('the npm package etcd3', { timeout: 60_000, skip: missingTools('go') }, () => {
  const both = new Both();
  const opened: Etcd3[] = [];

  afterEach(() => {
    for (const client of opened.splice(0)) client.close();
  });

  function connect({ authority }: Peer): Etcd3 {
    const client = new Etcd3({ hosts: authority });
    opened.push(client);
    return client;
  }

  function shown({ key, value, create_revision, mod_revision, version }: IKeyValue): string {
    return [key, value, create_revision, mod_revision, version].map(String).join(' ');
  }

  it('puts, gets, ranges with every option, and deletes', async () => {
    const seen = await both.see(async (peer) => {
      const client = connect(peer);
      const all = client.getAll();
      await client.put('kv/number').value(7);
      for (const key of ['c', 'a', 'b']) await client.put(`kv/${key}`).value(`value of ${key}`);
      const previous = await client.put('kv/a').value('again').getPrevious();
      const listed = client.getAll().prefix('kv/').sort('Mod', 'Descend').limit(2);
      return [
        await client.get('kv/a').string(),
        await client.get('kv/number').number(),
        await client.get('kv/none').string(),
        await client.get('kv/a').exists(),
        shown(previous),
        await client.get('kv/a').revision(previous.mod_revision).string(),
        (await listed.exec()).kvs.map(shown),
        await client.getAll().prefix('kv/').keys(),
        await client.getAll().prefix('kv/').minModRevision(previous.mod_revision).count(),
        await client
          .getAll()
          .inRange(Range.from({ start: 'kv/a', end: 'kv/c' }))
          .strings(),
        await client.getAll().prefix('kv/').serializable(true).count(),
        (await client.delete().prefix('kv/').getPrevious()).map(shown),
        await all.count(),
      ];
    });
    assert.equal(seen[0], 'again');
  });

  it('transactions compare, branch, and read what they wrote', async () => {
    await both.see(async (peer) => {
      const client = connect(peer);
      const swap = (from: string, to: string): Promise<unknown> =>
        client
          .if('txn', 'Value', '==', from)
          .and('other', 'Create', '==', 0)
          .then(client.put('txn').value(to), client.get('txn'))
          .else(client.get('txn'))
          .commit()
          .then(({ succeeded, responses, header }) => [
            succeeded,
            header.revision,
            responses.map(({ response_range }) => response_range?.kvs.map(shown)),
          ]);
      const seen = [await swap('', 'x')];
      await client.put('txn').value('x');
      return [...seen, await swap('x', 'y'), await swap('x', 'z')];
    });
  });

  it('software transactions retry until nobody wrote in between', async () => {
    const seen = await both.see(async (peer) => {
      const clients = [connect(peer), connect(peer), connect(peer)];
      await clients[0]!.put('stm').value(0);
      const add = (client: Etcd3): Promise<unknown> =>
        client.stm({ retries: 50 }).transact(async (tx) => {
          const now = await tx.get('stm').number();
          await tx.put('stm').value(now! + 1);
        });
      for (let round = 0; round < 4; round++) await Promise.all(clients.map(add));
      return clients[0]!.get('stm').number();
    });
    assert.equal(seen, 12);
  });

  it('namespaces keep keys, watches and locks apart', async () => {
    await both.see(async (peer) => {
      const client = connect(peer);
      const [one, two] = [client.namespace('one/'), client.namespace('two/')];
      await one.put('key').value('1');
      await two.put('key').value('2');
      await one.delete().all();
      return [await two.getAll().strings(), await client.getAll().prefix('two/').strings()];
    });
  });

  it('leases keep their keys alive, and take them along when they are revoked', async () => {
    await both.see(async (peer) => {
      const client = connect(peer);
      const lease = client.lease(LEASE_TTL);
      await lease.put('leased/a').value('x');
      const { TTL } = await lease.keepaliveOnce();
      const attached = (await client.get('leased/a').exec()).kvs[0]?.lease === (await lease.grant());
      await lease.revoke();
      const lost = client.lease(LEASE_TTL);
      await lost.grant();
      const renewing = lost.keepaliveOnce();
      await renewing;
      await lost.revoke();
      const refused = await lost.keepaliveOnce().catch((error: Error) => error.name);
      return [TTL, attached, await client.get('leased/a').string(), refused];
    });
  });

  it('watches say puts and deletes with what was before, and go on from a revision', async () => {
    await both.see(async (peer) => {
      const client = connect(peer);
      const events: string[] = [];
      const note = (what: string) => (now: IKeyValue, before?: IKeyValue | null) =>
        void events.push(`${what} ${shown(now)} ${before ? shown(before) : '-'}`);
      const follow = (watcher: Watcher): Watcher =>
        watcher.on('put', note('put')).on('delete', note('delete'));
      const seen = async (watcher: Watcher, count: number): Promise<void> => {
        while (events.length < count) await once(watcher, 'data');
        await watcher.cancel();
      };
      const watcher = follow(client.watch().prefix('watched/').withPreviousKV().watcher());
      await once(watcher, 'connected');
      await client.put('watched/a').value('1');
      await client.put('watched/a').value('2');
      const { header } = await client.delete().key('watched/a');
      await seen(watcher, 3);
      const from = String(Number(header.revision) - 1);
      await seen(follow(client.watch().key('watched/a').startRevision(from).only('put').watcher()), 4);
      return events;
    });
  });

  it('a lock is refused while another has it, and free afterwards', async () => {
    await both.see(async (peer) => {
      const [holder, other] = [connect(peer), connect(peer)];
      const lock = holder.lock('lock').ttl(20);
      await lock.acquire();
      const refused = await other
        .lock('lock')
        .acquire()
        .catch((error: Error) => error.name);
      await lock.release();
      const done = await other.lock('lock').do(async () => (await other.get('lock').exists()) && 'locked');
      return [refused, done, await holder.get('lock').exists()];
    });
  });

  it('elections hand the lead on, and observers follow', async () => {
    const seen = await both.see(async (peer) => {
      const [first, second] = [connect(peer).election('vote'), connect(peer).election('vote')];
      const observer = await first.observe();
      const said: (string | undefined)[] = [];
      observer.on('change', (value) => said.push(value));
      const leading = first.campaign('first');
      await leading.wait();
      while (said.at(-1) !== 'first') await once(observer, 'change');
      await leading.proclaim('first again');
      while (said.at(-1) !== 'first again') await once(observer, 'change');
      const next = second.campaign('second');
      const elected = next.wait();
      await leading.resign();
      await elected;
      while (said.at(-1) !== 'second') await once(observer, 'change');
      const leader = await first.leader();
      await observer.cancel();
      await next.resign();
      return [leader, said.at(-1), (await first.leader()) ?? 'nobody'];
    });
    assert.deepEqual(seen, ['second', 'second', 'nobody']);
  });

  it('errors have the classes that the package makes of etcd codes', async () => {
    await both.see(async (peer) => {
      const client = connect(peer);
      await client.put('old').value('x');
      const { header } = await client.put('old').value('y');
      await client.kv.compact({ revision: header.revision });
      const name = (error: Error): string => `${error.name}: ${error.message}`;
      return [
        await client.get('old').revision(1).string().catch(name),
        await client.get('old').revision(9999).string().catch(name),
        await client.put('').value('x').exec().catch(name),
        await client.put('old').value('x').lease('77').exec().catch(name),
      ];
    });
  });
});
