import assert from 'node:assert/strict';
import { test } from 'node:test';
import { emptyOutcome } from '../../bench/outcome.ts';
import { type Chart, chartHtml } from '../../bench/report/chart.ts';
import { reportHtml } from '../../bench/report/html.ts';
import { standings } from '../../bench/report/standing.ts';
import { phaseResult, suiteOptions } from './results.ts';

function chart(changes: Partial<Chart>): string {
  return chartHtml({
    title: 'a <title>',
    xLabel: 'x',
    yLabel: 'y',
    xScale: 'linear',
    yScale: 'linear',
    lines: [
      {
        name: 'netsy',
        color: '#000',
        points: [
          [1, 10],
          [2, 20],
        ],
      },
    ],
    ...changes,
  });
}

test('a chart escapes what it is given, and is nothing without points', () => {
  assert.match(chart({}), /a &lt;title&gt;/);
  assert.equal(chart({ lines: [] }), '');
  assert.equal(chart({ lines: [{ name: 'netsy', color: '#000', points: [[Number.NaN, 1]] }] }), '');
});

test('a log scale leaves out what it has no place for', () => {
  const lines = [
    {
      name: 'netsy',
      color: '#000',
      points: [
        [0, 5],
        [1, 0],
        [10, 5],
        [100, 50],
      ] as [number, number][],
    },
  ];
  const html = chart({ xScale: 'log', yScale: 'log', lines });
  assert.equal(html.match(/<circle/g)?.length, 2);
  assert.doesNotMatch(html, /NaN|Infinity/);
});

test('a log scale of values within a power of ten has ticks on both sides of them', () => {
  const points: [number, number][] = [
    [1, 210],
    [2, 480],
  ];
  const html = chart({ yScale: 'log', lines: [{ name: 'netsy', color: '#000', points }] });
  assert.match(html, />200</);
  assert.match(html, />500</);
});

test('on the percentile scale each nine is as wide as the one before', () => {
  const points = [0, 0.9, 0.99, 0.999, 0.9999].map((share): [number, number] => [share, 1]);
  const html = chart({ xScale: 'percentile', lines: [{ name: 'netsy', color: '#000', points }] });
  const xs = [...html.matchAll(/<circle cx="([\d.]+)"/g)].map(([, x]) => Number(x));
  const steps = xs.slice(1).map((x, index) => x - xs[index]!);
  assert.equal(steps.length, 4);
  for (const step of steps) assert.ok(Math.abs(step - steps[0]!) < 0.5, String(steps));
  assert.match(html, />99\.99 %</);
});

test('the report is one file that asks for nothing else, with every section that has figures', () => {
  const store = {
    backend: 'memory',
    putMedianMsConfigured: 20,
    puts: 100,
    putBytes: 100_000,
    putsRefused: 0,
    putsFailed: 0,
    putsInFlightMax: 4,
    reads: 0,
    lists: 0,
    deletes: 0,
    putLatency: phaseResult({}).latency,
  };
  const results = [
    phaseResult({ store, putsPerSecond: 100, writesPerPut: 20 }),
    phaseResult({ server: 'etcd' }),
    ...[1, 50].map((inFlight) => phaseResult({ scenario: 'concurrency', pace: { inFlight } })),
    phaseResult({ scenario: 'window', phase: 'window 4 ms, depth 8: create, 2000/s due' }),
  ];
  const seconds = [1, 2, 3];
  const trace = {
    server: 'netsy',
    scenario: 'kube' as const,
    variant: '',
    round: 1,
    series: [{ name: 'server', atSeconds: seconds, cores: seconds, residentMiB: seconds }],
    steps: [],
  };
  const outcome = { ...emptyOutcome(), results, traces: [trace] };
  const html = reportHtml({
    title: 'netsy bench',
    conditions: ['two cores & more'],
    verdict: 'PASS',
    standing: standings(suiteOptions, outcome),
    outcome,
    lines: [],
  });
  for (const title of [
    'Where it must stand',
    'Latency by percentile',
    'Throughput against concurrency',
    'Latency against batch window and pipeline depth',
    'PUTs and what they cost',
    'CPU and memory over time',
  ]) {
    assert.ok(html.includes(`<h2>${title}</h2>`), title);
  }
  assert.match(html, /two cores &amp; more/);
  assert.doesNotMatch(html, /<script|<link|src=|url\(|https?:/);
  assert.doesNotMatch(html, /NaN|Infinity|undefined/);
});
