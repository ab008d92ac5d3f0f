import type { OperationName } from '../load/workload.ts';
import type { BenchOptions } from '../options.ts';
import type { Outcome, Trace } from '../outcome.ts';
import type { ProgramName } from '../programs/programs.ts';
import type { PhaseResult } from '../scenarios/phase.ts';
import { budgetLabel, LISTED_ALONE, LISTED_BESIDE, type ScenarioName } from '../scenarios/scenario.ts';
import { growth, median } from './statistics.ts';

/** Where netsy must stand: each figure with its bar and its aim, as issue 6 sets them, and how it is measured. */

/** What a value is held to. */
export interface Bar {
  readonly sense: 'at least' | 'at most';
  readonly value: number;
}

type Verdict = 'aim met' | 'bar met' | 'missed' | 'no bar' | 'not judged' | 'not run';

/** One row of the table. */
export interface Standing {
  readonly figure: string;
  readonly unit: string;
  readonly bar: Bar | undefined;
  readonly aim: Bar | undefined;
  readonly measured: number | undefined;
  readonly verdict: Verdict;
  /** Why it is not judged or not run. */
  readonly note: string;
}

type Evidence = Pick<Outcome, 'results' | 'traces'>;

interface Figure {
  readonly figure: string;
  readonly unit: string;
  readonly bar?: Bar;
  readonly aim?: Bar;
  readonly scenario: ScenarioName;
  /** Undefined when the scenario or a program in it was not run. */
  measure(evidence: Evidence): number | undefined;
  /** What the options make smaller or other than the table asks for; undefined when nothing. */
  readonly otherThanAsked?: (options: BenchOptions) => string | undefined;
}

const atLeast = (value: number): Bar => ({ sense: 'at least', value });
const atMost = (value: number): Bar => ({ sense: 'at most', value });

/** Which phases a figure is of; the median of the rounds counts. */
interface Where {
  readonly server: ProgramName;
  readonly scenario?: ScenarioName;
  readonly operation: OperationName;
  readonly inFlight?: number;
  readonly rate?: number;
}

function figureOf(
  { results }: Pick<Evidence, 'results'>,
  where: Where,
  value: (result: PhaseResult) => number | undefined,
): number | undefined {
  const { server, scenario = 'kube', operation, inFlight, rate } = where;
  const chosen = results.filter(
    (result) =>
      result.server === server &&
      result.scenario === scenario &&
      result.operation === operation &&
      ('rate' in result.pace ? result.pace.rate === rate : result.pace.inFlight === inFlight),
  );
  return median(chosen.map(value).filter((one) => one !== undefined));
}

const perSecond = (result: PhaseResult): number => result.throughputPerSecond;

function throughputRatio(where: Where, to: ProgramName): (evidence: Evidence) => number | undefined {
  return (evidence) => {
    const [ours, theirs] = [where, { ...where, server: to }].map((one) => figureOf(evidence, one, perSecond));
    return ours === undefined || theirs === undefined || theirs === 0 ? undefined : ours / theirs;
  };
}

function slowVersity(options: BenchOptions): string | undefined {
  const { store, backend, putMedianMs, sigma, tailShare, tailMinMs, tailMaxMs } = options;
  const asked =
    store === 'slow-s3' &&
    backend === 'versitygw' &&
    [putMedianMs, sigma, tailShare, tailMinMs, tailMaxMs].join() === '20,0.35,0.005,100,400';
  return asked ? undefined : 'another store than versitygw behind the slow store';
}

const creates = (inFlight: number): Where => ({ server: 'netsy', operation: 'create', inFlight });
const openLoop: Where = { server: 'netsy', operation: 'create', rate: 2000 };

const overT4: readonly Figure[] = [
  { inFlight: 50, bar: 2.0, aim: 2.3 },
  { inFlight: 500, bar: 1.3, aim: 1.6 },
].map(({ inFlight, bar, aim }) => ({
  figure: `creates, ${inFlight} in flight, ÷ T4`,
  unit: '×',
  bar: atLeast(bar),
  aim: atLeast(aim),
  scenario: 'kube',
  measure: throughputRatio(creates(inFlight), 't4'),
  otherThanAsked: slowVersity,
}));

