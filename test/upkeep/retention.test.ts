import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  listSnapshots,
  readSnapshotHeader,
  type StoredSnapshot,
} from '../../src/main/recovery/snapshot-list.ts';
import { refer } from '../../src/main/restore/refer.ts';
import { encodeReference, withReferences } from '../../src/main/store/references.ts';
import type { ObjectStore } from '../../src/main/store/store.ts';
import { RestorePoints } from '../../src/main/upkeep/restore-points.ts';
import { Retention } from '../../src/main/upkeep/retention.ts';
import { planRetention } from '../../src/main/upkeep/retention-plan.ts';
import { silentLog } from '../../src/shared/base/log.ts';
import { systemRandom } from '../../src/shared/base/random.ts';
import { hex64 } from '../../src/shared/format/corrupt.ts';
import {
  chunkKey,
  condemnedKey,
  parseChunkKey,
  parseSnapshotKey,
  pinKey,
  referenceKey,
  snapshotKey,
} from '../../src/shared/format/names.ts';
import { WriteKind } from '../../src/workers/contract/writer.ts';
import { ManualClock } from '../support/clock.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { localPool, snapshotObject } from '../support/snapshots.ts';
import { putRequest } from '../support/writes.ts';
import { LocalWriter } from '../workers/local-writer.ts';

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;

describe('the plan of what is deleted', () => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
  const history = fc
    .array(
      fc.record({ chunks: fc.integer({ min: 1, max: 50 }), minutes: fc.nat(600), whole: fc.boolean() }),
      {
        maxLength: 12,
      },
    )
    .map((steps) => {
      let [sequence, modifiedMs] = [0, 1_000_000_000_000];
      const all = steps.map(({ chunks, minutes, whole }) => {
        sequence += chunks;
        modifiedMs += minutes * MINUTE_MS;
        return { key: snapshotKey(sequence), size: 1, sequence, modifiedMs, whole };
      });
      return all.reverse();
    });

  it('leaves every time of the window, the newest two snapshots and all after them, and what is young', async (test) => {
    test.diagnostic(`SEED=${seed}`);
    const property = fc.asyncProperty(history, fc.nat(100), async (snapshots, retentionHours) => {
      const retentionMs = retentionHours * HOUR_MS;
      const nowMs = snapshots[0]?.modifiedMs ?? 0;
      const isWhole = async (snapshot: StoredSnapshot): Promise<boolean> =>
        snapshots.some(({ key, whole }) => whole && key === snapshot.key);
      const plan = await planRetention(snapshots, retentionMs, nowMs, isWhole);
      const gone = new Set(plan.snapshots.map(({ key }) => key));
      const usable = snapshots.filter(({ whole }) => whole);
      for (const snapshot of usable.slice(0, 2)) assert.ok(!gone.has(snapshot.key), 'the newest two stay');
      assert.ok(plan.chunksTo <= (usable[1]?.sequence ?? 0), 'nothing after the second one goes');
      for (const { modifiedMs } of plan.snapshots)
        assert.ok(modifiedMs <= nowMs - HOUR_MS, 'nothing young goes');
      const left = usable.filter(({ key }) => !gone.has(key));
      const wanted = usable.slice(1).find(({ modifiedMs }) => modifiedMs <= nowMs - retentionMs);
      assert.ok(plan.chunksTo <= (wanted?.sequence ?? 0), 'the start of the window can be reached');
      assert.ok(wanted === undefined || left.includes(wanted), 'from the snapshot before it');
      if (plan.chunksTo > 0) {
        for (const { sequence } of left)
          assert.ok(sequence >= plan.chunksTo, 'every snapshot that stays has all chunks after it');
      }
      const isYoung = ({ modifiedMs }: StoredSnapshot): boolean => modifiedMs > nowMs - HOUR_MS;
      const older = snapshots.filter(({ sequence }) => sequence < (wanted?.sequence ?? 0));
      for (const snapshot of older) assert.equal(!gone.has(snapshot.key), isYoung(snapshot), 'all else goes');
      if (!older.some(isYoung)) assert.equal(plan.chunksTo, wanted?.sequence ?? 0, 'with its chunks');
    });
    await fc.assert(property, { seed, numRuns: 2000 });
  });

  it('keeps about ten snapshots at the most, however often they are written', async () => {
    const snapshots: StoredSnapshot[] = Array.from({ length: 500 }, (_, index) => {
      const sequence = 500 - index;
      return { key: snapshotKey(sequence), size: 1, sequence, modifiedMs: sequence * HOUR_MS };
    });
    const plan = await planRetention(snapshots, 168 * HOUR_MS, 500 * HOUR_MS, async () => true);
    assert.ok(500 - plan.snapshots.length <= 12, `${500 - plan.snapshots.length} stay`);
  });
});

