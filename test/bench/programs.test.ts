import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Outcome } from '../../bench/outcome.ts';
import type { ProgramName } from '../../bench/programs/programs.ts';
import type { ScenarioName } from '../../bench/scenarios/scenario.ts';
import { missingBuild } from '../support/go-tools.ts';
import { temporaryDirectory } from '../support/netsy.ts';
import { missingTools } from '../support/tools.ts';

/**
 * The bench as a user starts it, for moments: each program is started, driven, read back and ended. The figures mean
 * nothing and are not looked at.
 */

const ENTRY = fileURLToPath(new URL('../../bench/run.js', import.meta.url));

/** Without the bars, which no machine that runs tests beside it can be held to. */
const MOMENTS = ['--quick', '--seconds=0.3', '--warmup=0.1', '--rate=0', '--in-flight=8', '--watchers=20'];

type Figures = Omit<Outcome, 'stores'> & { readonly verdict: string };

async function bench(server: ProgramName, scenarios: readonly ScenarioName[], flags: readonly string[]) {
  const report = join(temporaryDirectory(), 'report.html');
  const parameters = [...MOMENTS, `--server=${server}`, `--scenario=${scenarios.join(',')}`, ...flags];
  const { code, output } = await new Promise<{ code: number; output: string }>((resolve) => {
    execFile(process.execPath, [ENTRY, ...parameters, `--report=${report}`], (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code) : 0, output: `${stderr}\n${stdout}` });
    });
  });
  assert.equal(code, 0, output);
  assert.ok(existsSync(report), output);
  const figures = JSON.parse(readFileSync(report.replace('.html', '.json'), 'utf8')) as Figures;
  assert.match(figures.verdict, /^PASS/);
  return { figures, output };
}

/** The phases that were measured, each with at least one request. */
function measured({ results }: Figures): string[] {
  for (const { phase, latency, cpu } of results) {
    assert.ok(latency.count > 0, phase);
    // Answers may be faster than their window is long; what was used in it must be of it all the same.
    assert.ok((cpu['load'] ?? -1) >= 0, `${phase}: ${JSON.stringify(cpu)}`);
  }
  return [...new Set(results.map(({ scenario, operation }) => `${scenario} ${operation}`))];
}

function readBack({ checks }: Figures): void {
  assert.ok(checks.length > 0);
  for (const { verification } of checks) assert.ok(verification.acknowledged > 0);
}

const KUBE = ['kube create', 'kube update', 'kube get'];

interface Peer {
  readonly name: ProgramName;
  readonly skip: string | false;
  readonly flags: readonly string[];
}

const peers: readonly Peer[] = [
  { name: 'netsy-file', skip: false, flags: [] },
  { name: 't4', skip: missingTools('go') || missingBuild('t4'), flags: ['--backend=versitygw'] },
  { name: 'kine', skip: missingTools('go', 'cc') || missingBuild('kine'), flags: [] },
];

for (const { name, skip, flags } of peers) {
  test(`${name} is driven with creates, updates and gets, and read back`, { skip }, async () => {
    const { figures } = await bench(name, ['kube'], flags);
    assert.deepEqual(measured(figures), KUBE);
    readBack(figures);
  });
}

test('etcd is driven at a fixed rate, with pages and with counts too', {
  skip: missingTools('go'),
}, async () => {
  const flags = ['--rate=50', '--list-keys=600', '--count-keys=700'];
  const { figures } = await bench('etcd', ['kube', 'pages', 'count'], flags);
  assert.deepEqual(measured(figures), [...KUBE, 'pages page', 'count count']);
  readBack(figures);
});

test('the echo is driven with the same messages, and nothing is read back from it', async () => {
  const { figures } = await bench('echo', ['kube'], []);
  assert.deepEqual(measured(figures), KUBE);
  assert.deepEqual(figures.checks, []);
});

test('netsy is driven with watchers and lists beside the writes, and its store is verified each time', async () => {
  const flags = ['--rate=200', '--list-keys=600', '--watch-prefixes=5'];
  const { figures, output } = await bench('netsy', ['kube', 'watch', 'lists'], flags);
  assert.deepEqual(measured(figures), [...KUBE, 'watch update', 'lists update', 'lists list']);
  readBack(figures);
  assert.equal(figures.checks.length, 3);
  assert.deepEqual(
    figures.audits.map(({ whole, scenario }) => [scenario, whole]),
    ['kube', 'watch', 'lists'].map((scenario) => [scenario, true]),
  );
  const uncounted = figures.results.filter(({ putsPerSecond }) => putsPerSecond === undefined);
  assert.deepEqual([...new Set(uncounted.map(({ operation }) => operation))], ['list']);
  assert.match(output, /acknowledgement to event/);
  assert.match(output, /generator beside netsy/);
});

test('autocannon drives /health, /metrics and the gateway', async () => {
  const { figures } = await bench('netsy', ['http'], ['--seconds=1']);
  assert.equal(figures.http.length, 4);
  for (const { target, perSecond } of figures.http) assert.ok(perSecond > 0, target);
});

const withoutK6 = missingTools('go') || missingBuild('k6');

test("k6's scripts pass all their checks, and what they wrote is there", { skip: withoutK6 }, async () => {
  const { figures } = await bench('netsy', ['k6'], ['--seconds=1']);
  assert.deepEqual(
    figures.k6.map(({ script }) => script),
    ['grpc.js', 'gateway.js'],
  );
  for (const { script, keysCreated } of figures.k6) assert.ok(keysCreated > 0, script);
});

test('what cannot be measured is refused in one line that says what to change', async () => {
  const refused = async (...flags: readonly string[]): Promise<string> =>
    await new Promise((resolve) => {
      execFile(process.execPath, [ENTRY, ...flags], (error, _stdout, stderr) => {
        resolve(`${String(error?.code)} ${stderr.trim()}`);
      });
    });
  assert.match(await refused('--server=t4'), /^1 error: --server t4 needs --backend versitygw[^\n]*$/);
  assert.match(await refused('--scenario=nothing'), /^1 error: [^\n]*Allowed are: kube, pages[^\n]*$/);
  assert.match(
    await refused('--server=kine', '--scenario=http'),
    /^1 bench: none of kine takes part in http$/,
  );
});
