import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { FreshFrames, type WrittenChunk } from '../../src/main/upkeep/fresh-frames.ts';
import type { PackedFrame, StoredChunk } from '../../src/workers/contract/task.ts';

const KIB = 1024;

/** A pool whose frames become ready when the test says so. */
class Pool {
  readonly given: number[][] = [];
  readonly #ends: ((fails: boolean) => void)[] = [];

  packFrame(chunks: StoredChunk[]): Promise<PackedFrame> {
    const sequences = chunks.map(({ sequence }) => sequence);
    this.given.push(sequences);
    return new Promise((resolve, reject) => {
      this.#ends.push((fails) => {
        if (fails) reject(new Error('broken'));
        else resolve(frameOf(sequences));
      });
    });
  }

  end(index: number, fails = false): void {
    this.#ends[index]!(fails);
  }
}

function frameOf(sequences: readonly number[]): PackedFrame {
  const [first, chunks] = [sequences[0]!, sequences.length];
  const sizes = { bytes: 100 * KIB, contentBytes: chunks * 600 * KIB };
  return {
    frame: { first, chunks, nextSequence: first + chunks, lastCrc: BigInt(first + chunks), ...sizes },
    stored: new Uint8Array(100 * KIB),
    records: chunks * 10,
    previousChunkCrc: BigInt(first),
    createdAtMs: first + chunks,
  };
}

/** One that is compressed: two of them fill a frame. */
function chunk(sequence: number): WrittenChunk {
  return { sequence, object: new Uint8Array(200 * KIB), contentBytes: 600 * KIB };
}

function setUp(bytesMax = 10_000 * KIB): { pool: Pool; fresh: FreshFrames } {
  const pool = new Pool();
  return { pool, fresh: new FreshFrames(pool, bytesMax) };
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('the frames of what was written lately', () => {
  it('are closed when their content fills them, stay in order, and are given once', async () => {
    const { pool, fresh } = setUp();
    for (let sequence = 5; sequence <= 9; sequence++) fresh.add(chunk(sequence));
    assert.deepEqual(pool.given, [
      [5, 6],
      [7, 8],
    ]);
    const taken = fresh.take();
    assert.deepEqual(pool.given[2], [9]);
    for (const index of [2, 1, 0]) pool.end(index);
    const all = (await taken)!;
    assert.deepEqual(
      all.frames.map(({ frame }) => frame.first),
      [5, 7, 9],
    );
    assert.deepEqual([all.records, all.previousChunkCrc, all.createdAtMs], [50, 5n, 10]);
    assert.equal(await fresh.take(), undefined);
  });

  it('begin anew behind a chunk that was not written by this process', async () => {
    const { pool, fresh } = setUp();
    for (const sequence of [5, 6, 7, 9, 10]) fresh.add(chunk(sequence));
    assert.deepEqual(pool.given, [
      [5, 6],
      [9, 10],
    ]);
    pool.end(0);
    pool.end(1);
    assert.equal((await fresh.take())!.frames[0]!.frame.first, 9);
  });

  it('are forgotten when they would be more than may be held, of which what was compressed counts less', async () => {
    const { pool, fresh } = setUp(1000 * KIB);
    for (let sequence = 1; sequence <= 5; sequence++) fresh.add(chunk(sequence));
    pool.end(0);
    await settled();
    fresh.add(chunk(6));
    for (const index of [1, 2]) pool.end(index);
    await settled();
    for (let sequence = 7; sequence <= 9; sequence++) fresh.add(chunk(sequence));
    const kept = fresh.take();
    for (const index of [3, 4]) pool.end(index);
    assert.equal((await kept)!.frames[0]!.frame.first, 1);
    for (let sequence = 10; sequence <= 15; sequence++) fresh.add(chunk(sequence));
    const left = fresh.take();
    for (const index of [5, 6, 7]) pool.end(index);
    assert.equal((await left)!.frames[0]!.frame.first, 15, 'none was compressed in time');
  });

  it('stay bounded while the pool does nothing, whatever was forgotten meanwhile', async () => {
    for (const bytesMax of [800 * KIB, 1000 * KIB]) {
      const { pool, fresh } = setUp(bytesMax);
      for (let sequence = 1; sequence <= 100; sequence++) fresh.add(chunk(sequence));
      assert.equal(pool.given.flat().length, 4);
      const left = fresh.take();
      for (const index of pool.given.keys()) pool.end(index);
      assert.equal((await left)?.frames[0]?.frame.first, bytesMax > 800 * KIB ? 100 : undefined);
    }
  });

  it('take no room when they are forgotten', async () => {
    const { pool, fresh } = setUp(1000 * KIB);
    for (let round = 0; round < 20; round++) {
      // Behind a gap; every second time the frame is ready before it is forgotten.
      fresh.add(chunk(10 * round + 1));
      fresh.add(chunk(10 * round + 2));
      if (round % 2 === 0) pool.end(round);
      await settled();
      fresh.add(chunk(10 * round + 5));
      if (round % 2 === 1) pool.end(round);
      await settled();
    }
    for (let sequence = 301; sequence <= 304; sequence++) fresh.add(chunk(sequence));
    for (const index of [20, 21]) pool.end(index);
    assert.deepEqual(
      (await fresh.take())?.frames.map(({ frame }) => frame.first),
      [301, 303],
    );
  });

  it('are forgotten when one could not be made, which is said once; those that come later are kept', async () => {
    const { pool, fresh } = setUp();
    for (let sequence = 1; sequence <= 4; sequence++) fresh.add(chunk(sequence));
    pool.end(0);
    pool.end(1, true);
    await settled();
    for (let sequence = 5; sequence <= 6; sequence++) fresh.add(chunk(sequence));
    pool.end(2);
    await assert.rejects(fresh.take(), /broken/);
    for (let sequence = 7; sequence <= 8; sequence++) fresh.add(chunk(sequence));
    pool.end(3);
    assert.equal((await fresh.take())!.frames[0]!.frame.first, 7);
  });
});
