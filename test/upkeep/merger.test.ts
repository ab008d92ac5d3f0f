import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { listPacks, logObjects } from '../../src/main/recovery/log-objects.ts';
import { LOG_BEGINNING, LogReader } from '../../src/main/recovery/log-reader.ts';
import { CHUNKS_PREFIX, parseChunkKey } from '../../src/shared/format/names.ts';
import { collected } from '../cluster/world.ts';
import { localPool } from '../support/snapshots.ts';

import { dying, HOUR_MS, Site } from './merging-site.ts';

describe('merging', () => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);

  it('brings many chunks down to few objects, and the log reads as before', async () => {
    const site = new Site();
    for (let term = 0; term < 3; term++) {
      await site.term(150, 5);
      await site.merge(20);
    }
    const before = await site.counts();
    assert.ok(before.chunks > 450, 'what is young stays');
    await site.check();
    site.nowMs += 2 * HOUR_MS;
    await site.write(20);
    await site.merge(20);
    const { chunks, packs } = await site.counts();
    // Those left by fenced processes, and the last ones.
    assert.ok(chunks <= 10 + 40, `${chunks} chunks`);
    assert.ok(packs <= 20, `${packs} packs`);
    await site.check();
    site.close();
  });

  it('and crashes, other primaries, snapshots and retention leave every chunk that a restore point needs', async (test) => {
    test.diagnostic(`SEED=${seed}`);
    const count = fc.integer({ min: 1, max: 30 });
    const step = fc.oneof(
      { weight: 3, arbitrary: fc.record({ do: fc.constant('write' as const), count }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('term' as const), count }) },
      { weight: 4, arbitrary: fc.record({ do: fc.constant('merge' as const), count }) },
      {
        weight: 3,
        arbitrary: fc.record({
          do: fc.constant('die' as const),
          count,
          after: fc.boolean(),
          at: fc.integer({ min: 1, max: 25 }),
        }),
      },
      {
        weight: 3,
        arbitrary: fc.record({
          do: fc.constant('serve' as const),
          count,
          missed: fc.integer({ min: 2, max: 40 }),
          at: fc.integer({ min: 1, max: 25 }),
        }),
      },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('fight' as const), count, other: count }) },
      { weight: 1, arbitrary: fc.record({ do: fc.constant('snapshot' as const) }) },
      {
        weight: 1,
        arbitrary: fc.record({ do: fc.constant('retain' as const), at: fc.integer({ min: 1, max: 60 }) }),
      },
      {
        weight: 2,
        arbitrary: fc.record({ do: fc.constant('age' as const), hours: fc.integer({ min: 1, max: 3 }) }),
      },
    );
    const property = fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 30 }), async (steps) => {
      const site = new Site();
      await site.term(3, 0);
      for (const each of steps) {
        if (each.do === 'write') await site.write(each.count);
        else if (each.do === 'term') await site.term(each.count, each.count % 6);
        else if (each.do === 'merge') await site.merge(each.count);
        else if (each.do === 'die') await site.merge(each.count, dying(site.store, each.at, each.after));
        else if (each.do === 'serve')
          await site.serve(each.count, each.missed, dying(site.store, each.at, each.at % 2 === 0));
        else if (each.do === 'fight') await Promise.all([site.merge(each.count), site.merge(each.other)]);
        else if (each.do === 'snapshot') await site.snapshot();
        else if (each.do === 'retain') await site.retain(dying(site.store, each.at, true));
        else site.nowMs += each.hours * HOUR_MS;
        await site.check();
      }
      site.close();
    });
    await fc.assert(property, { seed, numRuns: 40, endOnFailure: true });
  });

  it('reads none of the chunks that it was told of, and makes packs that hold them as they were', async () => {
    const site = new Site();
    await site.term(10, 3);
    await site.merge(4);
    const read: string[] = [];
    const process = site.merger(8, {
      get: (key) => {
        read.push(key);
        return site.store.get(key);
      },
    });
    for (let pack = 0; pack < 40; pack++) {
      await site.write(9);
      await site.tell(process, 9);
      await process.run();
    }
    await process.stop();
    assert.deepEqual(
      read.filter((key) => parseChunkKey(key) !== undefined),
      [],
    );
    const packs = await listPacks(site.store);
    assert.ok(packs.length > 1);
    for (const pack of packs) {
      const { frames } = (await site.opened(pack))!;
      assert.ok(frames.length <= 3, `${frames.length} small frames in ${pack.key}`);
    }
    await site.deleteChunks();
    await site.check();
    site.close();
  });

  it('takes frames of a good size as they are when packs become one', async () => {
    const site = new Site();
    let compressed = 0;
    const compress: typeof localPool.compress = (body) => {
      compressed++;
      return localPool.compress(body);
    };
    const process = site.merger(4, {}, { ...localPool, compress });
    await site.term(0, 0);
    await process.run();
    for (let chunk = 0; chunk < 80; chunk++) {
      await site.write(1, 600_000);
      await site.tell(process, 1);
      if (chunk % 4 === 3) await process.run();
    }
    await process.stop();
    const packs = await listPacks(site.store);
    assert.ok(
      packs.some(({ size }) => size > 16 * 1024 * 1024),
      'some were put together',
    );
    assert.ok(compressed <= 1, `${compressed} frames were compressed that had been compressed before`);
    await site.deleteChunks();
    await site.check();
    site.close();
  });

  it('reads what was written before it a pack at a time', async () => {
    const site = new Site();
    await site.term(1, 0);
    await site.write(40, 600_000);
    const process = site.merger(4);
    await site.write(4, 600_000);
    await site.tell(process, 4);
    await process.run();
    await process.stop();
    const sizes = (await listPacks(site.store)).map(({ size }) => size);
    assert.ok(Math.max(...sizes) < 18 * 1024 * 1024, `packs of ${sizes.join(', ')} bytes`);
    await site.deleteChunks();
    await site.check();
    site.close();
  });

  it('deletes no chunk whose PUT was answered to nobody: its process may put it again under the same name', async () => {
    const site = new Site();
    await site.term(20, 0);
    site.durableSequence = site.log.next - 3;
    site.nowMs += 2 * HOUR_MS;
    await site.write(0);
    await site.merge(8);
    const left = (await collected(site.store.list(CHUNKS_PREFIX))).map(({ key }) => parseChunkKey(key));
    assert.deepEqual(left, [site.log.next - 2, site.log.next - 1], 'the rest is in the pack');
    await site.check();
    site.durableSequence = site.log.next - 1;
    await site.merge(8);
    assert.deepEqual(await site.counts(), { chunks: 0, packs: 1 });
    await site.check();
    site.close();
  });

  it('deletes nothing that is less than an hour old by the store', async () => {
    const site = new Site();
    await site.term(50, 3);
    await site.merge(10);
    site.nowMs += 0.9 * HOUR_MS;
    await site.write(10);
    await site.merge(10);
    assert.equal((await site.counts()).chunks, 64);
    site.nowMs += 0.2 * HOUR_MS;
    await site.write(10);
    await site.merge(10);
    assert.equal((await site.counts()).chunks, 3 + 10 + 10);
    site.close();
  });

  for (const [part, at] of [
    ['header', () => 5],
    ['last frame', (size: number) => size - 20],
  ] as const) {
    it(`deletes no chunk before its pack was read back whole, and makes one with a damaged ${part} anew`, async () => {
      const site = new Site();
      await site.term(40, 0);
      await site.merge(10);
      const [pack] = await listPacks(site.store);
      const object = Buffer.from((await site.store.get(pack!.key))!);
      object[at(object.length)]! ^= 1;
      await site.store.put(pack!.key, object);
      site.nowMs += 2 * HOUR_MS;
      await site.write(1);
      const process = site.merger(10);
      await process.run();
      assert.equal((await site.counts()).chunks, 42, 'nothing is deleted');
      await site.check();
      await site.write(10);
      await site.tell(process, 10);
      await process.run();
      await process.run();
      await process.stop();
      await site.deleteChunks();
      await site.check();
      site.close();
    });
  }

  it('leaves what fenced processes put between the chunks of a pack where it is', async () => {
    const site = new Site();
    await site.term(20, 0);
    await site.term(20, 4);
    await site.merge(10);
    site.nowMs += 2 * HOUR_MS;
    await site.write(10);
    await site.merge(10);
    const left = (await collected(site.store.list('chunks/'))).map(({ key }) => parseChunkKey(key)!);
    const stragglers = left.filter((sequence) => !site.log.sequences.includes(sequence));
    assert.equal(stragglers.length, 4);
    site.close();
  });
});