interface Bench {
  readonly store: MemoryStore;
  readonly clock: ManualClock;
  retention(over?: Partial<ObjectStore>, retentionMs?: number): Retention;
  sequences(): Promise<{ chunks: number[]; snapshots: number[] }>;
  at(hour: number): void;
}

/** A store with a chunk at every sequence from 1 to 9 and whole snapshots at 3, 5 and 7, one sequence an hour. */
async function bench(): Promise<Bench> {
  let nowMs = 0;
  const store = new MemoryStore(() => nowMs);
  const clock = new ManualClock();
  const writer = new LocalWriter();
  writer.begin();
  for (let sequence = 1; sequence <= 9; sequence++) {
    nowMs = sequence * HOUR_MS;
    await store.putIfAbsent(chunkKey(sequence), Buffer.from('chunk'));
    writer.evaluate([{ kind: WriteKind.Put, request: putRequest('key', String(sequence)) }]);
    writer.apply(sequence);
    if (![3, 5, 7].includes(sequence)) continue;
    const snapshot = await snapshotObject(writer.file);
    assert.equal(snapshot.sequence, sequence);
    await store.put(snapshotKey(sequence), snapshot.object);
  }
  writer.close();
  const sequences = async (): Promise<{ chunks: number[]; snapshots: number[] }> => {
    const found = { chunks: [] as number[], snapshots: [] as number[] };
    for await (const { key } of store.list('')) {
      const [chunk, snapshot] = [parseChunkKey(key), parseSnapshotKey(key)];
      if (chunk !== undefined) found.chunks.push(chunk);
      if (snapshot !== undefined) found.snapshots.push(snapshot);
    }
    return found;
  };
  return {
    store,
    clock,
    sequences,
    at: (hour) => {
      nowMs = hour * HOUR_MS;
    },
    retention: (over = {}, retentionMs = 0) => {
      const wrapped = new Proxy(store, {
        get: (target, name: keyof ObjectStore) => {
          const value = over[name] ?? target[name];
          return typeof value === 'function' ? value.bind(target) : value;
        },
      });
      return new Retention({
        retentionMs,
        store: wrapped,
        pool: localPool,
        clock,
        log: silentLog,
        points: new RestorePoints(),
      });
    },
  };
}

describe('retention', () => {
  it('deletes what the second newest snapshot holds, and nothing after it', async () => {
    const { retention, sequences } = await bench();
    await retention().run();
    assert.deepEqual(await sequences(), { chunks: [6, 7, 8, 9], snapshots: [5, 7] });
  });

  it('deletes nothing that the window needs', async () => {
    const { retention, sequences } = await bench();
    await retention({}, 3 * HOUR_MS).run();
    assert.deepEqual(await sequences(), { chunks: [4, 5, 6, 7, 8, 9], snapshots: [3, 5, 7] });
  });

  it('goes by whole snapshots only', async () => {
    const { retention, sequences, store, at } = await bench();
    at(7);
    await store.put(snapshotKey(7), Buffer.from('damaged'));
    await retention().run();
    assert.deepEqual(await sequences(), { chunks: [4, 5, 6, 7, 8, 9], snapshots: [3, 5, 7] });
  });

  it('deletes nothing that is less than an hour old by the store, whatever this machine takes the time to be', async () => {
    const { retention, sequences, store, clock, at } = await bench();
    clock.advance(1000 * HOUR_MS);
    at(7 - 0.99);
    // Rewritten, as by a late upload of a process that was replaced.
    await store.put(chunkKey(2), Buffer.from('young'));
    await retention().run();
    assert.deepEqual((await sequences()).chunks, [2, 3, 4, 5, 6, 7, 8, 9], 'what comes before goes');
  });

  it('goes on where it was ended, from whatever point', async () => {
    for (let deletes = 0; deletes < 6; deletes++) {
      const { retention, sequences, store } = await bench();
      let left = deletes;
      const dying = retention({
        delete: async (key) => {
          if (left-- <= 0) throw new Error('the process ended');
          await store.delete(key);
        },
      });
      await dying.run();
      const { chunks, snapshots } = await sequences();
      for (const snapshot of snapshots) {
        const after = [1, 2, 3, 4, 5, 6, 7, 8, 9].filter((sequence) => sequence > snapshot);
        assert.deepEqual(
          chunks.filter((sequence) => sequence > snapshot),
          after,
          `after ${deletes} deletes`,
        );
      }
      await retention().run();
      assert.deepEqual(await sequences(), { chunks: [6, 7, 8, 9], snapshots: [5, 7] });
    }
  });

  it('runs every hour, and not after it was stopped', async () => {
    const { retention, sequences, clock } = await bench();
    const running = retention();
    await running.stop();
    clock.advance(10 * HOUR_MS);
    await running.run();
    assert.equal((await sequences()).chunks.length, 9);
  });
});

