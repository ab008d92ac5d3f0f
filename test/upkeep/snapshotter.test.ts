import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { LogSnapshot } from '../../src/main/state/log-snapshot-client.ts';
import { threads } from '../../src/main/state/workers.ts';
import type { ObjectStore } from '../../src/main/store/store.ts';
import { RestorePoints } from '../../src/main/upkeep/restore-points.ts';
import { type SnapshotPolicy, Snapshotter } from '../../src/main/upkeep/snapshotter.ts';
import { silentLog } from '../../src/shared/base/log.ts';
import { systemRandom } from '../../src/shared/base/random.ts';
import { snapshotKey } from '../../src/shared/format/names.ts';
import { WriteKind } from '../../src/workers/contract/writer.ts';
import { ManualClock } from '../support/clock.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { localPool, snapshotObject } from '../support/snapshots.ts';
import { putRequest } from '../support/writes.ts';
import { LocalWriter } from '../workers/local-writer.ts';

const SECOND_MS = 1000;
const HOUR_MS = 3_600_000;
const NEVER: SnapshotPolicy = { records: 1e9, bytes: 1e9, ageMs: 1e12 };

/** A cache that is written to, and the snapshotter of its log on a clock that the test moves. */
class Bench {
  readonly clock = new ManualClock();
  readonly store = new MemoryStore(() => this.clock.wallMs());
  readonly writer = new LocalWriter();
  readonly stored: number[] = [];
  readonly snapshotter: Snapshotter;
  opened = 0;
  /** What happened while rows were kept from compactions. */
  readonly kept: string[] = [];
  #sequence = 0;
  #finished = 0;

