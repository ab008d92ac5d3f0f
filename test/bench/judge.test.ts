import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Verification } from '../../bench/load/verify.ts';
import { emptyOutcome, type Outcome } from '../../bench/outcome.ts';
import { judge } from '../../bench/report/judge.ts';
import { standings } from '../../bench/report/standing.ts';
import { phaseResult, suiteOptions } from './results.ts';

const whole: Verification = {
  acknowledged: 10,
  unknown: 0,
  found: 10,
  missing: 0,
  wrongRevision: 0,
  wrongValue: 0,
  unexpected: 0,
  sharedRevision: 0,
  countDifference: 0,
};
const closed = phaseResult({
  phase: 'create, 500 in flight',
  pace: { inFlight: 500 },
  throughputPerSecond: 9000,
});
const options = { ...suiteOptions, suite: false };

/** A run in which all went well, but for `changes`. */
function outcome(changes: Partial<Outcome>): Outcome {
  const about = { server: 'netsy', round: 1, scenario: 'kube' as const };
  return {
    ...emptyOutcome(),
    results: [phaseResult({}), closed],
    checks: [{ ...about, verification: whole }],
    audits: [{ ...about, whole: true, text: 'whole' }],
    ...changes,
  };
}

const judged = (changes: Partial<Outcome>, interrupted = false): string =>
  judge(options, outcome(changes), [], interrupted).text;

test('a run in which all went well passes, and says that the bars held', () => {
  assert.match(judged({}), /^PASS: .*both bars held$/);
});

test('whatever went wrong fails the run, and is named', () => {
  const about = { server: 'netsy', round: 1, scenario: 'kube' as const };
  const http = {
    server: 'netsy',
    round: 1,
    target: 'GET /health',
    perSecond: 1,
    p50Ms: 1,
    p99Ms: 1,
    p999Ms: 1,
    maxMs: 1,
  };
  const k6 = {
    server: 'netsy',
    round: 1,
    script: 'grpc.js',
    iterationsPerSecond: 1,
    p50Ms: 1,
    p90Ms: 1,
    p99Ms: 1,
    maxMs: 1,
  };
  const wrong: readonly [Partial<Outcome>, RegExp][] = [
    [{ results: [phaseResult({ errors: { 'no answer': 1 } }), closed] }, /^FAIL: errors$/],
    [{ http: [{ ...http, errors: { timeouts: 1 } }] }, /^FAIL: errors$/],
    [{ k6: [{ ...k6, keysCreated: 1, errors: { 'checks failed': 1 } }] }, /^FAIL: errors$/],
    [{ broken: ['BROKEN netsy'] }, /^FAIL: errors$/],
    [{ checks: [{ ...about, verification: { ...whole, missing: 1 } }] }, /^FAIL: acknowledged/],
    [{ audits: [{ ...about, whole: false, text: 'damaged' }] }, /^FAIL: .*store that is not whole/],
    [{ results: [phaseResult({ p50OverPut: 3 }), closed] }, /^FAIL: a bar was missed$/],
  ];
  for (const [changes, expected] of wrong) assert.match(judged(changes), expected);
  assert.match(judged({}, true), /^FAIL: interrupted$/);
});

test("a missed row of the table fails the suite, and not a run of one's own choice", () => {
  const disk = (server: string, throughputPerSecond: number) =>
    phaseResult({ server, phase: 'create, 50 in flight', pace: { inFlight: 50 }, throughputPerSecond });
  const slow = outcome({ results: [phaseResult({}), closed, disk('netsy-file', 900), disk('etcd', 1000)] });
  const rows = standings(suiteOptions, slow);
  assert.match(judge(suiteOptions, slow, rows, false).text, /^FAIL: 1 figure/);
  assert.match(judge(options, slow, rows, false).text, /^PASS/);
});

test('without the phases that the bars are for, a pass says that they were not judged', () => {
  assert.match(judged({ results: [phaseResult({})] }), /^PASS: .*not judged/);
});
