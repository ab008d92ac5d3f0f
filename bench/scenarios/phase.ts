import type { Pace } from '../load/generator.ts';
import type { LoadProcess } from '../load/load-process.ts';
import type { PhaseReport } from '../load/protocol.ts';
import { type ForeignKeys, isWrite, type OperationName } from '../load/workload.ts';
import { Latencies, type LatencySummary } from '../measure/latency.ts';
import { pausesBetween, type ThreadPauses } from '../measure/pauses.ts';
import { threadsOf, type Usage, usageOf } from '../measure/resources.ts';
import { type SlowWrites, slowWritesBetween, totalsIn } from '../measure/slow-writes.ts';
import type { BenchOptions } from '../options.ts';
import type { StoreStats } from '../store/slow-store.ts';
import type { BenchStore } from '../stores.ts';
import type { Phase, ScenarioName } from './scenario.ts';

/** What the watchers of a phase saw. */
export interface WatchResult {
  readonly watchers: number;
  readonly events: number;
  readonly eventsBeforeAcknowledgement: number;
  /** From a write's acknowledgement to its event at one watcher. */
  readonly delay: LatencySummary;
  readonly histogram: string;
}

/** What one phase gave in one round. */
export interface PhaseResult {
  readonly server: string;
  readonly round: number;
  readonly scenario: ScenarioName;
  /** With the variant's label, where the scenario has variants. */
  readonly phase: string;
  readonly operation: OperationName;
  readonly pace: Pace;
  readonly throughputPerSecond: number;
  readonly latency: LatencySummary;
  /** The generator's own delay between due and sent; part of `latency` in the open loop. */
  readonly lateness: LatencySummary;
  /** HdrHistogram, compressed and in base64. */
  readonly histogram: string;
  readonly errors: Readonly<Record<string, number>>;
  readonly errorCount: number;
  readonly watch?: WatchResult;
  /** Undefined when the server doesn't write to the bench's store. */
  readonly store?: StoreStats;
  readonly putsPerSecond?: number;
  readonly writesPerPut?: number;
  /** Median latency of the phase ÷ median latency of the PUTs during it. */
  readonly p50OverPut?: number;
  readonly p999OverPut?: number;
  /** Where the server says that its slow writes' time went, warm-up included. */
  readonly slowWrites?: SlowWrites;
  /** What it says held its threads up, warm-up included. */
  readonly pauses?: readonly ThreadPauses[];
  /** CPU seconds per second of the window, by process. */
  readonly cpu: Readonly<Record<string, number>>;
  /** The same of the server's threads: the main thread's, and the others' from the busiest down. */
  readonly threads?: { readonly main: number; readonly others: readonly number[] };
  readonly residentMiB: Readonly<Record<string, number>>;
}

/** What is looked at while a phase runs. */
export interface Surroundings {
  readonly options: BenchOptions;
  readonly server: string;
  readonly round: number;
  readonly scenario: ScenarioName;
  /** Of the scenario's variant; empty when it has none. */
  readonly variant: string;
  readonly loads: readonly LoadProcess[];
  readonly store: BenchStore | undefined;
  /** The processes of each part: server, store, load. */
  readonly pids: ReadonlyMap<string, readonly number[]>;
  /** The server's; asked before and after a phase, so that asking disturbs nothing. */
  metrics(): Promise<string | undefined>;
}

const drainMs = 30_000;

/** Runs one phase on all load processes at once and puts their figures together; `foreign` as in `createWorkload`. */
export async function runPhase(
  around: Surroundings,
  phase: Phase,
  foreign?: ForeignKeys,
): Promise<PhaseResult> {
  const before = await around.metrics();
  const begunMs = performance.now();
  const window = new WindowProbe(around);
  const seconds = phase.seconds ?? around.options.seconds;
  const reports = await Promise.all(
    around.loads.map(async (load, index) => {
      const command = {
        do: 'phase' as const,
        operation: phase.operation,
        pace: shareOf(phase.pace, around.loads.length, index),
        warmupMs: around.options.warmup * 1000,
        measureMs: seconds * 1000,
        drainMs,
        ...(foreign ? { foreign } : {}),
      };
      // The first process's window stands for all: they start within milliseconds.
      const { phase: report } = await load.do(command, index === 0 ? (end) => window.at(end) : undefined);
      if (!report) throw new Error('a load process sent no figures');
      return report;
    }),
  );
  const result = summarize(around, phase, seconds, reports, await window.result());
  const after = await around.metrics();
  return { ...result, ...toldBetween(before, after, (performance.now() - begunMs) / 1000) };
}

