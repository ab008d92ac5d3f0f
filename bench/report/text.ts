import { isWhole } from '../load/verify.ts';
import { isWrite } from '../load/workload.ts';
import type { Outcome, RoundCheck, StoreAudit } from '../outcome.ts';
import type { PhaseResult, WatchResult } from '../scenarios/phase.ts';
import { costPerMillionWrites, S3_EXPRESS, S3_STANDARD } from './cost.ts';
import type { Bar, Standing } from './standing.ts';
import { groupBy, median } from './statistics.ts';

type Column = readonly [title: string, digits: number, value: (result: PhaseResult) => number | undefined];

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

/** What a phase is called beside those of other scenarios. */
export function phaseName({ scenario, phase }: PhaseResult): string {
  return scenario === 'kube' ? phase : `${scenario}: ${phase}`;
}

/** One line per server and phase; with several rounds, each figure is the median of its rounds. */
export function table(results: readonly PhaseResult[]): string {
  const groups = groupBy(results, (result) => `${result.server}: ${phaseName(result)}`);
  const rows = [...groups].map(([name, group]) => [
    name,
    ...columns.map(([, digits, value]) =>
      cell(median(group.map(value).filter((one) => one !== undefined)), digits),
    ),
  ]);
  return aligned([['phase', ...columns.map(([title]) => title)], ...rows]);
}

/** The first server's throughput and p50 as shares of each other server's; empty with only one server. */
export function ratios(results: readonly PhaseResult[]): string {
  const [first, ...others] = groupBy(results, (result) => result.server).keys();
  if (first === undefined || others.length === 0) return '';
  const rows = [...groupBy(results, phaseName)].flatMap(([phase, group]) => {
    const here = new Set(group.map(({ server }) => server));
    return others
      .filter((other) => here.has(first) && here.has(other))
      .map((other) => {
        const ratio = (value: (result: PhaseResult) => number): string => {
          const of = (name: string): number =>
            median(group.filter((result) => result.server === name).map(value)) ?? Number.NaN;
          return (of(first) / of(other)).toFixed(2);
        };
        return [
          `${first} ÷ ${other}: ${phase}`,
          ratio((r) => r.throughputPerSecond),
          ratio((r) => r.latency.p50Ms),
        ];
      });
  });
  return rows.length === 0 ? '' : aligned([['ratio in this run', 'per second', 'p50'], ...rows]);
}

/** From acknowledgement to event, one line per server; empty when nothing was watched. */
export function watchTable(results: readonly PhaseResult[]): string {
  const watching = results.filter(({ watch }) => watch !== undefined);
  if (watching.length === 0) return '';
  const rows = [...groupBy(watching, (result) => `${result.server}: ${phaseName(result)}`)].map(
    ([name, group]) => {
      const of = (value: (watch: WatchResult) => number, digits: number): string =>
        cell(median(group.map(({ watch }) => value(watch!))), digits);
      return [
        name,
        of((watch) => watch.watchers, 0),
        of((watch) => watch.events, 0),
        of((watch) => (100 * watch.eventsBeforeAcknowledgement) / Math.max(1, watch.events), 1),
        of((watch) => watch.delay.p50Ms, 2),
        of((watch) => watch.delay.p99Ms, 2),
        of((watch) => watch.delay.p999Ms, 1),
        of((watch) => watch.delay.maxMs, 1),
      ];
    },
  );
  const titles = ['watchers', 'events', '% before the answer', 'delay p50 ms', 'p99', 'p999', 'max'];
  return aligned([['acknowledgement to event', ...titles], ...rows]);
}

/** PUTs and what they cost, one line per server and writing phase that the store counted. */
export function costTable(results: readonly PhaseResult[]): string {
  const rows = costRows(results).map(({ name, putsPerSecond, putsPerThousandWrites, standard, express }) => [
    name,
    cell(putsPerSecond, 1),
    cell(putsPerThousandWrites, 1),
    cell(standard, 3),
    cell(express, 3),
  ]);
  if (rows.length === 0) return '';
  const titles = ['PUTs/s', 'PUTs per 1,000 writes', `${S3_STANDARD.name} $`, `${S3_EXPRESS.name} $`];
  return aligned([['cost of a million writes', ...titles], ...rows]);
}