describe('reading a log with packs', () => {
  async function merged(): Promise<Site> {
    const site = new Site();
    await site.term(60, 0);
    await site.merge(20);
    return site;
  }

  async function damage(site: Site, at: (size: number) => number): Promise<void> {
    for (const { key, size } of await listPacks(site.store)) {
      const object = Buffer.from((await site.store.get(key))!);
      object[at(size)]! ^= 4;
      await site.store.put(key, object);
    }
  }

  it('takes the pack where both are there, from any chunk in it on', async () => {
    const site = await merged();
    assert.ok((await collected(logObjects(site.store, 1))).length < 5);
    await site.deleteChunks();
    const chunks = await site.read();
    for (const [index, { sequence, crc, skipTo }] of chunks.entries()) {
      const from = { sequence, chunkCrc: crc, nextSequence: skipTo ?? sequence + 1 };
      assert.deepEqual(
        (await site.read(from)).map((chunk) => chunk.sequence),
        site.log.sequences.slice(index + 1),
      );
      assert.equal((await site.reader.chunkAt(sequence))?.crc, crc);
    }
    site.close();
  });

  it('falls back on the chunks when a pack is damaged, and says so', async () => {
    for (const at of [() => 5, (size: number) => size >> 1, (size: number) => size - 1]) {
      const site = await merged();
      await damage(site, at);
      const said: string[] = [];
      const reader = new LogReader({ store: site.store, pool: localPool, damaged: (key) => said.push(key) });
      assert.equal((await collected(reader.chunks(LOG_BEGINNING))).length, site.log.sequences.length);
      assert.deepEqual(
        said,
        (await listPacks(site.store)).map(({ key }) => key),
      );
      site.close();
    }
  });

  it('never takes a damaged pack for the end of the log', async () => {
    for (const at of [() => 5, (size: number) => size >> 1, (size: number) => size - 1]) {
      const site = await merged();
      await damage(site, at);
      await site.deleteChunks();
      await assert.rejects(site.read(), /^Corrupt.*packs\//);
      site.close();
    }
  });

  it('refuses a log where a pack lies beyond a missing chunk', async () => {
    const site = await merged();
    await site.write(3);
    await site.merge(3);
    await site.deleteChunks();
    const [first] = await listPacks(site.store);
    await site.store.delete(first!.key);
    await assert.rejects(site.read(), /chunk 1 is missing/);
    site.close();
  });
});
