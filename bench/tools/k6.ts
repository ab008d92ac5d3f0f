import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { requireTool } from '../../test/support/go-tools.ts';
import { startChild, wholeOutput } from '../processes.ts';
import { countOf } from './gateway.ts';
import type { ToolRun } from './http.ts';

/** What k6 measured with one of the scripts in `k6/`. */
export interface K6Result {
  readonly server: string;
  readonly round: number;
  readonly script: string;
  readonly iterationsPerSecond: number;
  /** Of one request, as k6 sees it. */
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  readonly keysCreated: number;
  readonly errors: Readonly<Record<string, number>>;
}

const SCRIPTS = [
  { script: 'grpc.js', duration: 'grpc_req_duration' },
  { script: 'gateway.js', duration: 'http_req_duration' },
] as const;

/** Of k6's summary, as far as it is read. */
interface Summary {
  readonly metrics: Readonly<
    Record<string, { readonly values: Readonly<Record<string, number>> } | undefined>
  >;
}

/** Runs each script with as many virtual users as the first closed loop has requests in flight. */
export async function runK6(run: ToolRun<K6Result>): Promise<void> {
  const binary = await requireTool('k6');
  const endpoint = `${run.server.host}:${run.server.port}`;
  for (const { script, duration } of SCRIPTS) {
    const prefix = `k6/${script}/${run.round}/`;
    const { metrics } = await runScript(binary, script, run, { ENDPOINT: endpoint, PREFIX: prefix });
    const value = (metric: string, name: string): number => metrics[metric]?.values[name] ?? 0;
    const keysCreated = value('keys_created', 'count');
    const failed = value('checks', 'fails');
    const missing = keysCreated - (await countOf(endpoint, prefix));
    const errors = { 'checks failed': failed, 'acknowledged keys missing': missing };
    run.listener({
      server: run.name,
      round: run.round,
      script,
      iterationsPerSecond: value('iterations', 'rate'),
      p50Ms: value(duration, 'med'),
      p90Ms: value(duration, 'p(90)'),
      p99Ms: value(duration, 'p(99)'),
      maxMs: value(duration, 'max'),
      keysCreated,
      errors: Object.fromEntries(Object.entries(errors).filter(([, count]) => count > 0)),
    });
  }
}

async function runScript(
  binary: string,
  script: string,
  { options }: ToolRun<K6Result>,
  environment: Readonly<Record<string, string>>,
): Promise<Summary> {
  const directory = mkdtempSync(join(tmpdir(), 'netsy-k6-'));
  try {
    const summary = join(directory, 'summary.json');
    const parameters = [
      'run',
      '--quiet',
      '--no-usage-report',
      `--vus=${options.inFlight[0]}`,
      `--duration=${Math.max(1, Math.round(options.seconds))}s`,
      join(scriptDirectory(), script),
    ];
    const env = {
      ...process.env,
      ...environment,
      SUMMARY: summary,
      // What the scripts need is in the binary; nothing is to be looked for in the net.
      K6_AUTO_EXTENSION_RESOLUTION: 'false',
    };
    const child = await startChild('k6', binary, parameters, { env });
    const { code } = await wholeOutput(child);
    // With a failed check k6 ends with an error of its own, and with a summary that says which.
    if (!existsSync(summary)) throw new Error(`k6 ended with ${code}: ${child.lastWords()}`);
    return JSON.parse(readFileSync(summary, 'utf8')) as Summary;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The scripts are not compiled with the bench, so they are looked for upwards from here. */
function scriptDirectory(): string {
  let directory = import.meta.dirname;
  while (!existsSync(join(directory, 'k6', 'grpc.js')) && dirname(directory) !== directory) {
    directory = dirname(directory);
  }
  return join(directory, 'k6');
}