describe('a snapshot that a fork refers to', () => {
  const pin = pinKey(3, 7n, 8n);
  const pinned = { chunks: [6, 7, 8, 9], snapshots: [3, 5, 7] };
  const unpinned = { chunks: [6, 7, 8, 9], snapshots: [5, 7] };

  async function keysOf(store: MemoryStore, prefix: string): Promise<string[]> {
    const keys: string[] = [];
    for await (const { key } of store.list(prefix)) keys.push(key);
    return keys;
  }

  it('stays in the old store while it is pinned', async () => {
    const { retention, sequences, store } = await bench();
    await store.put(pin, Buffer.from('{}'));
    await retention().run();
    assert.deepEqual(await sequences(), pinned);
    const listed = (await listSnapshots(store)).map(({ sequence }) => sequence);
    assert.deepEqual(listed, [7, 5], 'but is no longer of the log');
    await store.delete(pin);
    await retention().run();
    assert.deepEqual(await sequences(), unpinned);
    assert.deepEqual(await keysOf(store, 'pins/'), []);
  });

  it('stays, as all snapshots do, while there is a pin of an unknown kind', async () => {
    const { retention, sequences, store } = await bench();
    await store.put('pins/of-another-version', Buffer.from('{}'));
    await retention().run();
    assert.deepEqual(await sequences(), pinned);
    await store.delete('pins/of-another-version');
    await retention().run();
    assert.deepEqual(await sequences(), unpinned);
  });

  it('stays when it is pinned at any moment before its delete, and is not referred to afterwards', async () => {
    for (const operation of ['put', 'list', 'delete'] as const) {
      const { retention, sequences, store } = await bench();
      const [snapshot] = (await listSnapshots(store)).slice(-1);
      const header = (await readSnapshotHeader(store, snapshot!))!;
      const fork = new MemoryStore();
      let referred: boolean | undefined;
      const parts = {
        holder: { url: 's3://old', store },
        into: 's3://fork',
        append: async (key: string, object: Uint8Array) =>
          (await fork.putIfAbsent(key, object)) === 'created' ? ('durable' as const) : ('lost' as const),
        clock: new ManualClock(),
        random: systemRandom,
        note: () => {},
      };
      const pinNow = async (): Promise<void> => {
        referred ??= await refer(parts, snapshot!, header, 7n);
      };
      await retention({
        put: async (key, body) => {
          if (operation === 'put' && key === condemnedKey(3)) await pinNow();
          await store.put(key, body);
        },
        list: async function* (prefix) {
          if (operation === 'list' && prefix === 'pins/' && (await store.get(condemnedKey(3))))
            await pinNow();
          yield* store.list(prefix);
        },
        delete: async (key) => {
          if (operation === 'delete' && key === snapshotKey(3)) await pinNow();
          await store.delete(key);
        },
      }).run();
      assert.equal(referred, operation === 'put', `pinned before ${operation}`);
      assert.deepEqual(await sequences(), referred ? pinned : unpinned);
      assert.equal((await keysOf(fork, 'references/')).length, referred ? 1 : 0);
      assert.equal((await keysOf(store, 'pins/')).length, referred ? 2 : 0, 'no pin of its own is left');
    }
  });

  it('goes when the fork has snapshots of its own', async () => {
    const [old, fork] = [await bench(), await bench()];
    const [snapshot] = (await listSnapshots(old.store)).slice(-1);
    const header = (await readSnapshotHeader(old.store, snapshot!))!;
    await old.store.put(pin, Buffer.from('{}'));
    await fork.store.delete(snapshotKey(3));
    fork.at(3);
    const { size, sequence } = snapshot!;
    const reference = { url: 's3://old', sequence, size, headerCrc: hex64(header.crc), pin };
    await fork.store.put(referenceKey(3), encodeReference(reference));
    const wrapped = await withReferences(fork.store, async () => old.store, silentLog);
    const listed = await listSnapshots(wrapped);
    assert.deepEqual(
      listed.map((stored) => stored.sequence),
      [7, 5, 3],
    );
    assert.deepEqual(await wrapped.get(snapshotKey(3)), await old.store.get(snapshotKey(3)));
    await old.retention().run();
    assert.deepEqual(await old.sequences(), pinned);

    await fork.retention(wrapped).run();
    assert.deepEqual(await fork.sequences(), unpinned);
    assert.deepEqual(await keysOf(fork.store, 'references/'), []);
    assert.deepEqual(await keysOf(old.store, 'pins/'), [condemnedKey(3)]);
    await old.retention().run();
    assert.deepEqual(await old.sequences(), unpinned);
    assert.deepEqual(await keysOf(old.store, 'pins/'), []);
  });
});
