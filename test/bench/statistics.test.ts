import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Latencies } from '../../bench/measure/latency.ts';
import { costPerMillionWrites, S3_EXPRESS, S3_STANDARD } from '../../bench/report/cost.ts';
import { percentilePoints } from '../../bench/report/curves.ts';
import { groupBy, growth, median } from '../../bench/report/statistics.ts';
import { seededFractions } from '../../bench/store/delay.ts';

test('a median is the middle of the values, whatever their order', () => {
  assert.deepEqual(
    [median([]), median([4]), median([9, 1, 5]), median([4, 1, 2, 3])],
    [undefined, 4, 5, 2.5],
  );
});

test('groups keep the order in which they first come', () => {
  assert.deepEqual(
    [...groupBy([3, 1, 4, 6], (one) => one % 2)],
    [
      [1, [3, 1]],
      [0, [4, 6]],
    ],
  );
});

test('growth is of a settled series: what happens in its first fifth does not count', () => {
  const flat = Array.from({ length: 100 }, (_, index) => (index < 20 ? 50 + index : 200));
  assert.equal(growth(flat), 1);
  const leak = Array.from({ length: 100 }, (_, index) => 200 + index);
  // The medians are at 29.5 and 89.5.
  assert.equal(growth(leak), 289.5 / 229.5);
  assert.equal(growth([1, 2, 3]), undefined);
});

test('a million writes of 10 to a PUT of 100,000 PUTs cost half a dollar on Standard', () => {
  const stats = { puts: 1000, putBytes: 2 ** 30 };
  // 10,000 writes; a hundred times that is a million.
  assert.equal(costPerMillionWrites(S3_STANDARD, stats, 10_000), 100 * 0.005);
  assert.ok(Math.abs(costPerMillionWrites(S3_EXPRESS, stats, 10_000)! - 100 * (0.00113 + 0.0032)) < 1e-9);
  assert.equal(costPerMillionWrites(S3_STANDARD, stats, 0), undefined);
});

test('a percentile curve goes as far as the count of values carries, at most to 99.99 %', () => {
  const fraction = seededFractions(1);
  const last = (count: number): number => {
    const latencies = new Latencies();
    for (let index = 0; index < count; index++) latencies.record(fraction() * 100);
    return percentilePoints(latencies).at(-1)![0];
  };
  assert.ok(Math.abs(last(1000) - 0.999) < 1e-9);
  assert.ok(Math.abs(last(100_000) - 0.9999) < 1e-9);
  assert.equal(percentilePoints(new Latencies()).length, 1);
});

test('a percentile curve of values spread evenly is their share', () => {
  const latencies = new Latencies();
  for (let value = 1; value <= 10_000; value++) latencies.record(value / 100);
  for (const [share, milliseconds] of percentilePoints(latencies)) {
    assert.ok(Math.abs(milliseconds - share * 100) <= 0.2, `${share}: ${milliseconds}`);
  }
});
