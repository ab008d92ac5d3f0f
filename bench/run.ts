import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, loadavg } from 'node:os';
import { dirname, resolve } from 'node:path';
import { requireTool } from '../test/support/go-tools.ts';
import { type BenchOptions, readOptions } from './options.ts';
import { emptyOutcome, type Outcome } from './outcome.ts';
import { wasInterrupted } from './processes.ts';
import { endpointProgram, type Program } from './programs/program.ts';
import { programOf } from './programs/programs.ts';
import { reportHtml } from './report/html.ts';
import { judge } from './report/judge.ts';
import { pauseTable } from './report/pauses.ts';
import { slowWriteTable } from './report/slow-writes.ts';
import { standings } from './report/standing.ts';
import {
  auditLine,
  ceilingLines,
  costTable,
  generatorLines,
  ratios,
  standingTable,
  table,
  toolTables,
  verificationLine,
  watchTable,
} from './report/text.ts';
import { plan, runAll } from './rounds.ts';
import { SCENARIOS, type Scenario } from './scenarios/scenario.ts';

/**
 * `npm run bench`: each round starts each program anew for each scenario, drives it, and reads back what was
 * acknowledged. Figures go to stdout, progress to stderr, the report into a file. The exit code is 1 when an answer
 * was wrong, a write was not read back, or a bar was missed.
 */

const progress = (text: string): void => void process.stderr.write(`${text}\n`);

/** Other programs on the machine make every figure worse: this says whether there were any. */
const loadBefore = loadavg()[0] ?? 0;

/** The programs that can be had; those that were asked for and can't are written down as broken or left out. */
async function programsOf(options: BenchOptions, outcome: Outcome): Promise<Program[]> {
  if (options.endpoint) return [endpointProgram(options.endpoint)];
  const programs: Program[] = [];
  for (const name of options.server) {
    const program = programOf(name);
    const reason = await reasonAgainst(program.tool);
    if (reason === undefined) programs.push(program);
    else leaveOut(options, outcome, `${name}: ${reason}`);
  }
  return programs;
}

async function scenariosOf(options: BenchOptions, outcome: Outcome): Promise<Scenario[]> {
  const scenarios = options.scenario.map((name) => SCENARIOS[name]);
  if (!options.scenario.includes('k6')) return scenarios;
  const reason = await reasonAgainst('k6');
  if (reason === undefined) return scenarios;
  leaveOut(options, outcome, `k6: ${reason}`);
  return scenarios.filter(({ name }) => name !== 'k6');
}

/** Builds the tool if need be, which takes minutes the first time; says why it can't. */
async function reasonAgainst(tool: Program['tool']): Promise<string | undefined> {
  if (tool === undefined) return undefined;
  const slow = setTimeout(() => progress(`${tool} is built, once …`), 1000);
  try {
    await requireTool(tool);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    clearTimeout(slow);
  }
}

/** The suite does without what is not here; what was asked for by name must be. */
function leaveOut(options: BenchOptions, outcome: Outcome, what: string): void {
  progress(`left out: ${what}`);
  (options.suite ? outcome.leftOut : outcome.broken).push(options.suite ? what : `MISSING ${what}`);
}

function conditionsOf(options: BenchOptions, outcome: Outcome): string[] {
  return [
    `node ${process.version}, ${availableParallelism()} cores, load average before the run ${loadBefore.toFixed(1)}; ${options.rounds} round(s), phases of ${options.seconds} s after ${options.warmup} s; ${options.loadProcesses} × ${options.connections} connections${options.quick ? '; QUICK: no figure here means anything' : ''}`,
    ...[...outcome.stores].map((store) => `store: ${store}`),
    'values: 1 KiB of JSON around random base64; latency: open loop from when due, closed loop from when sent',
    ...outcome.leftOut.map((what) => `left out: ${what}`),
  ];
}

/** Prints the figures and writes the report; true when all is as it must be. */
function report(options: BenchOptions, outcome: Outcome): boolean {
  const { results, checks } = outcome;
  const standing = standings(options, outcome);
  const { passed, text, lines } = judge(options, outcome, standing, wasInterrupted());
  const conditions = conditionsOf(options, outcome);
  const remarks = [
    ...generatorLines(results),
    ...ceilingLines(results),
    ...checks.map(verificationLine),
    ...outcome.audits.map(auditLine),
    ...lines,
  ];
  const tables = [
    table(results),
    ratios(results),
    watchTable(results),
    costTable(results),
    slowWriteTable(results),
    pauseTable(results),
    ...toolTables(outcome),
  ];
  // What one scenario says nothing of is not printed; the report has the whole table.
  const told = options.suite ? standing : standing.filter(({ measured }) => measured !== undefined);
  const paragraphs = [
    conditions.join('\n'),
    ...tables.filter((one) => one !== ''),
    ...(told.length > 0 ? [standingTable(told)] : []),
    [...remarks, text].join('\n'),
  ];
  process.stdout.write(`${paragraphs.join('\n\n')}\n`);
  const html = reportHtml({
    title: 'netsy bench',
    conditions,
    verdict: text,
    standing,
    outcome,
    lines: remarks,
  });
  const stores = [...outcome.stores];
  write(options.report, html, { options, conditions, passed, verdict: text, standing, ...outcome, stores });
  return passed;
}

function write(file: string, html: string, figures: unknown): void {
  const path = resolve(file);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, html);
  const json = path.replace(/(\.html?)?$/, '.json');
  writeFileSync(json, `${JSON.stringify(figures, undefined, 2)}\n`);
  progress(`report: ${path}\nfigures: ${json}`);
}

async function main(): Promise<boolean> {
  const options = readOptions(process.argv.slice(2));
  const outcome = emptyOutcome();
  const programs = await programsOf(options, outcome);
  const scenarios = await scenariosOf(options, outcome);
  const runs = plan(options, programs, scenarios);
  if (runs.length === 0 && outcome.broken.length === 0) {
    throw new Error(`none of ${options.server.join(', ')} takes part in ${options.scenario.join(', ')}`);
  }
  await runAll(options, runs, outcome, progress);
  return report(options, outcome);
}

try {
  process.exitCode = (await main()) ? 0 : 1;
} catch (error) {
  progress(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
