import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { LoadProcess } from './load/load-process.ts';
import { isWhole } from './load/verify.ts';
import { type BenchOptions, readOptions } from './options.ts';
import { type Child, wasInterrupted } from './processes.ts';
import { errorLines, type RoundCheck, ratios, table, verdictOf, verificationLine } from './report.ts';
import { nameOf, runScenario, type ScenarioResult, type Surroundings, scenariosOf } from './scenario.ts';
import { endpointSubject, type Subject, subjectOf } from './servers.ts';
import { type BenchStore, startStore } from './stores.ts';

/**
 * `npm run bench`: each round starts each server on a fresh store, drives all scenarios through it
 * and reads back what was acknowledged. Figures go to stdout, progress to stderr. The exit code is
 * 1 when an answer was wrong, a write was not read back, or a bar was missed.
 */

const progress = (text: string): void => void process.stderr.write(`${text}\n`);

/** Other programs on the machine make every figure worse: this says whether there were any. */
const loadBefore = loadavg()[0] ?? 0;

interface Outcome {
  readonly results: ScenarioResult[];
  readonly checks: RoundCheck[];
  readonly stores: Set<string>;
  /** Rounds that didn't come to their end, and why. */
  readonly broken: string[];
}

async function runRound(
  options: BenchOptions,
  subject: Subject,
  round: number,
  outcome: Outcome,
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'netsy-bench-'));
  const clear = (): void => rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  process.once('exit', clear);
  const children: (Child | undefined)[] = [];
  let store: BenchStore | undefined;
  try {
    store = await startStore(options, directory);
    if (subject.usesStore) outcome.stores.add(store.description);
    const server = await subject.start(directory, store);
    children.unshift(server.child);
    const loads = await startLoads(options, subject.name, round, server, children);
    const pids = new Map<string, readonly number[]>([['load', loads.map((load) => load.child.pid)]]);
    if (server.child) pids.set('server', [server.child.pid]);
    if (subject.usesStore && store.pids.length > 0) pids.set('store', store.pids);
    const counted = subject.usesStore ? store : undefined;
    const around = { options, server: subject.name, round, loads, store: counted, pids };
    await runScenarios(around, outcome);
    await verifyAll(around, outcome);
  } catch (error) {
    const reason = `BROKEN ${subject.name} round ${round}: ${error instanceof Error ? error.message : String(error)}`;
    progress(reason);
    outcome.broken.push(reason);
  } finally {
    for (const child of children) await child?.end();
    await store?.stop();
    clear();
    process.off('exit', clear);
  }
}

async function startLoads(
  options: BenchOptions,
  server: string,
  round: number,
  { host, port }: { host: string; port: number },
  children: (Child | undefined)[],
): Promise<LoadProcess[]> {
  // A server that runs already may hold the keys of an earlier run.
  const run = Date.now().toString(36);
  const loads: LoadProcess[] = [];
  for (let index = 0; index < options.loadProcesses; index++) {
    const load = await LoadProcess.start();
    children.unshift(load.child);
    loads.push(load);
    const prefix = `/registry/configmaps/bench-${run}-${server}-${round}/${index}-`;
    const seed = options.seed * 1000 + round * 10 + index;
    await load.do({ do: 'open', host, port, connections: options.connections, prefix, seed });
  }
  return loads;
}

async function runScenarios(around: Surroundings, outcome: Outcome): Promise<void> {
  for (const scenario of scenariosOf(around.options)) {
    const result = await runScenario(around, scenario);
    outcome.results.push(result);
    const { latency } = result;
    progress(
      `${around.server} round ${around.round}, ${nameOf(scenario)}: ${result.throughputPerSecond.toFixed(0)}/s, p50 ${latency.p50Ms.toFixed(1)} ms, p99 ${latency.p99Ms.toFixed(1)} ms, ${result.errorCount} errors`,
    );
  }
}

async function verifyAll(around: Surroundings, outcome: Outcome): Promise<void> {
  for (const load of around.loads) {
    const { verification } = await load.do({ do: 'verify' });
    if (!verification) throw new Error('a load process verified nothing');
    const check = { server: around.server, round: around.round, verification };
    outcome.checks.push(check);
    progress(verificationLine(check));
  }
}

/** Every second round runs the servers in the other order, so that neither is always first. */
async function runAll(options: BenchOptions, subjects: readonly Subject[]): Promise<Outcome> {
  const outcome: Outcome = { results: [], checks: [], stores: new Set(), broken: [] };
  for (let round = 1; round <= options.rounds; round++) {
    const order = round % 2 === 1 ? subjects : [...subjects].reverse();
    for (const subject of order) if (!wasInterrupted()) await runRound(options, subject, round, outcome);
  }
  return outcome;
}

/** Prints the figures; true when all is as it must be. */
function report(options: BenchOptions, subjects: readonly Subject[], outcome: Outcome): boolean {
  const { results, checks } = outcome;
  const errors = [...errorLines(results), ...outcome.broken];
  const whole = checks.every(({ verification }) => isWhole(verification));
  const barred = subjects.filter(({ usesStore }) => usesStore && options.store === 'slow-s3');
  const verdicts = barred.map(({ name }) => ({ name, ...verdictOf(name, results) }));
  const lines = [
    `node ${process.version}, ${availableParallelism()} cores, load average before the run ${loadBefore.toFixed(1)}; ${options.rounds} round(s) of ${options.seconds} s after ${options.warmup} s; ${options.loadProcesses} × ${options.connections} connections`,
    ...[...outcome.stores].map((store) => `store: ${store}`),
    'values: 1 KiB of JSON around random base64; latency: open loop from when due, closed loop from when sent',
    '',
    table(results),
    '',
    ratios(results),
    ...checks.map(verificationLine),
    ...errors,
    ...verdicts.flatMap(({ name, lines }) => lines.map((line) => `${line} [${name}]`)),
  ];
  const passed = errors.length === 0 && whole && verdicts.every((verdict) => verdict.passed);
  const problems = [errors.length > 0 ? 'errors' : '', whole ? '' : 'acknowledged writes not read back'];
  if (verdicts.some((verdict) => !verdict.passed)) problems.push('a bar was missed');
  const why = problems.filter((problem) => problem !== '').join(', ');
  const judged = barred.length > 0 && verdicts.every(({ complete }) => complete);
  const bars = judged
    ? 'both bars held'
    : 'the bars were not judged (netsy on slow-s3, 2000/s and 500 in flight)';
  lines.push(passed ? `PASS: no errors, every acknowledged write read back, ${bars}` : `FAIL: ${why}`);
  process.stdout.write(`${lines.join('\n')}\n`);
  return passed;
}

async function main(): Promise<boolean> {
  const options = readOptions(process.argv.slice(2));
  const subjects = options.endpoint
    ? [endpointSubject(options.endpoint)]
    : options.server.map((name) => subjectOf(name));
  const outcome = await runAll(options, subjects);
  const passed = report(options, subjects, outcome);
  if (options.json !== undefined) {
    const { results, checks } = outcome;
    writeFileSync(options.json, `${JSON.stringify({ options, passed, results, checks }, undefined, 2)}\n`);
  }
  return passed;
}

try {
  process.exitCode = (await main()) ? 0 : 1;
} catch (error) {
  progress(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
