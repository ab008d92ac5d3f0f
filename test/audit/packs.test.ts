import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { listPacks } from '../../src/main/recovery/log-objects.ts';
import { Merger } from '../../src/main/upkeep/merger.ts';
import { silentLog } from '../../src/shared/base/log.ts';
import { chunkKey, leaseKey, snapshotKey } from '../../src/shared/format/names.ts';
import { ManualClock } from '../support/clock.ts';
import { localPool } from '../support/snapshots.ts';
import { MadeStore } from './made-store.ts';
import { status, verified } from './verified.ts';

const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);

/** A store whose chunks are in packs too; without `chunks`, in these alone. */
async function packed(chunks: boolean): Promise<MadeStore> {
  const made = await MadeStore.random(seed, 60);
  const { store } = made;
  const parts = { store, pool: localPool, clock: new ManualClock(), log: silentLog };
  const durableSequence = (): number => made.chunks[made.chunks.length - 1]!;
  const merger = new Merger({ ...parts, chunksMax: 7, durableSequence });
  await merger.start();
  await merger.run();
  await merger.stop();
  const last = (await listPacks(store)).pop()?.last ?? 0;
  for (const sequence of made.chunks) if (!chunks && sequence <= last) await store.delete(chunkKey(sequence));
  return made;
}

describe(`netsy verify on a store with packs (SEED=${seed})`, () => {
  for (const chunks of [true, false]) {
    it(`finds it whole, the chunks ${chunks ? 'beside them' : 'deleted'}`, async () => {
      const made = await packed(chunks);
      const result = await verified(made.store);
      made.close();
      assert.deepEqual(result.damages, []);
      assert.equal(result.chunks, made.chunks.length);
      assert.equal(result.sequence, made.chunks[made.chunks.length - 1]);
      assert.deepEqual(
        result.notes.filter(({ object }) => object.startsWith('packs/')),
        [],
      );
    });
  }

  it('names a damaged pack, and what is lost with it', async () => {
    for (const chunks of [true, false]) {
      const made = await packed(chunks);
      const [pack] = await listPacks(made.store);
      const object = Buffer.from((await made.store.get(pack!.key))!);
      // More than one bit: zstd has some that mean nothing.
      object.fill(0, object.length - 12, object.length - 4);
      await made.store.put(pack!.key, object);
      const { damages } = await verified(made.store);
      made.close();
      assert.ok(damages.some((damage) => damage.object === pack!.key));
      const missing = damages.filter(({ found }) => found === 'missing');
      assert.equal(missing.length > 0, !chunks);
    }
  });

  it('names a chunk that is damaged beside its pack', async () => {
    const made = await packed(true);
    const key = chunkKey(made.chunks[2]!);
    await made.store.put(key, Buffer.from('garbage'));
    const { damages } = await verified(made.store);
    made.close();
    assert.deepEqual(
      damages.map(({ object }) => object),
      [key],
    );
  });
});

describe(`netsy status on a store with packs (SEED=${seed})`, () => {
  it('knows a log whose beginning is in packs alone', async () => {
    const made = await packed(false);
    const found = await status(made.store);
    const revision = made.revision();
    made.close();
    assert.deepEqual(found.odd, []);
    assert.ok(found.objects.packs.objects > 0);
    assert.equal(found.oldestRestorePoint?.sequence, 1);
    assert.deepEqual([found.end?.sequence, found.epoch], [made.chunks[made.chunks.length - 1], made.epoch]);
    // Only the chunks at the very end are looked at, which may all have none (SEED=396326).
    assert.ok(found.end?.revision === revision || found.end?.revision === undefined);
  });

  it('knows a log of which nothing but packs is left', async () => {
    const made = await packed(false);
    for (const sequence of [...made.chunks, ...made.stragglers]) await made.store.delete(chunkKey(sequence));
    for (const sequence of made.snapshots) await made.store.delete(snapshotKey(sequence));
    await made.store.delete(leaseKey(1));
    const [found, result] = [await status(made.store), await verified(made.store)];
    made.close();
    const last = (await listPacks(made.store)).pop()!.last;
    assert.deepEqual([found.odd, result.damages], [[], []]);
    assert.deepEqual([found.end?.sequence, result.sequence], [last, last]);
    assert.equal(found.epoch, result.epoch);
  });
});
