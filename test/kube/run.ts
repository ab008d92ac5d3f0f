import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { logTail } from '../support/process.ts';
import { Seeded } from '../support/seeded.ts';
import { startApiServer } from './api-server.ts';
import { type Backing, startBacking } from './backing.ts';
import { compactionScenario } from './compaction.ts';
import { configMapScenario } from './config-maps.ts';
import { crashScenario } from './crash.ts';
import { eventScenario } from './events.ts';
import { kubectlScenario } from './kubectl.ts';
import { leaseScenario } from './leases.ts';
import { type BackingKind, type KubeOptions, parseOptions, USAGE } from './options.ts';
import { Report } from './report.ts';
import type { ScenarioContext } from './scenario.ts';

const SCENARIOS = [
  kubectlScenario,
  configMapScenario,
  leaseScenario,
  eventScenario,
  compactionScenario,
  crashScenario,
];
const TAIL_LINES = 60;
/** What the API server repeats for each of its connections while the server it needs is down. */
const NOISE = /connect: connection refused/;

/** What was started and must be ended, in the order of its start. */
const started: { stop(): Promise<void> }[] = [];

async function stopAll(): Promise<void> {
  while (started.length > 0) await Promise.allSettled([started.pop()!.stop()]);
}

/** Runs all scenarios on one backing, and ends whatever it started. */
async function runOn(
  kind: BackingKind,
  directory: string,
  options: KubeOptions,
  report: Report,
): Promise<void> {
  const failedBefore = report.failed;
  report.heading(`${kind}, seed ${options.seed}, ${directory}`);
  try {
    const backing = await report.start(`${kind} is healthy`, () => startBacking(kind, directory, options));
    started.push(backing);
    const settings = {
      ...options,
      directory,
      endpoint: backing.endpoint,
      certificates: backing.certificates,
    };
    const apiServer = await report.start('kube-apiserver is ready', () => startApiServer(settings));
    started.push(apiServer);
    if (backing.certificates !== undefined) await refusalStep(backing, report);
    await runScenarios({ apiServer, backing, options, report, seeded: new Seeded(options.seed) });
  } catch (error) {
    // A failed step is printed and counted already; anything else is not.
    if (report.failed === failedBefore) report.fail(`${kind} runs`, error);
  }
  // Before the end, whose own lines are of no interest.
  if (report.failed > failedBefore) printLogs(directory);
  await stopAll();
}

/** Else the API server's certificate, which it shows, would prove nothing. */
async function refusalStep({ endpoint, certificates }: Backing, report: Report): Promise<void> {
  await report.step('whoever shows no certificate is refused', async () => {
    const ca = readFileSync(certificates!.authorityFile);
    const request = get(`${endpoint}/health`, { ca });
    const [outcome] = (await once(request, 'response').catch((error: Error) => [error])) as [unknown];
    if (outcome instanceof Error) return outcome.message;
    throw new Error('a client without a certificate was answered');
  });
}

/** A failed scenario does not keep the next from running, as long as both servers are there. */
async function runScenarios(context: ScenarioContext): Promise<void> {
  const { report, backing, apiServer } = context;
  for (const scenario of SCENARIOS) {
    const { failed } = report;
    try {
      await scenario(context);
    } catch (error) {
      if (report.failed === failed) report.fail(scenario.name, error);
    }
    for (const [name, server] of [
      ['kube-apiserver', apiServer],
      [backing.name, backing],
    ] as const) {
      if (server.running()) continue;
      report.fail(`${name} is still there after ${scenario.name}`, 'it ended by itself');
      return;
    }
  }
}

function printLogs(directory: string): void {
  for (const name of ['etcd.log', 'netsy.log', 'kube-apiserver.log']) {
    const tail = logTail(join(directory, name), TAIL_LINES, (line) => !NOISE.test(line));
    if (tail !== '') console.log(`\n-- the end of ${join(directory, name)}\n${tail}`);
  }
}

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2));
  if (options === undefined) {
    console.log(USAGE);
    return 0;
  }
  const directory = mkdtempSync(join(tmpdir(), 'netsy-kube-'));
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      console.log(`${signal}: ending what was started; logs are in ${directory}`);
      void stopAll().finally(() => process.exit(signal === 'SIGINT' ? 130 : 143));
    });
  }
  const report = new Report();
  for (const kind of options.backings) await runOn(kind, join(directory, kind), options, report);
  const kept = report.failed > 0 || options.keep;
  if (!kept) rmSync(directory, { recursive: true });
  console.log(`\n${report.summary()}, seed ${options.seed}${kept ? `, logs in ${directory}` : ''}`);
  return report.failed > 0 ? 1 : 0;
}

try {
  process.exit(await main());
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(2);
}
