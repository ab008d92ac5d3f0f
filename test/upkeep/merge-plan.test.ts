import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { PACK_BYTES, planMerge } from '../../src/main/upkeep/merge-plan.ts';

const KIB = 1024;

/** Merges until nothing is to be merged; answers the bytes that were written. */
function settle(sizes: number[]): number {
  let written = 0;
  for (let run = planMerge(sizes.map((size) => ({ size }))); run !== undefined; ) {
    const bytes = run.reduce((sum, { size }) => sum + size, 0);
    sizes.splice(sizes.length - run.length, run.length, bytes);
    written += bytes;
    run = planMerge(sizes.map((size) => ({ size })));
  }
  return written;
}

describe('the plan of what packs are merged', () => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);

  it('leaves few small packs, and writes each byte a few times at most, whatever the sizes', (test) => {
    test.diagnostic(`SEED=${seed}`);
    const size = fc.oneof(
      fc.integer({ min: 20 * KIB, max: 100 * KIB }),
      fc.integer({ min: 20 * KIB, max: PACK_BYTES }),
    );
    const property = fc.property(fc.array(size, { minLength: 100, maxLength: 400 }), (arriving) => {
      const sizes: number[] = [];
      let [arrived, written, smallMax] = [0, 0, 0];
      for (const bytes of arriving) {
        sizes.push(bytes);
        arrived += bytes;
        written += settle(sizes);
        smallMax = Math.max(smallMax, sizes.filter((size) => size < PACK_BYTES / 2).length);
      }
      const large = arriving.filter((bytes) => bytes >= PACK_BYTES / 2).length;
      assert.ok(smallMax <= 24 * (1 + large), `${smallMax} small packs, ${large} large ones between`);
      assert.ok(written <= 6 * arrived, `${written / arrived} times`);
    });
    fc.assert(property, { seed, numRuns: 200 });
  });

  it('takes no pack that has grown enough, nor one that is larger than all after it', () => {
    const many = Array.from({ length: 15 }, () => ({ size: 100 * KIB }));
    assert.equal(planMerge(many), undefined);
    assert.equal(planMerge([{ size: PACK_BYTES / 2 }, ...many]), undefined);
    assert.equal(planMerge([{ size: 1501 * KIB }, ...many]), undefined);
    assert.equal(planMerge([{ size: 1500 * KIB }, ...many])?.length, 16);
  });
});
