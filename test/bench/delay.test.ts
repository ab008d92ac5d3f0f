import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultDelay, delayDraws, seededFractions } from '../../bench/store/delay.ts';

const draws = (seed: number, count: number, settings = defaultDelay): number[] => {
  const draw = delayDraws(settings, seededFractions(seed));
  return Array.from({ length: count }, draw);
};

const middle = (values: number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;

for (const seed of [0, 1, 2, 77, 4_000_000_000]) {
  test(`delays of seed ${seed} have the median, the spread and the stragglers that were asked for`, () => {
    const delays = draws(seed, 100_000);
    assert.ok(Math.abs(middle(delays) - 20) < 0.2, `median ${middle(delays)}`);
    const stragglers = delays.filter((delay) => delay >= 100);
    // exp(0.35 * 4.6) * 20 = 100: the log-normal part alone goes there twice in a million.
    assert.ok(Math.abs(stragglers.length / delays.length - 0.005) < 0.001, `${stragglers.length} stragglers`);
    assert.ok(Math.abs(middle(stragglers) - 250) < 25, `median straggler ${middle(stragglers)}`);
    assert.ok(Math.max(...stragglers) < 400);
    const logarithms = delays.filter((delay) => delay < 100).map((delay) => Math.log(delay / 20));
    const squares = logarithms.reduce((sum, one) => sum + one * one, 0);
    assert.ok(Math.abs(Math.sqrt(squares / logarithms.length) - 0.35) < 0.01);
  });
}

test('one seed gives one list of delays, another seed another', () => {
  assert.deepEqual(draws(5, 100), draws(5, 100));
  assert.notDeepEqual(draws(5, 100), draws(6, 100));
});

test('a change of the tail leaves the delays of the other requests as they were', () => {
  const without = draws(9, 10_000, { ...defaultDelay, tailShare: 0 });
  const changed = draws(9, 10_000).filter((delay, index) => delay !== without[index]);
  assert.ok(changed.length > 0 && changed.every((delay) => delay >= 100));
});

test('a median of 0 switches every delay off', () => {
  assert.deepEqual([...new Set(draws(3, 10_000, { ...defaultDelay, medianMs: 0 }))], [0]);
});
