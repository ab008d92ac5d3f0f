import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import test from 'node:test';
import { simulate } from './simulation.ts';
import { Tally } from './tally.ts';
import { VARIANTS } from './variants.ts';

/** Seeds are fresh each time, and printed; `SIM_SEED` runs from a given one. */
const SECONDS = Number(process.env['SIM_SECONDS'] ?? '60');
const SEEDS_MAX = 2 ** 24;
const first = Number(process.env['SIM_SEED'] ?? randomInt(2 ** 31 - SEEDS_MAX));

test('the same seed does the same: every event, and every answer', async () => {
  for (const seed of [first, first + 1]) {
    const once = await simulate(seed);
    const again = await simulate(seed);
    assert.equal(again.traceHash, once.traceHash, `seed ${seed}`);
    assert.deepEqual([...again.counts], [...once.counts]);
  }
});

test('whatever fails, nothing acknowledged is lost, and nobody is told what is not so', async (t) => {
  const tally = new Tally();
  const endMs = performance.now() + SECONDS * 1000;
  for (let seed = first; seed < first + SEEDS_MAX && performance.now() < endMs; seed++) {
    const result = await simulate(seed);
    tally.add(result);
    assert.deepEqual(result.violations, [], `replay: npm run sim -- --seed ${seed}`);
  }
  for (const line of [`seeds from ${first}`, ...tally.lines, tally.line]) t.diagnostic(line);
});

/** Of all variants those that are found soon; docs/simulation.md has the others. */
const FOUND_SOON = [
  'ack-before-durable',
  'drop-the-overlay',
  'reads-before-applied',
  'hub-gap',
  'lose-events',
];
const FOUND_SEEDS_MAX = 60;

for (const name of FOUND_SOON) {
  test(`a product that is broken on purpose is found: ${name}`, async () => {
    const variant = VARIANTS.find((one) => one.name === name);
    assert.ok(variant);
    for (let seed = first; seed < first + FOUND_SEEDS_MAX; seed++) {
      const { violations } = await simulate(seed, { variant });
      if (violations.length > 0) return;
    }
    assert.fail(`not found in ${FOUND_SEEDS_MAX} seeds from ${first}`);
  });
}