/** What `costTable` prints, medians of the rounds. */
export interface CostRow {
  readonly name: string;
  readonly putsPerSecond: number | undefined;
  readonly putsPerThousandWrites: number | undefined;
  readonly standard: number | undefined;
  readonly express: number | undefined;
}

export function costRows(results: readonly PhaseResult[]): CostRow[] {
  const writing = results.filter(({ store, writesPerPut }) => store && writesPerPut !== undefined);
  return [...groupBy(writing, (result) => `${result.server}: ${phaseName(result)}`)].map(([name, group]) => {
    const of = (value: (result: PhaseResult) => number | undefined): number | undefined =>
      median(group.map(value).filter((one) => one !== undefined));
    // A phase's writes are what one PUT took, times the PUTs.
    const writes = ({ store, writesPerPut }: PhaseResult): number => store!.puts * writesPerPut!;
    return {
      name,
      putsPerSecond: of(({ putsPerSecond }) => putsPerSecond),
      putsPerThousandWrites: of((result) => 1000 / result.writesPerPut!),
      standard: of((result) => costPerMillionWrites(S3_STANDARD, result.store!, writes(result))),
      express: of((result) => costPerMillionWrites(S3_EXPRESS, result.store!, writes(result))),
    };
  });
}

/** Whatever an HTTP tool and k6 measured, one line each; empty when they were not run. */
export function toolTables({ http, k6 }: Pick<Outcome, 'http' | 'k6'>): string[] {
  const httpRows = [...groupBy(http, ({ server, target }) => `${server}: ${target}`)].map(([name, group]) => [
    name,
    ...[
      cell(median(group.map(({ perSecond }) => perSecond)), 0),
      cell(median(group.map(({ p50Ms }) => p50Ms)), 1),
      cell(median(group.map(({ p99Ms }) => p99Ms)), 1),
      cell(median(group.map(({ maxMs }) => maxMs)), 1),
    ],
  ]);
  const k6Rows = [...groupBy(k6, ({ server, script }) => `${server}: ${script}`)].map(([name, group]) => [
    name,
    cell(median(group.map(({ iterationsPerSecond }) => iterationsPerSecond)), 0),
    cell(median(group.map(({ p50Ms }) => p50Ms)), 1),
    cell(median(group.map(({ p99Ms }) => p99Ms)), 1),
    cell(median(group.map(({ maxMs }) => maxMs)), 1),
  ]);
  const titles = ['p50 ms', 'p99', 'max'];
  return [
    httpRows.length > 0 ? aligned([['autocannon', 'per second', ...titles], ...httpRows]) : '',
    k6Rows.length > 0 ? aligned([['k6', 'iterations/s', ...titles], ...k6Rows]) : '',
  ].filter((text) => text !== '');
}

/** Share of a core that counts as all of it: the thread is what holds the server back. */
const busyCores = 0.9;

/**
 * Where the next ceiling of a server on node is: the write and the read in which its busiest thread had most to do.
 * A write's busiest worker is the writer of SQLite, a read's a reader. Go moves its work between threads, so its
 * threads say nothing.
 */
export function ceilingLines(results: readonly PhaseResult[]): string[] {
  const onNode = results.filter(({ server, threads }) => /^(netsy|echo)/.test(server) && threads);
  const kinds = groupBy(
    onNode,
    ({ server, operation }) => `${server}, ${isWrite(operation) ? 'writes' : 'reads'}`,
  );
  return [...kinds].map(([kind, group]) => {
    const busiest = [...group].sort((a, b) => topThread(b) - topThread(a))[0]!;
    const { main, others } = busiest.threads!;
    const workers = others.slice(0, 4).map((cores) => cores.toFixed(2));
    const listed = [`main ${main.toFixed(2)}`, ...workers].join(', ');
    const worker = topThread(busiest) >= busyCores ? 'a worker is full' : 'no thread is full';
    const what = main >= busyCores ? 'the main thread is full' : worker;
    const store = busiest.cpu['store'];
    const stored = store === undefined ? '' : `; store ${store.toFixed(2)}`;
    return `ceiling of ${kind}: ${what} (${phaseName(busiest)}; cores by thread: ${listed}${stored})`;
  });
}

