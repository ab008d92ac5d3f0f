import { Latencies } from '../measure/latency.ts';
import type { Trace } from '../outcome.ts';
import type { PhaseResult } from '../scenarios/phase.ts';
import type { Chart, Line } from './chart.ts';
import { groupBy, median } from './statistics.ts';
import { phaseName } from './text.ts';

/** The report's charts, from the figures. */

const COLORS = ['#0b6e99', '#d9730d', '#0f7b6c', '#ad1a72', '#6940a5', '#8d6e00', '#c4554d', '#64748b'];
const PROGRAM_ORDER = ['netsy', 't4', 'etcd', 'kine', 'echo', 'netsy-file'];

/** The same program has the same colour in every chart. */
function colorOf(server: string): string {
  const known = PROGRAM_ORDER.indexOf(server);
  return COLORS[known === -1 ? COLORS.length - 1 : known]!;
}

/** Points of a percentile curve up to 99.99 %, or as far as the count of values carries. */
export function percentilePoints(latencies: Latencies): [number, number][] {
  const perNine = 12;
  const points: [number, number][] = [];
  for (let step = 0; step <= 4 * perNine; step++) {
    const share = 1 - 10 ** (-step / perNine);
    if (10 ** (step / perNine) > Math.max(1, latencies.count)) break;
    points.push([share, latencies.at(share)]);
  }
  return points;
}

function merged(histograms: readonly string[]): Latencies {
  const all = new Latencies();
  for (const histogram of histograms) all.merge(Latencies.decode(histogram));
  return all;
}

/** One chart per phase, one curve per server; the variants of `window` and `budget` have charts of their own. */
export function percentileCharts(results: readonly PhaseResult[]): Chart[] {
  const phases = groupBy(
    results.filter(
      ({ scenario }) => scenario !== 'window' && scenario !== 'budget' && scenario !== 'concurrency',
    ),
    phaseName,
  );
  const charts = [...phases].map(([phase, group]) =>
    percentileChart(phase, group, ({ histogram }) => histogram),
  );
  const watching = results.filter(({ watch }) => watch !== undefined);
  const delays = [...groupBy(watching, phaseName)].map(([phase, group]) =>
    percentileChart(`${phase}: from acknowledgement to event`, group, ({ watch }) => watch!.histogram),
  );
  return [...charts, ...delays];
}

function percentileChart(
  title: string,
  group: readonly PhaseResult[],
  histogram: (result: PhaseResult) => string,
): Chart {
  const lines = [...groupBy(group, ({ server }) => server)].map(([name, ofServer]) => ({
    name,
    color: colorOf(name),
    points: percentilePoints(merged(ofServer.map(histogram))),
  }));
  return {
    title,
    xLabel: 'share of requests',
    yLabel: 'ms at most (log)',
    xScale: 'percentile',
    yScale: 'log',
    lines,
  };
}

/** Throughput and p99 against the number in flight, for creates and for gets. */
export function concurrencyCharts(results: readonly PhaseResult[]): Chart[] {
  const closed = results.filter(({ scenario }) => scenario === 'concurrency');
  return [...groupBy(closed, ({ operation }) => operation)].flatMap(([operation, group]) => {
    const lines = (value: (result: PhaseResult) => number): Line[] =>
      [...groupBy(group, ({ server }) => server)].map(([name, ofServer]) => ({
        name,
        color: colorOf(name),
        points: medians(ofServer, inFlightOf, value),
      }));
    const common = { xLabel: 'in flight (log)', xScale: 'log' as const };
    return [
      {
        ...common,
        title: `${operation}s a second by the number in flight`,
        yLabel: 'per second',
        yScale: 'linear' as const,
        lines: lines(({ throughputPerSecond }) => throughputPerSecond),
      },
      {
        ...common,
        title: `p99 of ${operation}s by the number in flight`,
        yLabel: 'ms (log)',
        yScale: 'log' as const,
        lines: lines(({ latency }) => latency.p99Ms),
      },
    ];
  });
}

