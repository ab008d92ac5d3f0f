import { Latencies, type LatencySummary } from './latency.ts';
import type { Pace } from './load/generator.ts';
import type { LoadProcess } from './load/load-process.ts';
import type { PhaseReport } from './load/protocol.ts';
import type { OperationName } from './load/workload.ts';
import type { BenchOptions } from './options.ts';
import { type Usage, usageOf } from './resources.ts';
import type { StoreStats } from './store/slow-store.ts';
import type { BenchStore } from './stores.ts';

export interface Scenario {
  readonly operation: OperationName;
  readonly pace: Pace;
}

/** What one scenario gave in one round. */
export interface ScenarioResult {
  readonly server: string;
  readonly round: number;
  readonly scenario: string;
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
  /** Undefined when the server doesn't write to the bench's store. */
  readonly store?: StoreStats;
  readonly putsPerSecond?: number;
  readonly writesPerPut?: number;
  /** Median latency of the scenario ÷ median latency of the PUTs during it. */
  readonly p50OverPut?: number;
  /** CPU seconds per second of the window, by process. */
  readonly cpu: Readonly<Record<string, number>>;
  readonly residentMiB: Readonly<Record<string, number>>;
}

/** What is looked at while a scenario runs. */
export interface Surroundings {
  readonly options: BenchOptions;
  readonly server: string;
  readonly round: number;
  readonly loads: readonly LoadProcess[];
  readonly store: BenchStore | undefined;
  /** The processes of each part: server, store, load. */
  readonly pids: ReadonlyMap<string, readonly number[]>;
}

/** In the order in which they run: what a later operation needs, an earlier one has created. */
export function scenariosOf(options: BenchOptions): Scenario[] {
  const paces: Pace[] = options.inFlight.map((inFlight) => ({ inFlight }));
  if (options.rate > 0) paces.unshift({ rate: options.rate });
  return options.operations.flatMap((operation) => paces.map((pace) => ({ operation, pace })));
}

export function nameOf({ operation, pace }: Scenario): string {
  return 'rate' in pace ? `${operation}, ${pace.rate}/s due` : `${operation}, ${pace.inFlight} in flight`;
}

/** Runs one scenario on all load processes at once and puts their figures together. */
export async function runScenario(around: Surroundings, scenario: Scenario): Promise<ScenarioResult> {
  const window = new WindowProbe(around);
  const reports = await Promise.all(
    around.loads.map(async (load, index) => {
      const command = {
        do: 'phase' as const,
        operation: scenario.operation,
        pace: shareOf(scenario.pace, around.loads.length, index),
        warmupMs: around.options.warmup * 1000,
        measureMs: around.options.seconds * 1000,
        drainMs: 30_000,
      };
      // The first process's window stands for all: they start within milliseconds.
      const { phase } = await load.do(command, index === 0 ? (end) => window.at(end) : undefined);
      if (!phase) throw new Error('a load process sent no figures');
      return phase;
    }),
  );
  return summarize(around, scenario, reports, await window.result());
}

/** Whole requests only; the first processes take what doesn't divide. */
function shareOf(pace: Pace, count: number, index: number): Pace {
  if ('rate' in pace) return { rate: pace.rate / count };
  return { inFlight: Math.floor(pace.inFlight / count) + (index < pace.inFlight % count ? 1 : 0) };
}

interface WindowFigures {
  readonly store: StoreStats | undefined;
  readonly cpuSeconds: Record<string, number>;
  readonly residentMiB: Record<string, number>;
}

/** Reads counters and CPU at both ends of the measured window. */
class WindowProbe {
  private readonly around: Surroundings;
  private before = new Map<string, Usage | undefined>();
  private after = new Map<string, Usage | undefined>();
  private cleared: Promise<unknown> = Promise.resolve();
  private stats: Promise<StoreStats | undefined> = Promise.resolve(undefined);

  constructor(around: Surroundings) {
    this.around = around;
  }

  at(end: 'window-start' | 'window-end'): void {
    const { store } = this.around;
    if (end === 'window-start') {
      this.before = this.usage();
      this.cleared = store?.stats(true) ?? this.cleared;
    } else {
      this.after = this.usage();
      this.stats = store?.stats(false) ?? this.stats;
    }
  }

  async result(): Promise<WindowFigures> {
    await this.cleared;
    const figures: WindowFigures = { store: await this.stats, cpuSeconds: {}, residentMiB: {} };
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
  scenario: Scenario,
  reports: readonly PhaseReport[],
  figures: WindowFigures,
): ScenarioResult {
  const [latencies, lateness] = [new Latencies(), new Latencies()];
  const errors: Record<string, number> = {};
  for (const report of reports) {
    latencies.merge(Latencies.decode(report.latencies));
    lateness.merge(Latencies.decode(report.lateness));
    for (const [what, count] of Object.entries(report.errors)) errors[what] = (errors[what] ?? 0) + count;
  }
  const { seconds } = around.options;
  const completed = reports.reduce((sum, report) => sum + report.completedInWindow, 0);
  const latency = latencies.summary();
  return {
    server: around.server,
    round: around.round,
    scenario: nameOf(scenario),
    operation: scenario.operation,
    pace: scenario.pace,
    throughputPerSecond: completed / seconds,
    latency,
    lateness: lateness.summary(),
    histogram: latencies.encode(),
    errors,
    errorCount: Object.values(errors).reduce((sum, count) => sum + count, 0),
    ...storeFigures(figures.store, scenario.operation, completed, latency.p50Ms, seconds),
    cpu: Object.fromEntries(Object.entries(figures.cpuSeconds).map(([name, used]) => [name, used / seconds])),
    residentMiB: figures.residentMiB,
  };
}

function storeFigures(
  store: StoreStats | undefined,
  operation: OperationName,
  completed: number,
  p50Ms: number,
  seconds: number,
): Pick<ScenarioResult, 'store' | 'putsPerSecond' | 'writesPerPut' | 'p50OverPut'> {
  if (!store) return {};
  const perSecond = { store, putsPerSecond: store.puts / seconds };
  if (operation === 'get' || store.puts === 0) return perSecond;
  return {
    ...perSecond,
    writesPerPut: completed / store.puts,
    p50OverPut: p50Ms / store.putLatency.p50Ms,
  };
}
