import { mkdtempSync, readdirSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LoadProcess } from './load/load-process.ts';
import { Sampler } from './measure/sampler.ts';
import { serverMetrics } from './measure/server-metrics.ts';
import type { BenchOptions } from './options.ts';
import type { Outcome } from './outcome.ts';
import { type Child, wasInterrupted } from './processes.ts';
import type { Program, RunningServer } from './programs/program.ts';
import { auditLine, errorText, verificationLine } from './report/text.ts';
import { runScenario, type ScenarioRun } from './scenarios/run-scenario.ts';
import { expectedSeconds, type Scenario, type Variant } from './scenarios/scenario.ts';
import { type BenchStore, startStore } from './stores.ts';

const sampleEveryMs = 1000;
/** A step that takes longer says so, again and again. */
const signOfLifeEveryMs = 20_000;

/** One scenario on one fresh server. */
interface Run {
  readonly program: Program;
  readonly scenario: Scenario;
  readonly variant: Variant;
  readonly round: number;
}

/** All runs in their order; every second round has the programs in the other order, so that none is always first. */
export function plan(
  options: BenchOptions,
  programs: readonly Program[],
  scenarios: readonly Scenario[],
): Run[] {
  const rounds = Array.from({ length: options.rounds }, (_, index) => index + 1);
  return rounds.flatMap((round) =>
    scenarios.flatMap((scenario) => {
      // A server that somebody else started is driven as if it could do anything.
      const able = programs.filter(
        ({ name }) => options.endpoint !== undefined || scenario.programs.some((one) => one === name),
      );
      const order = round % 2 === 1 ? able : [...able].reverse();
      return order.flatMap((program) =>
        scenario.variants(options).map((variant) => ({ program, scenario, variant, round })),
      );
    }),
  );
}

/** Takes all runs one after the other; what breaks is written down, and the next run begins. */
export async function runAll(
  options: BenchOptions,
  runs: readonly Run[],
  outcome: Outcome,
  progress: (text: string) => void,
): Promise<void> {
  const parent = mkdtempSync(join(tmpdir(), 'netsy-bench-'));
  process.once('exit', () => rmSync(parent, { recursive: true, force: true, maxRetries: 5 }));
  let left = runs.reduce((sum, { scenario }) => sum + expectedSeconds(scenario, options), 0);
  for (const [index, run] of runs.entries()) {
    if (wasInterrupted()) break;
    progress(`[${index + 1}/${runs.length}] ${nameOf(run)}; about ${duration(left)} left`);
    await new OneRun(options, run, outcome, progress).take(parent);
    left -= expectedSeconds(run.scenario, options);
  }
}

function nameOf({ program, scenario, variant, round }: Run): string {
  return `${program.name}, ${scenario.name}${variant.label === '' ? '' : ` (${variant.label})`}, round ${round}`;
}

function duration(seconds: number): string {
  return seconds < 90 ? `${Math.max(0, Math.round(seconds))} s` : `${Math.round(seconds / 60)} min`;
}

/**
 * Frees a run's disk space, but leaves its files until the end of the bench: ext4 without a journal takes minutes to
 * forget files that were removed, and every one that the next program makes would be the dearer for them.
 */
function emptyFiles(directory: string): void {
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) truncateSync(join(entry.parentPath, entry.name));
  }
}

class OneRun {
  private readonly options: BenchOptions;
  private readonly run: Run;
  private readonly outcome: Outcome;
  private readonly progress: (text: string) => void;
  private readonly children: Child[] = [];
  private readonly sampler = new Sampler(sampleEveryMs);
  private readonly steps: { atSeconds: number; name: string }[] = [];

  constructor(options: BenchOptions, run: Run, outcome: Outcome, progress: (text: string) => void) {
    this.options = options;
    this.run = run;
    this.outcome = outcome;
    this.progress = progress;
  }

  /** Never rejects. Leaves a directory of empty files in `parent`. */
  async take(parent: string): Promise<void> {
    const directory = mkdtempSync(join(parent, 'run-'));
    const alive = setInterval(() => this.signOfLife(), signOfLifeEveryMs);
    let store: BenchStore | undefined;
    try {
      store = await startStore(this.storeOptions(), directory);
      await this.drive(directory, store);
    } catch (error) {
      const reason = `BROKEN ${nameOf(this.run)}: ${error instanceof Error ? error.message : String(error)}`;
      this.progress(reason);
      this.outcome.broken.push(reason);
    } finally {
      clearInterval(alive);
      for (const child of this.children) await child.end();
      await store?.stop();
      emptyFiles(directory);
      this.keepTrace();
    }
  }

  /** A program without use for the slow store doesn't start it. */
  private storeOptions(): BenchOptions {
    return this.run.program.store === 'bench' ? this.options : { ...this.options, store: 'file' };
  }

