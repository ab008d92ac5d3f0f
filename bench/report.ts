import { isWhole, type Verification } from './load/verify.ts';
import type { ScenarioResult } from './scenario.ts';

/** What one server's round ended with. */
export interface RoundCheck {
  readonly server: string;
  readonly round: number;
  readonly verification: Verification;
}

export interface Verdict {
  readonly passed: boolean;
  /** Whether the scenarios of both bars were run; without them `passed` says little. */
  readonly complete: boolean;
  /** One line each: what was asked, what was measured. */
  readonly lines: readonly string[];
}

/** The middle value, or the mean of the two in the middle; undefined of nothing. */
export function median(values: readonly number[]): number | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  const [low, high] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]];
  return low === undefined || high === undefined ? undefined : (low + high) / 2;
}

type Column = readonly [title: string, digits: number, value: (result: ScenarioResult) => number | undefined];

const columns: readonly Column[] = [
  ['per second', 0, (result) => result.throughputPerSecond],
  ['p50 ms', 2, (result) => result.latency.p50Ms],
  ['p90', 2, (result) => result.latency.p90Ms],
  ['p99', 2, (result) => result.latency.p99Ms],
  ['p999', 1, (result) => result.latency.p999Ms],
  ['max', 1, (result) => result.latency.maxMs],
  ['PUTs/s', 1, (result) => result.putsPerSecond],
  ['writes/PUT', 1, (result) => result.writesPerPut],
  [
    'PUT p50',
    2,
    (result) => (result.writesPerPut === undefined ? undefined : result.store?.putLatency.p50Ms),
  ],
  ['p50÷PUT', 2, (result) => result.p50OverPut],
  [
    'PUTs at once',
    0,
    (result) => (result.writesPerPut === undefined ? undefined : result.store?.putsInFlightMax),
  ],
  ['errors', 0, (result) => result.errorCount],
  ['sent late p99', 2, (result) => result.lateness.p99Ms],
  ['CPU server', 2, (result) => result.cpu['server']],
  ['store', 2, (result) => result.cpu['store']],
  ['load', 2, (result) => result.cpu['load']],
  ['RSS MiB', 0, (result) => result.residentMiB['server']],
];

/** One line per server and scenario; with several rounds, each figure is the median of its rounds. */
export function table(results: readonly ScenarioResult[]): string {
  const groups = groupBy(results, (result) => `${result.server}: ${result.scenario}`);
  const rows = [...groups].map(([name, group]) => [
    name,
    ...columns.map(([, digits, value]) =>
      cell(median(group.map(value).filter((one) => one !== undefined)), digits),
    ),
  ]);
  return aligned([['scenario', ...columns.map(([title]) => title)], ...rows]);
}

/** Each server's throughput and p50 as a share of the last server's; empty with only one server. */
export function ratios(results: readonly ScenarioResult[]): string {
  const servers = [...groupBy(results, (result) => result.server).keys()];
  const reference = servers.at(-1);
  if (servers.length < 2 || reference === undefined) return '';
  const rows = [...groupBy(results, (result) => result.scenario)].flatMap(([scenario, group]) =>
    servers.slice(0, -1).map((server) => {
      const ratio = (value: (result: ScenarioResult) => number): string => {
        const of = (name: string): number =>
          median(group.filter((result) => result.server === name).map(value)) ?? Number.NaN;
        return (of(server) / of(reference)).toFixed(2);
      };
      return [
        `${server} ÷ ${reference}: ${scenario}`,
        ratio((r) => r.throughputPerSecond),
        ratio((r) => r.latency.p50Ms),
      ];
    }),
  );
  return aligned([['ratio in this run', 'per second', 'p50'], ...rows]);
}

/** Every kind of error with its count; empty when there was none. */
export function errorLines(results: readonly ScenarioResult[]): string[] {
  return results.flatMap((result) =>
    Object.entries(result.errors).map(
      ([what, count]) =>
        `ERROR ${result.server} round ${result.round}, ${result.scenario}: ${count} × ${what}`,
    ),
  );
}