  constructor(test: TestContext, policy: Partial<SnapshotPolicy>, over: Partial<ObjectStore> = {}) {
    this.writer.begin();
    const store = new Proxy(this.store, {
      get: (target, name: keyof ObjectStore) => {
        const value = over[name] ?? target[name];
        if (name === 'putMultipart') this.kept.push('put');
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    const { clock } = this;
    this.snapshotter = new Snapshotter({
      points: new RestorePoints(),
      policy: { ...NEVER, ...policy },
      cacheFile: this.writer.file,
      nodeId: 'test',
      store,
      pool: localPool,
      clock,
      random: systemRandom,
      log: { ...silentLog, info: () => this.#finished++, warn: () => this.#finished++ },
      open: (data) => {
        this.opened++;
        this.kept.push('opened');
        return new LogSnapshot(data, threads);
      },
      keepingRows: async (work) => {
        this.kept.push('rows are kept');
        try {
          return await work();
        } finally {
          this.kept.push('rows may go');
        }
      },
      stored: ({ sequence }) => this.stored.push(sequence),
    });
    test.after(async () => {
      await this.snapshotter.stop();
      this.writer.close();
    });
  }

  write(value = 'value'): void {
    this.writer.evaluate([{ kind: WriteKind.Put, request: putRequest(`key-${this.#sequence}`, value) }]);
    this.writer.apply(++this.#sequence);
    this.snapshotter.wrote(1, value.length);
  }

  /** Moves time on, and waits for a snapshot that this begins. */
  async advance(ms: number): Promise<void> {
    const [opened, finished] = [this.opened, this.#finished];
    for (let passed = 0; passed < ms && this.opened === opened; passed += SECOND_MS) {
      this.clock.advance(SECOND_MS);
      await new Promise((resolve) => setImmediate(resolve));
    }
    while (this.opened > opened && this.#finished === finished) {
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('a snapshot is due', () => {
  it('after so many records, and then after as many as it holds', async (test) => {
    const bench = new Bench(test, { records: 4 });
    await bench.snapshotter.start();
    for (let count = 0; count < 3; count++) bench.write();
    await bench.advance(10 * SECOND_MS);
    assert.deepEqual(bench.stored, []);
    for (let count = 3; count < 12; count++) bench.write();
    await bench.advance(10 * SECOND_MS);
    assert.deepEqual(bench.stored, [12]);
    for (let count = 0; count < 11; count++) bench.write();
    await bench.advance(10 * SECOND_MS);
    assert.deepEqual(bench.stored, [12], 'not 12 yet');
    bench.write();
    await bench.advance(10 * SECOND_MS);
    assert.deepEqual(bench.stored, [12, 24]);
  });

  it('after so many bytes', async (test) => {
    const bench = new Bench(test, { bytes: 1000 });
    await bench.snapshotter.start();
    bench.write('x'.repeat(999));
    await bench.advance(10 * SECOND_MS);
    assert.deepEqual(bench.stored, []);
    bench.write();
    await bench.advance(10 * SECOND_MS);
    assert.deepEqual(bench.stored, [2]);
  });

  it('while no compaction removes what it reads', async (test) => {
    const bench = new Bench(test, { records: 4 });
    await bench.snapshotter.start();
    for (let count = 0; count < 4; count++) bench.write();
    await bench.advance(2 * SECOND_MS);
    assert.deepEqual(bench.kept, ['rows are kept', 'opened', 'put', 'rows may go']);
  });

  it('after so long a time, if anything was written', async (test) => {
    const bench = new Bench(test, { ageMs: HOUR_MS });
    await bench.snapshotter.start();
    await bench.advance(2 * HOUR_MS);
    assert.equal(bench.opened, 0, 'nothing was written');
    bench.write();
    await bench.advance(2 * SECOND_MS);
    assert.deepEqual(bench.stored, [1]);
    bench.write();
    await bench.advance(HOUR_MS - 10 * SECOND_MS);
    assert.deepEqual(bench.stored, [1], 'less than an hour since');
    await bench.advance(20 * SECOND_MS);
    assert.deepEqual(bench.stored, [1, 2]);
  });

  it('by what a process before this one left, too', async (test) => {
    const bench = new Bench(test, { ageMs: HOUR_MS });
    await bench.store.put(snapshotKey(1), Buffer.from('by its name'));
    await bench.store.put('chunks/0000000000000000002.netsy', Buffer.from('after it'));
    bench.clock.advance(HOUR_MS);
    await bench.snapshotter.start();
    for (let count = 0; count < 2; count++) bench.write();
    await bench.advance(10 * SECOND_MS);
    assert.deepEqual(bench.stored, [2]);
  });

  it('again when it could not be stored or is not there as it was sent, later each time', async (test) => {
    let [tries, damage] = [0, true];
    const bench: Bench = new Bench(
      test,
      { records: 1 },
      {
        putMultipart: async (key, parts) => {
          if (++tries === 1) throw new Error('the store is away');
          await bench.store.putMultipart(key, parts);
          const object = (await bench.store.get(key))!;
          object[object.length >> 1]! ^= 1;
          if (damage) await bench.store.put(key, object);
        },
      },
    );
    await bench.snapshotter.start();
    bench.write();
    await bench.advance(5 * SECOND_MS);
    assert.deepEqual([tries, bench.stored], [1, []]);
    await bench.advance(5 * SECOND_MS);
    assert.equal(tries, 1, 'not at once');
    await bench.advance(20 * SECOND_MS);
    assert.deepEqual([tries, bench.stored], [2, []], 'a damaged one is not relied on');
    damage = false;
    await bench.advance(60 * SECOND_MS);
    assert.deepEqual([tries, bench.stored], [3, [1]]);
  });

  it('again when the store has another whole snapshot under its name', async (test) => {
    let isOther = true;
    const bench: Bench = new Bench(
      test,
      { records: 1 },
      {
        putMultipart: async (key, parts) => {
          if (!isOther) return bench.store.putMultipart(key, parts);
          let size = 0;
          for await (const part of parts) size += part.length;
          const createdAtMs = bench.clock.wallMs();
          let object: Buffer = Buffer.alloc(0);
          // As large as the one that was sent, or that alone would give it away.
          for (let nonce = 1n; object.length !== size; nonce++) {
            ({ object } = await snapshotObject(bench.writer.file, { createdAtMs, nonce }));
          }
          await bench.store.put(key, object);
        },
      },
    );
    await bench.snapshotter.start();
    bench.write();
    await bench.advance(5 * SECOND_MS);
    assert.deepEqual(bench.stored, []);
    isOther = false;
    await bench.advance(60 * SECOND_MS);
    assert.deepEqual(bench.stored, [1]);
  });

  it('never when it was stopped, and one under way leaves nothing', async (test) => {
    const bench: Bench = new Bench(
      test,
      { records: 1 },
      {
        putMultipart: (_key, _parts, signal) =>
          new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason))),
      },
    );
    await bench.snapshotter.start();
    bench.write();
    bench.clock.advance(2 * SECOND_MS);
    while (bench.opened === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    await bench.snapshotter.stop();
    bench.clock.advance(HOUR_MS);
    assert.deepEqual([bench.opened, bench.stored], [1, []]);
  });
});
