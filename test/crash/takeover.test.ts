import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { systemClock } from '../../src/shared/base/clock.ts';
import { KV } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { type Netsy, temporaryDirectory } from '../support/netsy.ts';
import { Client } from './client.ts';
import { Ledger } from './ledger.ts';
import { newSite, startSite } from './victim-process.ts';

const ROUNDS = 4;
/** By then a process that was taken over has ended. */
const ENDS_WITHIN_MS = 20_000;

/** How it ended; fails when it goes on. */
async function endOf(netsy: Netsy): Promise<string> {
  const waiting = new AbortController();
  const goesOn = systemClock.sleep(ENDS_WITHIN_MS, waiting.signal).then(() => 'it goes on');
  const ended = await Promise.race([netsy.exited, goesOn]);
  waiting.abort();
  if (ended === 'it goes on') await netsy.kill();
  return ended;
}

describe('two processes on one store', { timeout: 120_000 }, () => {
  it('the later one takes over; the earlier acknowledges nothing more and ends', async (test) => {
    const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
    test.diagnostic(`SEED=${seed}`);
    const store = pathToFileURL(join(temporaryDirectory(), 'store')).href;
    const ledger = new Ledger(seed);
    const starting = (): ReturnType<typeof startSite> => startSite(newSite(['--store', store]));
    let current = await starting();
    for (let round = 0; round < ROUNDS; round++) {
      const client = new Client(current.authority);
      await ledger.verify(client);
      const loaded = ledger.load(client);
      await ledger.untilAcknowledged(100);
      const next = await starting();
      // Every lane ends: the writes of the earlier process fail from the moment of the claim.
      assert.equal(await endOf(current), 'exit code 1', current.log());
      await loaded;
      assert.match(current.log(), /"error":"fenced: chunk \d+ was written by another process"/);
      client.close();
      current = next;
    }
    const client = new Client(current.authority);
    await ledger.verify(client);
    client.close();
    assert.equal(await current.stop(), 'exit code 0');
    test.diagnostic(`${ledger.acknowledged} acknowledged, ${ledger.unknown} of unknown fate`);
  });

  it('an idle one learns of it at its next write, which it refuses', async () => {
    const store = pathToFileURL(join(temporaryDirectory(), 'store')).href;
    const earlier = await startSite(newSite(['--store', store]));
    const later = await startSite(newSite(['--store', store]));
    const client = new Client(earlier.authority);
    const put = client.call(KV.method.put, { key: Buffer.from('a'), value: Buffer.from('b') });
    await assert.rejects(put, /leader changed|UNAVAILABLE/);
    assert.equal(await endOf(earlier), 'exit code 1');
    client.close();
    const successor = new Client(later.authority);
    assert.equal(await successor.revision(), 1, 'the refused write is not there');
    successor.close();
    await later.stop();
  });

  it('started at once end up with one that writes, whichever it is', async () => {
    const store = pathToFileURL(join(temporaryDirectory(), 'store')).href;
    const started = await Promise.all([1, 2, 3].map(() => startSite(newSite(['--store', store]))));
    const outcomes = await Promise.all(
      started.map(async (netsy) => {
        const client = new Client(netsy.authority);
        const key = Buffer.from(netsy.authority);
        const wrote = await client.call(KV.method.put, { key, value: key }).then(
          () => true,
          () => false,
        );
        client.close();
        return { netsy, wrote };
      }),
    );
    const [winner, ...others] = outcomes.filter(({ wrote }) => wrote);
    assert.ok(winner !== undefined && others.length === 0, 'exactly one of them was acknowledged');
    for (const { netsy, wrote } of outcomes) if (!wrote) assert.equal(await endOf(netsy), 'exit code 1');
    const client = new Client(winner.netsy.authority);
    assert.equal(await client.revision(), 2);
    client.close();
    await winner.netsy.stop();
  });
});