/** What netsy's metrics tell of a phase. */
function toldBetween(
  before: string | undefined,
  after: string | undefined,
  seconds: number,
): Pick<PhaseResult, 'slowWrites' | 'pauses'> {
  if (before === undefined || after === undefined) return {};
  const slowWrites = slowWritesBetween(totalsIn(before), totalsIn(after));
  const pauses = pausesBetween(before, after, seconds);
  return { ...(slowWrites ? { slowWrites } : {}), ...(pauses.length > 0 ? { pauses } : {}) };
}

/** Whole requests only; the first processes take what doesn't divide. */
function shareOf(pace: Pace, count: number, index: number): Pace {
  if ('rate' in pace) return { rate: pace.rate / count };
  return { inFlight: wholeShare(pace.inFlight, count, index) };
}

/** The part of `whole` that process `index` of `count` takes, so that all of them together take all. */
export function wholeShare(whole: number, count: number, index: number): number {
  return Math.floor(whole / count) + (index < whole % count ? 1 : 0);
}

interface WindowFigures {
  readonly store: StoreStats | undefined;
  readonly cpuSeconds: Record<string, number>;
  readonly residentMiB: Record<string, number>;
  /** Of the server, the main thread first, then from the busiest down. */
  readonly threadSeconds: readonly number[];
}

/** Reads counters and CPU at both ends of the measured window. */
class WindowProbe {
  private readonly around: Surroundings;
  private before = new Map<string, Usage | undefined>();
  private after = new Map<string, Usage | undefined>();
  private threadsBefore: ReadonlyMap<number, number> = new Map();
  private threadsAfter: ReadonlyMap<number, number> = new Map();
  private cleared: Promise<unknown> = Promise.resolve();
  private stats: Promise<StoreStats | undefined> = Promise.resolve(undefined);

  constructor(around: Surroundings) {
    this.around = around;
  }

  at(end: 'window-start' | 'window-end'): void {
    const { store } = this.around;
    if (end === 'window-start') {
      this.before = this.usage();
      this.threadsBefore = this.threads();
      this.cleared = store?.stats(true) ?? this.cleared;
    } else {
      this.after = this.usage();
      this.threadsAfter = this.threads();
      this.stats = store?.stats(false) ?? this.stats;
    }
  }

  async result(): Promise<WindowFigures> {
    await this.cleared;
    const threadSeconds = this.threadSeconds();
    const figures: WindowFigures = {
      store: await this.stats,
      cpuSeconds: {},
      residentMiB: {},
      threadSeconds,
    };
    for (const [name, after] of this.after) {
      const before = this.before.get(name);
      if (!before || !after) continue;
      figures.cpuSeconds[name] = after.cpuSeconds - before.cpuSeconds;
      if (after.residentMiB !== undefined) figures.residentMiB[name] = after.residentMiB;
    }
    return figures;
  }

  private usage(): Map<string, Usage | undefined> {
    return new Map([...this.around.pids].map(([name, pids]) => [name, sumOf(pids.map(usageOf))]));
  }

  private threads(): ReadonlyMap<number, number> {
    const [pid] = this.around.pids.get('server') ?? [];
    return pid === undefined ? new Map() : threadsOf(pid);
  }

  private threadSeconds(): number[] {
    const [main] = this.around.pids.get('server') ?? [];
    const used = (id: number, after: number): number => after - (this.threadsBefore.get(id) ?? 0);
    const others = [...this.threadsAfter].filter(([id]) => id !== main).map(([id, after]) => used(id, after));
    const mainAfter = main === undefined ? undefined : this.threadsAfter.get(main);
    if (main === undefined || mainAfter === undefined) return [];
    return [used(main, mainAfter), ...others.sort((a, b) => b - a)];
  }
}