const fileOverEtcd: readonly Figure[] = (['create', 'update'] as const).flatMap((operation) =>
  [50, 500].map((inFlight) => ({
    figure: `file://, ${operation}s, ${inFlight} in flight, ÷ etcd`,
    unit: '×',
    bar: atLeast(1.0),
    aim: atLeast(1.5),
    scenario: 'kube' as const,
    measure: throughputRatio({ server: 'netsy-file', operation, inFlight }, 'etcd'),
  })),
);

const overEcho: readonly Figure[] = (['create', 'get'] as const).flatMap((operation) =>
  [50, 500].map((inFlight) => ({
    figure: `${operation}s, ${inFlight} in flight, ÷ a bare grpc-js echo`,
    unit: '×',
    scenario: 'kube' as const,
    measure: throughputRatio({ server: 'netsy', operation, inFlight }, 'echo'),
  })),
);

const FIGURES: readonly Figure[] = [
  ...overT4,
  {
    figure: 'open loop 2,000 creates/s: p50 ÷ median PUT',
    unit: '×',
    bar: atMost(1.25),
    aim: atMost(1.15),
    scenario: 'kube',
    measure: (evidence) => figureOf(evidence, openLoop, (result) => result.p50OverPut),
    otherThanAsked: slowVersity,
  },
  {
    figure: 'open loop 2,000 creates/s: p999 ÷ median PUT',
    unit: '×',
    bar: atMost(5),
    aim: atMost(3.5),
    scenario: 'kube',
    measure: (evidence) => figureOf(evidence, openLoop, (result) => result.p999OverPut),
    otherThanAsked: slowVersity,
  },
  ...fileOverEtcd,
  {
    figure: 'gets, 500 in flight, ÷ etcd',
    unit: '×',
    bar: atLeast(1.0),
    aim: atLeast(1.3),
    scenario: 'kube',
    measure: throughputRatio({ server: 'netsy', operation: 'get', inFlight: 500 }, 'etcd'),
  },
  {
    figure: 'pages of 500 × 1 KiB, 50 in flight, ÷ etcd',
    unit: '×',
    bar: atLeast(1.0),
    aim: atLeast(2.0),
    scenario: 'pages',
    measure: throughputRatio({ server: 'netsy', scenario: 'pages', operation: 'page', inFlight: 50 }, 'etcd'),
  },
  {
    figure: 'write p999 with 4 clients listing 10,000 keys ÷ without them',
    unit: '×',
    bar: atMost(1.5),
    aim: atMost(1.2),
    scenario: 'lists',
    measure: disturbance,
    otherThanAsked: (options) => smaller(options.listKeys, 10_000, 'keys') ?? slowVersity(options),
  },
  {
    figure: '1,000 watchers on 100 prefixes, 2,000 writes/s: acknowledgement to event, p99',
    unit: 'ms',
    bar: atMost(50),
    aim: atMost(10),
    scenario: 'watch',
    measure: (evidence) => figureOf(evidence, watched, ({ watch }) => watch?.delay.p99Ms),
    otherThanAsked: ({ watchers, rate }) =>
      smaller(watchers, 1000, 'watchers') ?? smaller(rate, 2000, 'writes/s'),
  },
  {
    figure: 'count of a prefix of 1 million keys, median',
    unit: 'ms',
    bar: atMost(50),
    aim: atMost(1),
    scenario: 'count',
    measure: (evidence) => figureOf(evidence, counted, ({ latency }) => latency.p50Ms),
    otherThanAsked: ({ countKeys }) => smaller(countKeys, 1_000_000, 'keys'),
  },
  {
    figure: 'resident memory, 100,000 keys × 1 KiB, 200 watchers, after 10 minutes',
    unit: 'MiB',
    bar: atMost(400),
    aim: atMost(250),
    scenario: 'memory',
    measure: (evidence) => figureOf(evidence, remembered, ({ residentMiB }) => residentMiB['server']),
    otherThanAsked: smallMemory,
  },
  {
    figure: '… flat: its last two minutes ÷ minutes 2 to 4',
    unit: '×',
    bar: atMost(1.1),
    aim: atMost(1.05),
    scenario: 'memory',
    measure: ({ traces }) => median(traces.map(memoryGrowth).filter((one) => one !== undefined)),
    otherThanAsked: smallMemory,
  },
  {
    figure: 'PUTs per second at 2,000 writes/s with --put-budget 10',
    unit: '/s',
    bar: atMost(10),
    scenario: 'budget',
    measure: ({ results }) => figureOf({ results: results.filter(isOfBudget) }, budgeted, perSecondOfPuts),
    otherThanAsked: slowVersity,
  },
  {
    figure: '… and the p99 of these writes',
    unit: 'ms',
    bar: atMost(200),
    scenario: 'budget',
    measure: ({ results }) =>
      figureOf({ results: results.filter(isOfBudget) }, budgeted, ({ latency }) => latency.p99Ms),
    otherThanAsked: slowVersity,
  },
  ...overEcho,
];