  private async drive(directory: string, store: BenchStore): Promise<void> {
    const { program, scenario, variant, round } = this.run;
    const usesStore = program.store === 'bench';
    if (usesStore) this.outcome.stores.add(store.description);
    const server = await program.start(directory, store, variant.flags);
    if (server.child) this.children.unshift(server.child);
    const prefix = `/registry/configmaps/bench-${Date.now().toString(36)}/`;
    const loads = await this.startLoads(server, prefix);
    const pids = this.partsOf(server, loads, usesStore ? store : undefined);
    for (const [name, ofPart] of pids) this.sampler.add(name, ofPart);
    const around = {
      options: this.options,
      server: program.name,
      round,
      scenario: scenario.name,
      variant: variant.label,
      loads,
      store: usesStore ? store : undefined,
      pids,
      metrics: () => serverMetrics(server.host, server.port),
    };
    const startLoad = (): Promise<LoadProcess> => this.startLoad();
    await runScenario({ around, scenario, server, prefix, startLoad, listener: this.listener() });
    if (program.checked) await this.verify(loads);
    if (program.audit && server.child) {
      await server.child.end();
      await this.audit(program.audit, store);
    }
  }

  private async audit(read: NonNullable<Program['audit']>, store: BenchStore): Promise<void> {
    const { program, scenario, round } = this.run;
    const audit = { server: program.name, round, scenario: scenario.name, ...(await read(store)) };
    this.outcome.audits.push(audit);
    this.progress(`  ${auditLine(audit)}`);
  }

  private partsOf(
    server: RunningServer,
    loads: readonly LoadProcess[],
    store: BenchStore | undefined,
  ): Map<string, readonly number[]> {
    const pids = new Map<string, readonly number[]>();
    if (server.child) pids.set('server', [server.child.pid]);
    if (store && store.pids.length > 0) pids.set('store', store.pids);
    return pids.set(
      'load',
      loads.map((load) => load.child.pid),
    );
  }

  private async startLoad(): Promise<LoadProcess> {
    const load = await LoadProcess.start();
    this.children.unshift(load.child);
    return load;
  }

  private async startLoads({ host, port }: RunningServer, prefix: string): Promise<LoadProcess[]> {
    const { options, run } = this;
    const { scenario, program, round } = run;
    const loads: LoadProcess[] = [];
    for (let index = 0; index < options.loadProcesses; index++) {
      const load = await this.startLoad();
      loads.push(load);
      const shape = {
        prefix: `${prefix}${index}/`,
        seed: options.seed * 1000 + round * 10 + index,
        valueBytes: scenario.valueBytes,
        groups: scenario.groups(options),
        unchecked: !program.checked,
      };
      await load.do({ do: 'open', host, port, connections: options.connections, shape });
    }
    return loads;
  }

  private async verify(loads: readonly LoadProcess[]): Promise<void> {
    const { program, scenario, round } = this.run;
    for (const load of loads) {
      const { verification } = await load.do({ do: 'verify' });
      if (!verification) throw new Error('a load process verified nothing');
      const check = { server: program.name, round, scenario: scenario.name, verification };
      this.outcome.checks.push(check);
      this.progress(`  ${verificationLine(check)}`);
    }
  }

  private listener(): ScenarioRun['listener'] {
    const { outcome, progress } = this;
    return {
      phase(result) {
        outcome.results.push(result);
        const { latency, watch } = result;
        const delay = watch ? `, event after ${watch.delay.p99Ms.toFixed(1)} ms (p99)` : '';
        progress(
          `  ${result.phase}: ${result.throughputPerSecond.toFixed(0)}/s, p50 ${latency.p50Ms.toFixed(1)} ms, p99 ${latency.p99Ms.toFixed(1)} ms${delay}, ${result.errorCount} errors`,
        );
      },
      http(result) {
        outcome.http.push(result);
        progress(`  ${result.target}: ${result.perSecond.toFixed(0)}/s${errorText(result.errors)}`);
      },
      k6(result) {
        outcome.k6.push(result);
        progress(
          `  ${result.script}: ${result.iterationsPerSecond.toFixed(0)} iterations/s${errorText(result.errors)}`,
        );
      },
      step: (name) => {
        this.steps.push({ atSeconds: this.sampler.seconds(), name });
        progress(`  ${name} …`);
      },
    };
  }

  private signOfLife(): void {
    const step = this.steps.at(-1);
    if (step === undefined) return;
    const seconds = this.sampler.seconds() - step.atSeconds;
    if (seconds * 1000 >= signOfLifeEveryMs)
      this.progress(`  ${step.name}: ${duration(seconds)}; ${this.sampler.latest()}`);
  }

  private keepTrace(): void {
    const { program, scenario, variant, round } = this.run;
    const series = this.sampler.stop();
    const { steps } = this;
    this.outcome.traces.push({
      server: program.name,
      scenario: scenario.name,
      variant: variant.label,
      round,
      series,
      steps,
    });
  }
}