/** Undefined when one of them is gone. */
function sumOf(usages: readonly (Usage | undefined)[]): Usage | undefined {
  let [cpuSeconds, residentMiB] = [0, 0];
  for (const usage of usages) {
    if (!usage) return undefined;
    cpuSeconds += usage.cpuSeconds;
    residentMiB += usage.residentMiB ?? Number.NaN;
  }
  return { cpuSeconds, residentMiB: Number.isNaN(residentMiB) ? undefined : residentMiB };
}

function summarize(
  around: Surroundings,
  phase: Phase,
  seconds: number,
  reports: readonly PhaseReport[],
  figures: WindowFigures,
): PhaseResult {
  const [latencies, lateness] = [new Latencies(), new Latencies()];
  const errors: Record<string, number> = {};
  for (const report of reports) {
    latencies.merge(Latencies.decode(report.latencies));
    lateness.merge(Latencies.decode(report.lateness));
    for (const [what, count] of [
      ...Object.entries(report.errors),
      ...Object.entries(report.watch?.problems ?? {}),
    ])
      errors[what] = (errors[what] ?? 0) + count;
  }
  const completed = reports.reduce((sum, report) => sum + report.completedInWindow, 0);
  const latency = latencies.summary();
  return {
    server: around.server,
    round: around.round,
    scenario: around.scenario,
    phase: around.variant === '' ? phase.label : `${around.variant}: ${phase.label}`,
    operation: phase.operation,
    pace: phase.pace,
    throughputPerSecond: completed / seconds,
    latency,
    lateness: lateness.summary(),
    histogram: latencies.encode(),
    errors,
    errorCount: Object.values(errors).reduce((sum, count) => sum + count, 0),
    ...watchFigures(reports),
    ...storeFigures(figures.store, phase.operation, completed, latency, seconds),
    cpu: Object.fromEntries(Object.entries(figures.cpuSeconds).map(([name, used]) => [name, used / seconds])),
    ...threadFigures(figures.threadSeconds, seconds),
    residentMiB: figures.residentMiB,
  };
}

/** Threads that used less than this share of a core are left out. */
const idleCores = 0.01;

function threadFigures([main, ...others]: readonly number[], seconds: number): Pick<PhaseResult, 'threads'> {
  if (main === undefined) return {};
  const cores = others.map((used) => used / seconds).filter((used) => used >= idleCores);
  return { threads: { main: main / seconds, others: cores } };
}

function watchFigures(reports: readonly PhaseReport[]): Pick<PhaseResult, 'watch'> {
  const watches = reports.map(({ watch }) => watch).filter((watch) => watch !== undefined);
  if (watches.length === 0) return {};
  const delays = new Latencies();
  for (const watch of watches) delays.merge(Latencies.decode(watch.delays));
  const sum = (value: (watch: (typeof watches)[number]) => number): number =>
    watches.reduce((total, watch) => total + value(watch), 0);
  return {
    watch: {
      watchers: sum((watch) => watch.watchers),
      events: sum((watch) => watch.events),
      eventsBeforeAcknowledgement: sum((watch) => watch.eventsBeforeAcknowledgement),
      delay: delays.summary(),
      histogram: delays.encode(),
    },
  };
}

function storeFigures(
  store: StoreStats | undefined,
  operation: OperationName,
  completed: number,
  latency: LatencySummary,
  seconds: number,
): Pick<PhaseResult, 'store' | 'putsPerSecond' | 'writesPerPut' | 'p50OverPut' | 'p999OverPut'> {
  if (!store) return {};
  const perSecond = { store, putsPerSecond: store.puts / seconds };
  if (!isWrite(operation) || store.puts === 0) return perSecond;
  return {
    ...perSecond,
    writesPerPut: completed / store.puts,
    p50OverPut: latency.p50Ms / store.putLatency.p50Ms,
    p999OverPut: latency.p999Ms / store.putLatency.p50Ms,
  };
}
