import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { defaultDelay } from '../../bench/store/delay.ts';
import { memoryBackend } from '../../bench/store/memory-backend.ts';
import { type SlowStore, startSlowStore } from '../../bench/store/slow-store.ts';
import { systemClock } from '../../src/shared/base/clock.ts';
import { KV } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { ALL_KEYS, Client } from '../crash/client.ts';
import { type Netsy, startNetsy } from '../support/netsy.ts';

const PER_SECOND = 8;
const SECONDS = 6;
const WRITERS = 50;

describe('a server with --put-budget', { timeout: 120_000 }, () => {
  let store: SlowStore;
  let netsy: Netsy;
  let client: Client;

  before(async () => {
    const noDelay = { ...defaultDelay, medianMs: 0, tailShare: 0 };
    store = await startSlowStore({
      backend: memoryBackend(['budget']),
      ...{ put: noDelay, read: noDelay, putEffect: 'end', seed: 1, port: 0, adminPort: 0 },
    });
    netsy = await startNetsy({
      // Renewals of the lease are three of the PUTs of each second: not to count them shows.
      arguments: ['--store', 's3://budget/prefix', '--put-budget', `${PER_SECOND}/s`, '--lease-ttl', '1s'],
      environment: {
        AWS_ENDPOINT_URL: `http://127.0.0.1:${store.port}`,
        AWS_REGION: 'us-east-1',
        AWS_ACCESS_KEY_ID: 'any',
        AWS_SECRET_ACCESS_KEY: 'any',
      },
    });
    client = new Client(netsy.authority);
  });

  after(async () => {
    client.close();
    await netsy.stop();
    await store.stop();
  });

  async function writeFor(seconds: number, prefix: string): Promise<number> {
    const endMs = systemClock.monotonicMs() + seconds * 1000;
    let written = 0;
    const write = async (writer: number): Promise<void> => {
      while (systemClock.monotonicMs() < endMs) {
        await client.call(KV.method.put, { key: Buffer.from(`${prefix}${writer}/${written++}`) });
      }
    };
    await Promise.all(Array.from({ length: WRITERS }, (_, writer) => write(writer)));
    return written;
  }

  it('sends no more PUTs than that to its store, all kinds counted, and every write is there', async () => {
    const warmedUp = await writeFor(2, 'a');
    store.reset();
    const begunMs = systemClock.monotonicMs();
    const written = await writeFor(SECONDS, 'b');
    const seconds = (systemClock.monotonicMs() - begunMs) / 1000;
    const { puts } = store.stats();
    // A second's savings may be there after a stall of a busy machine.
    assert.ok(puts <= PER_SECOND * (0.95 * seconds + 1), `${puts} PUTs in ${seconds} s`);
    assert.ok(written > 2 * puts, `${written} writes share ${puts} PUTs`);
    const { count } = await client.call(KV.method.range, { ...ALL_KEYS, countOnly: true });
    assert.equal(Number(count), warmedUp + written);
  });

  it('says how long batches waited for it, and sends few of them twice under load', async () => {
    const metrics = await (await fetch(`${netsy.endpoint}/metrics`)).text();
    const counted = (name: string): number => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(metrics)?.[1]);
    const waited = counted('netsy_put_budget_wait_seconds_count');
    assert.ok(waited > SECONDS, `${waited} batches waited`);
    const [batches, hedges] = [counted('netsy_batch_requests_count'), counted('netsy_uploads_hedged_total')];
    assert.ok(hedges < batches / 3, `${hedges} of ${batches} were sent twice`);
  });
});
