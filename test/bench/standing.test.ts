import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Trace } from '../../bench/outcome.ts';
import { type Standing, standings } from '../../bench/report/standing.ts';
import type { PhaseResult } from '../../bench/scenarios/phase.ts';
import { LISTED_ALONE, LISTED_BESIDE } from '../../bench/scenarios/scenario.ts';
import { phaseResult, suiteOptions } from './results.ts';

function rowOf(
  figure: string,
  results: readonly PhaseResult[],
  options = suiteOptions,
  traces: Trace[] = [],
): Standing {
  const rows = standings(options, { results: [...results], traces });
  const row = rows.find((one) => one.figure.startsWith(figure));
  assert.ok(row, figure);
  return row;
}

/** Creates at 50 in flight: one result for each rate, in rounds of their own. */
const creates = (server: string, ...rates: readonly number[]): PhaseResult[] =>
  rates.map((throughputPerSecond, index) =>
    phaseResult({ server, pace: { inFlight: 50 }, throughputPerSecond, round: index + 1 }),
  );

test('a figure is the ratio of the medians of the rounds, not of their means', () => {
  const row = rowOf('creates, 50 in flight, ÷ T4', [
    ...creates('netsy', 100, 2200, 2100),
    ...creates('t4', 1000, 1000, 90_000),
  ]);
  assert.deepEqual([row.measured, row.verdict], [2.1, 'bar met']);
});

test('the bar and the aim are told apart, and just below the bar is missed', () => {
  const verdict = (rate: number): string =>
    rowOf('creates, 50 in flight, ÷ T4', [...creates('netsy', rate), ...creates('t4', 1000)]).verdict;
  assert.deepEqual(
    [verdict(1999), verdict(2000), verdict(2299), verdict(2300)],
    ['missed', 'bar met', 'bar met', 'aim met'],
  );
});

test('an upper bound holds from below', () => {
  const verdict = (p50OverPut: number): string =>
    rowOf('open loop 2,000 creates/s: p50', [phaseResult({ p50OverPut })]).verdict;
  assert.deepEqual([verdict(1.26), verdict(1.25), verdict(1.15)], ['missed', 'bar met', 'aim met']);
});

test('what was not run, or is of another scenario, has no figure and no verdict', () => {
  const pages = creates('netsy', 9000).map((one) => ({ ...one, scenario: 'concurrency' as const }));
  const row = rowOf('creates, 50 in flight, ÷ T4', [...pages, ...creates('t4', 1000)]);
  assert.deepEqual([row.measured, row.verdict], [undefined, 'not run']);
});

test('a quick run, another store or fewer keys are shown and not judged', () => {
  const results = [...creates('netsy', 9000), ...creates('t4', 1000)];
  for (const changes of [{ quick: true }, { backend: 'memory' }, { putMedianMs: 5 }]) {
    const row = rowOf('creates, 50 in flight, ÷ T4', results, { ...suiteOptions, ...changes });
    assert.deepEqual([row.measured, row.verdict], [9, 'not judged']);
  }
  const count = phaseResult({ scenario: 'count', operation: 'count', pace: { inFlight: 1 } });
  assert.equal(
    rowOf('count of a prefix', [count], { ...suiteOptions, countKeys: 5000 }).verdict,
    'not judged',
  );
  assert.equal(rowOf('count of a prefix', [count]).verdict, 'bar met');
});

test('listing disturbs writes by the ratio within one round', () => {
  const lists = (phase: string, round: number, p999Ms: number): PhaseResult => {
    const { latency } = phaseResult({});
    return phaseResult({ scenario: 'lists', phase, round, latency: { ...latency, p999Ms } });
  };
  const results = [
    lists(LISTED_ALONE, 1, 100),
    lists(LISTED_BESIDE, 1, 130),
    lists(LISTED_ALONE, 2, 1000),
    lists(LISTED_BESIDE, 2, 1500),
    lists(LISTED_ALONE, 3, 10),
    lists(LISTED_BESIDE, 3, 14),
  ];
  const row = rowOf('write p999', results);
  assert.deepEqual([row.measured, row.verdict], [1.4, 'bar met']);
});

test('memory that grows after the load began is not flat, what the fill took is not growth', () => {
  const trace = (grow: number): Trace => {
    const atSeconds = Array.from({ length: 700 }, (_, second) => second);
    const residentMiB = atSeconds.map((second) => (second < 100 ? second : 200 + grow * (second - 100)));
    return {
      server: 'netsy',
      scenario: 'memory',
      variant: '',
      round: 1,
      series: [{ name: 'server', atSeconds, cores: atSeconds, residentMiB }],
      steps: [
        { atSeconds: 0, name: 'fill' },
        { atSeconds: 100, name: 'update' },
      ],
    };
  };
  assert.equal(rowOf('… flat', [], suiteOptions, [trace(0)]).verdict, 'aim met');
  assert.equal(rowOf('… flat', [], suiteOptions, [trace(0.1)]).verdict, 'missed');
});

test('the budget of PUTs is judged by the variant that the table names, and by no other', () => {
  const budget = (label: string, putsPerSecond: number, p99Ms: number): PhaseResult => {
    const { latency } = phaseResult({});
    const phase = `${label}: create, 2000/s due`;
    return phaseResult({ scenario: 'budget', phase, putsPerSecond, latency: { ...latency, p99Ms } });
  };
  const results = [
    budget('put budget 5/s', 4.8, 290),
    budget('put budget 10/s', 10.1, 150),
    budget('put budget 100/s', 96, 60),
  ];
  const puts = rowOf('PUTs per second', results);
  assert.deepEqual([puts.measured, puts.verdict], [10.1, 'missed']);
  const p99 = rowOf('… and the p99', results);
  assert.deepEqual([p99.measured, p99.verdict], [150, 'bar met']);
  assert.equal(rowOf('PUTs per second', results.slice(0, 1)).verdict, 'not run');
});