export function verificationLine({ server, round, verification }: RoundCheck): string {
  const whole = isWhole(verification) ? 'read back whole' : 'NOT WHOLE';
  return `${server} round ${round}: ${verification.acknowledged} keys with acknowledged writes, ${whole} (${Object.entries(
    verification,
  )
    .filter(([name]) => name !== 'acknowledged')
    .map(([name, count]) => `${name} ${count}`)
    .join(', ')})`;
}

/** Largest median latency ÷ median PUT at the fixed rate. */
const openLoopRatioMax = 1.5;
/** Share of the due requests that must be answered for the rate to count as held. */
const heldShare = 0.99;
/** Writes per second with 500 in flight. */
const closedLoopMin = 3000;
/** A slow store whose median is this much over what was asked for is itself what is slow. */
const storeLateMax = 1.15;

/**
 * Holds the median figures of `server` against the bars: at 2,000 writes/s p50 below 1.5 × the
 * median PUT; with 500 in flight at least 3,000 writes/s. Bars whose scenario didn't run are said
 * to be open and don't fail.
 */
export function verdictOf(server: string, results: readonly ScenarioResult[]): Verdict {
  const writes = results.filter((result) => result.server === server && result.operation !== 'get');
  const open = groupBy(
    writes.filter(({ pace }) => 'rate' in pace && pace.rate === 2000),
    (one) => one.scenario,
  );
  const closed = groupBy(
    writes.filter(({ pace }) => 'inFlight' in pace && pace.inFlight === 500),
    (one) => one.scenario,
  );
  const checks = [
    ...[...open].map(([scenario, group]) => openLoopCheck(scenario, group)),
    ...[...closed].map(([scenario, group]) => closedLoopCheck(scenario, group)),
  ];
  if (open.size === 0) checks.push({ passed: true, line: 'open   2,000 writes/s was not run' });
  if (closed.size === 0) checks.push({ passed: true, line: 'open   500 in flight was not run' });
  const complete = open.size > 0 && closed.size > 0;
  return { passed: checks.every(({ passed }) => passed), complete, lines: checks.map(({ line }) => line) };
}

interface Check {
  readonly passed: boolean;
  readonly line: string;
}

function openLoopCheck(scenario: string, group: readonly ScenarioResult[]): Check {
  const ratio = median(group.map((one) => one.p50OverPut ?? Number.POSITIVE_INFINITY)) ?? Number.NaN;
  const rate = median(group.map((one) => one.throughputPerSecond)) ?? Number.NaN;
  const storeLate = median(
    group.map(({ store }) => (store ? store.putLatency.p50Ms / store.putMedianMsConfigured : Number.NaN)),
  )!;
  const passed = ratio < openLoopRatioMax && rate >= 2000 * heldShare;
  const warning =
    storeLate > storeLateMax
      ? `; CAUTION: the slow store's own median was ${storeLate.toFixed(2)} × what was asked`
      : '';
  return {
    passed,
    line: `${word(passed)} ${scenario}: p50 ÷ median PUT ${ratio.toFixed(2)} (bar < ${openLoopRatioMax}), ${rate.toFixed(0)} writes/s held${warning}`,
  };
}

function closedLoopCheck(scenario: string, group: readonly ScenarioResult[]): Check {
  const rate = median(group.map((one) => one.throughputPerSecond)) ?? Number.NaN;
  const passed = rate >= closedLoopMin;
  return {
    passed,
    line: `${word(passed)} ${scenario}: ${rate.toFixed(0)} writes/s (bar ≥ ${closedLoopMin})`,
  };
}

const word = (passed: boolean): string => (passed ? 'pass  ' : 'FAIL  ');

function cell(value: number | undefined, digits: number): string {
  return value === undefined || Number.isNaN(value) ? '-' : value.toFixed(digits);
}

/** The first column to the left, the others to the right. */
function aligned(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row.map((text, at) => (at === 0 ? text.padEnd(widths[at]!) : text.padStart(widths[at]!))).join('  '),
    )
    .join('\n');
}

function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item);
    else groups.set(key(item), [item]);
  }
  return groups;
}