function topThread({ threads }: PhaseResult): number {
  return Math.max(threads?.main ?? 0, threads?.others[0] ?? 0);
}

/** A generator that needs more than this share of what the server needs is part of what is measured. */
const generatorShareMax = 0.5;

/** What the generator itself costs, one line per server. */
export function generatorLines(results: readonly PhaseResult[]): string[] {
  const own = results.filter(({ operation }) => operation !== 'list');
  return [...groupBy(own, ({ server }) => server)].flatMap(([server, group]) => {
    const shares = group
      .filter(({ cpu }) => (cpu['server'] ?? 0) > 0)
      .map((result) => ({ result, share: (result.cpu['load'] ?? 0) / result.cpu['server']! }))
      .sort((a, b) => b.share - a.share);
    const most = shares[0];
    if (!most) return [];
    const middle = median(shares.map(({ share }) => share));
    const caution = most.share > generatorShareMax ? '; CAUTION: that is part of what is measured' : '';
    return [
      `generator beside ${server}: ${cell(middle, 2)} × the server's CPU in the median phase, at most ${most.share.toFixed(2)} × (${phaseName(most.result)})${caution}`,
    ];
  });
}

/** The table of where netsy must stand. */
export function standingTable(rows: readonly Standing[]): string {
  const body = rows.map((row) => [
    row.figure,
    barText(row.bar, row.unit),
    barText(row.aim, row.unit),
    measuredText(row),
    row.note === '' ? row.verdict : `${row.verdict} (${row.note})`,
  ]);
  return aligned([['where it must stand', 'bar', 'aim', 'measured', 'verdict'], ...body]);
}

export function barText(bar: Bar | undefined, unit: string): string {
  return bar ? `${bar.sense === 'at least' ? '≥' : '≤'} ${bar.value} ${unit}` : '-';
}

export function measuredText({ measured, unit }: Standing): string {
  return measured === undefined ? '-' : `${measured.toFixed(measured < 100 ? 2 : 0)} ${unit}`;
}

/** Every kind of error with its count, of the load and of the tools; empty when there was none. */
export function errorLines({ results, http, k6 }: Pick<Outcome, 'results' | 'http' | 'k6'>): string[] {
  const all = [
    ...results.map((result) => ({ ...result, what: phaseName(result) })),
    ...http.map((result) => ({ ...result, what: result.target })),
    ...k6.map((result) => ({ ...result, what: result.script })),
  ];
  return all.flatMap(({ server, round, what, errors }) =>
    Object.entries(errors).map(
      ([error, count]) => `ERROR ${server} round ${round}, ${what}: ${count} × ${error}`,
    ),
  );
}

/** For a line of progress; empty when there was none. */
export function errorText(errors: Readonly<Record<string, number>>): string {
  return Object.entries(errors)
    .map(([error, count]) => `, ${count} × ${error}`)
    .join('');
}

export function auditLine({ server, round, scenario, text }: StoreAudit): string {
  return `${server} round ${round}, ${scenario}: ${text}`;
}

export function verificationLine({ server, round, scenario, verification }: RoundCheck): string {
  const whole = isWhole(verification) ? 'read back whole' : 'NOT WHOLE';
  return `${server} round ${round}, ${scenario}: ${verification.acknowledged} keys with acknowledged writes, ${whole} (${Object.entries(
    verification,
  )
    .filter(([name]) => name !== 'acknowledged')
    .map(([name, count]) => `${name} ${count}`)
    .join(', ')})`;
}

export function cell(value: number | undefined, digits: number): string {
  return value === undefined || Number.isNaN(value) ? '-' : value.toFixed(digits);
}

/** The first column to the left, the others to the right. */
export function aligned(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row.map((text, at) => (at === 0 ? text.padEnd(widths[at]!) : text.padStart(widths[at]!))).join('  '),
    )
    .join('\n');
}
