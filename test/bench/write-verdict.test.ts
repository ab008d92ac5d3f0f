import assert from 'node:assert/strict';
import { test } from 'node:test';
import { verdictOf } from '../../bench/report/write-verdict.ts';
import type { PhaseResult } from '../../bench/scenarios/phase.ts';
import { phaseResult } from './results.ts';

const result = phaseResult;

const closed = (throughputPerSecond: number): PhaseResult =>
  result({ phase: 'create, 500 in flight', pace: { inFlight: 500 }, throughputPerSecond });

test('both bars held is a pass', () => {
  const { passed, complete } = verdictOf('netsy', [result({}), closed(3000)]);
  assert.deepEqual([passed, complete], [true, true]);
});

test('a median write of 1.5 median PUTs fails', () => {
  assert.equal(verdictOf('netsy', [result({ p50OverPut: 1.5 }), closed(9000)]).passed, false);
});

test('a rate that was not held fails, however fast the answers were', () => {
  assert.equal(verdictOf('netsy', [result({ throughputPerSecond: 1900 }), closed(9000)]).passed, false);
});

test('2,999 writes/s with 500 in flight fail', () => {
  assert.equal(verdictOf('netsy', [result({}), closed(2999)]).passed, false);
});

test('without a measured PUT there is no ratio, and no pass', () => {
  const { p50OverPut: _, ...without } = result({});
  assert.equal(verdictOf('netsy', [without, closed(9000)]).passed, false);
});

test('updates are held to the bars as creates are, gets are not', () => {
  const slowUpdate = result({ operation: 'update', phase: 'update, 2000/s due', p50OverPut: 3 });
  assert.equal(verdictOf('netsy', [result({}), slowUpdate, closed(9000)]).passed, false);
  const slowGet = result({ operation: 'get', phase: 'get, 2000/s due', throughputPerSecond: 1 });
  assert.equal(verdictOf('netsy', [result({}), slowGet, closed(9000)]).passed, true);
});

test('of several rounds the median counts, and a scenario that did not run is said to be open', () => {
  const rounds = [result({ p50OverPut: 1.2 }), result({ p50OverPut: 9 }), result({ p50OverPut: 1.3 })];
  const verdict = verdictOf('netsy', rounds);
  assert.deepEqual([verdict.passed, verdict.complete], [true, false]);
  assert.match(verdict.lines.join('\n'), /1\.30.*\nopen/);
});