const watched: Where = { server: 'netsy', scenario: 'watch', operation: 'update', rate: 2000 };
const counted: Where = { server: 'netsy', scenario: 'count', operation: 'count', inFlight: 1 };
const remembered: Where = { server: 'netsy', scenario: 'memory', operation: 'update', rate: 2000 };

const budgeted: Where = { server: 'netsy', scenario: 'budget', operation: 'create', rate: 2000 };
const isOfBudget = ({ phase }: PhaseResult): boolean => phase.startsWith(`${budgetLabel(10)}:`);
const perSecondOfPuts = ({ putsPerSecond }: PhaseResult): number | undefined => putsPerSecond;

/** Median over the rounds of one round's p999 with listers ÷ the same round's without. */
function disturbance({ results }: Evidence): number | undefined {
  const ours = results.filter((result) => result.server === 'netsy' && result.scenario === 'lists');
  const ratios = ours
    .filter((result) => result.phase === LISTED_BESIDE)
    .map((beside) => {
      const alone = ours.find((one) => one.phase === LISTED_ALONE && one.round === beside.round);
      return alone === undefined ? undefined : beside.latency.p999Ms / alone.latency.p999Ms;
    });
  return median(ratios.filter((ratio) => ratio !== undefined));
}

/** Of the server's memory from the beginning of the last step on. */
function memoryGrowth({ server, scenario, series, steps }: Trace): number | undefined {
  if (server !== 'netsy' || scenario !== 'memory') return undefined;
  const ours = series.find(({ name }) => name === 'server');
  const from = steps.at(-1)?.atSeconds ?? 0;
  return growth(ours?.residentMiB.filter((_, index) => ours.atSeconds[index]! >= from) ?? []);
}

function smallMemory({ memoryKeys, memorySeconds, watchers }: BenchOptions): string | undefined {
  return (
    smaller(memoryKeys, 100_000, 'keys') ??
    smaller(memorySeconds, 600, 'seconds') ??
    smaller(watchers, 1000, 'watchers')
  );
}

function smaller(given: number, asked: number, what: string): string | undefined {
  return given < asked ? `${given} ${what} instead of ${asked}` : undefined;
}

/** The whole table, rows without a figure too. */
export function standings(options: BenchOptions, evidence: Evidence): Standing[] {
  return FIGURES.map((figure) => standingOf(figure, options, evidence));
}

function standingOf(figure: Figure, options: BenchOptions, evidence: Evidence): Standing {
  const { bar, aim, unit } = figure;
  const measured = figure.measure(evidence);
  const row = { figure: figure.figure, unit, bar, aim, measured };
  if (measured === undefined) return { ...row, verdict: 'not run', note: `scenario ${figure.scenario}` };
  if (options.quick) return { ...row, verdict: 'not judged', note: 'quick' };
  const other = figure.otherThanAsked?.(options);
  if (other !== undefined) return { ...row, verdict: 'not judged', note: other };
  return { ...row, verdict: verdictOn(measured, bar, aim), note: '' };
}

function verdictOn(measured: number, bar: Bar | undefined, aim: Bar | undefined): Verdict {
  if (!bar) return 'no bar';
  if (aim && holds(aim, measured)) return 'aim met';
  return holds(bar, measured) ? 'bar met' : 'missed';
}

function holds({ sense, value }: Bar, measured: number): boolean {
  return sense === 'at least' ? measured >= value : measured <= value;
}
