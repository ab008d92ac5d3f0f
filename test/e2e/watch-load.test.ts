import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { KV } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { ALL_KEYS, Client, prefixRange } from '../crash/client.ts';
import { readHistory } from '../crash/history.ts';
import { Ledger } from '../crash/ledger.ts';
import { type Netsy, startNetsy } from '../support/netsy.ts';
import { Seeded } from '../support/seeded.ts';
import { missingTools } from '../support/tools.ts';
import { etcdctlWatch, Watcher } from './watch-watchers.ts';

/** Buffers so small that who is slow for a moment is replayed from disk. */
const SMALL_BUFFERS = ['--watch-stream-buffer-bytes', '64KiB', '--watch-buffer-bytes', '128KiB'];
const OPERATIONS = 50;

async function withServer(body: (netsy: Netsy, client: Client) => Promise<void>): Promise<void> {
  const netsy = await startNetsy({ arguments: [...SMALL_BUFFERS, '--batch-max-requests', '8'] });
  const client = new Client(netsy.authority);
  try {
    await body(netsy, client);
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${netsy.log()}`, { cause: error });
  } finally {
    client.close();
    await netsy.stop();
  }
}

/** Reads large lists until told to stop, so that replays wait for the reader. */
async function hogReader(client: Client, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) await client.call(KV.method.range, { ...ALL_KEYS, serializable: true });
}

/** Stops reading now and then, for moments of random length. */
async function falter(watcher: Watcher, seeded: Seeded, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    watcher.stream.pause();
    await new Promise((resolve) => setTimeout(resolve, seeded.integer(0, 60)));
    watcher.stream.resume();
    await new Promise((resolve) => setTimeout(resolve, seeded.integer(0, 20)));
  }
}

async function askProgress(watcher: Watcher, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    watcher.requestProgress();
    await new Promise((resolve) => setTimeout(resolve, 7));
  }
}

describe('watchers under a write load', { timeout: 120_000 }, () => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);

  it('see the same events whether slow, faltering, live or from the past, whole and in order', async (test) => {
    test.diagnostic(`SEED=${seed}`);
    await withServer(async (netsy, client) => {
      const [seeded, ledger] = [new Seeded(seed), new Ledger(seed)];
      const others = [new Client(netsy.authority), new Client(netsy.authority), new Client(netsy.authority)];
      const [slowClient, falteringClient, hogClient] = others as [Client, Client, Client];
      const live = new Watcher(client, 2);
      const lane = new Watcher(client, 2, { range: prefixRange('lane-3/') });
      const slow = new Watcher(slowClient, 2);
      const faltering = new Watcher(falteringClient, 2);
      slow.stream.pause();
      const stop = new AbortController();
      const asides = Promise.all([
        falter(faltering, seeded, stop.signal),
        askProgress(live, stop.signal),
        askProgress(faltering, stop.signal),
        hogReader(hogClient, stop.signal),
        hogReader(hogClient, stop.signal),
      ]);
      const loaded = ledger.load(client, { operationsMax: OPERATIONS });
      await ledger.untilAcknowledged(200);
      const past = new Watcher(client, 2);
      await ledger.untilAcknowledged(200);
      const middle = Math.floor((await client.revision()) / 2);
      const fromMiddle = new Watcher(client, middle);
      await loaded;
      const newest = await client.revision();
      await Promise.all([live, past, fromMiddle].map((watcher) => watcher.reaches(newest)));
      assert.ok(slow.reader.last < newest, 'the slow watcher has not been sent everything yet');
      stop.abort();
      await asides;
      slow.stream.resume();
      await Promise.all([slow, faltering].map((watcher) => watcher.reaches(newest)));
      const history = await readHistory(client);
      ledger.compare(history);
      for (const watcher of [live, past, slow, faltering])
        assert.deepEqual(watcher.reader.revisions, history);
      assert.deepEqual(fromMiddle.reader.revisions, history.slice(middle - 2));
      const ofLane = history.filter(({ changes }) => changes[0]!.key.startsWith('lane-3/'));
      await lane.reaches(ofLane[ofLane.length - 1]!.revision);
      assert.deepEqual(lane.reader.revisions, ofLane);
      assert.ok(live.progressAnswers > 0, 'progress was answered');
      test.diagnostic(
        `${history.length} revisions, ${live.progressAnswers} and ${faltering.progressAnswers} answers about progress`,
      );
      for (const watcher of [live, lane, past, fromMiddle, slow, faltering]) watcher.stream.cancel();
      for (const other of others) other.close();
    });
  });

  it('etcdctl watch sees them too, from the past and live', {
    skip: missingTools('etcdctl'),
  }, async (test) => {
    test.diagnostic(`SEED=${seed}`);
    await withServer(async (netsy, client) => {
      const ledger = new Ledger(seed, 12);
      await ledger.load(client, { operationsMax: OPERATIONS / 5 });
      const first = await client.revision();
      // Puts that come after those that it starts with tell it that it may end.
      const printing = etcdctlWatch(netsy.authority, 2, first + 100);
      await ledger.load(client, { operationsMax: OPERATIONS });
      const printed = await printing;
      const history = await readHistory(client);
      ledger.compare(history);
      assert.deepEqual(printed.revisions, history.slice(0, printed.revisions.length));
    });
  });

  it('from a compacted revision are canceled with the oldest one that is left', async () => {
    await withServer(async (_, client) => {
      const ledger = new Ledger(seed, 4);
      await ledger.load(client, { operationsMax: 10 });
      const before = await readHistory(client);
      const newest = await client.revision();
      const revision = newest - 5;
      await client.call(KV.method.compact, { revision: BigInt(revision), physical: true });
      const compacted = new Watcher(client, revision - 1);
      // As in etcd, compact_revision is all the reason there is.
      assert.equal(await compacted.ended, '');
      assert.equal(compacted.compactRevision, revision);
      const kept = new Watcher(client, revision + 1);
      await kept.reaches(newest);
      // The values before the compaction revision's are gone, and so may prev_kv be; all else is the same.
      const plain = (revisions: typeof before) =>
        revisions.map(({ changes, ...rest }) => ({
          ...rest,
          changes: changes.map(({ previousValue: _value, previousRevision: _revision, ...change }) => change),
        }));
      assert.deepEqual(plain(kept.reader.revisions), plain(before.slice(revision - 1)));
      kept.stream.cancel();
      compacted.stream.cancel();
    });
  });
});