function inFlightOf({ pace }: PhaseResult): number {
  return 'inFlight' in pace ? pace.inFlight : Number.NaN;
}

/** For each x, in order, the median of the values there. */
function medians(
  group: readonly PhaseResult[],
  x: (result: PhaseResult) => number,
  y: (result: PhaseResult) => number,
): [number, number][] {
  return [...groupBy(group, x)]
    .map(([at, results]): [number, number] => [at, median(results.map(y))!])
    .sort((a, b) => a[0] - b[0]);
}

/** Latency against the batch window, one line per pipeline depth, and the PUTs that it takes. */
export function windowCharts(results: readonly PhaseResult[]): Chart[] {
  const varied = results.filter(({ scenario }) => scenario === 'window');
  const part = (name: string, { phase }: PhaseResult): number =>
    Number(new RegExp(`${name} (\\d+)`).exec(phase)?.[1]);
  const chart = (title: string, yLabel: string, y: (result: PhaseResult) => number): Chart => ({
    title,
    xLabel: 'batch window, ms (log)',
    yLabel,
    xScale: 'log',
    yScale: 'linear',
    lines: [...groupBy(varied, (result) => part('depth', result))].map(([depth, group], index) => ({
      name: `pipeline depth ${depth}`,
      color: COLORS[index % COLORS.length]!,
      points: medians(group, (result) => part('window', result), y),
    })),
  });
  return [
    chart('p50 of creates by batch window and pipeline depth', 'ms', ({ latency }) => latency.p50Ms),
    chart('p99 of creates by batch window and pipeline depth', 'ms', ({ latency }) => latency.p99Ms),
    chart(
      'PUTs a second by batch window and pipeline depth',
      'per second',
      (result) => result.putsPerSecond ?? Number.NaN,
    ),
  ];
}

/** Latency against the budget of PUTs, and what was sent of it. */
export function budgetCharts(results: readonly PhaseResult[]): Chart[] {
  const varied = results.filter(({ scenario }) => scenario === 'budget');
  const budgetOf = ({ phase }: PhaseResult): number => Number(/budget (\d+)/.exec(phase)?.[1]);
  const line = (name: string, color: number, y: (result: PhaseResult) => number): Line => ({
    name,
    color: COLORS[color]!,
    points: medians(varied, budgetOf, y),
  });
  const common = { xLabel: 'PUTs a second that may be sent (log)', xScale: 'log' as const };
  return [
    {
      ...common,
      title: 'latency of creates by --put-budget',
      yLabel: 'ms (log)',
      yScale: 'log',
      lines: [
        line('p50', 0, ({ latency }) => latency.p50Ms),
        line('p99', 1, ({ latency }) => latency.p99Ms),
        line('p99.9', 2, ({ latency }) => latency.p999Ms),
      ],
    },
    {
      ...common,
      title: 'PUTs a second by --put-budget',
      yLabel: 'per second (log)',
      yScale: 'log',
      lines: [
        line('sent', 0, (result) => result.putsPerSecond ?? Number.NaN),
        line('may be sent', 7, budgetOf),
      ],
    },
  ];
}

/** CPU and memory over time of one run. */
export function traceCharts(trace: Trace): Chart[] {
  const lines = (values: 'cores' | 'residentMiB'): Line[] =>
    trace.series.map((series, index) => ({
      name: series.name,
      color: COLORS[index % COLORS.length]!,
      points: series.atSeconds.map((at, sample): [number, number] => [at, series[values][sample]!]),
    }));
  const common = { xLabel: 'seconds', xScale: 'linear' as const, yScale: 'linear' as const };
  return [
    { ...common, title: 'CPU', yLabel: 'cores', lines: lines('cores') },
    { ...common, title: 'resident memory', yLabel: 'MiB', lines: lines('residentMiB') },
  ];
}
