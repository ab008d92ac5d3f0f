import { fileURLToPath } from 'node:url';
import type { BenchOptions } from '../options.ts';
import { startChild, wholeOutput } from '../processes.ts';
import type { RunningServer } from '../programs/program.ts';
import { base64, versionOf } from './gateway.ts';

/** What autocannon measured of one target. */
export interface HttpResult {
  readonly server: string;
  readonly round: number;
  readonly target: string;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
  /** What was wrong, and how often. */
  readonly errors: Readonly<Record<string, number>>;
}

/** What a tool that brings its own load needs to know. */
export interface ToolRun<Result> {
  readonly server: RunningServer;
  readonly name: string;
  readonly round: number;
  readonly options: BenchOptions;
  readonly listener: (result: Result) => void;
}

interface Target {
  readonly name: string;
  readonly path: string;
  /** Sent with POST. */
  readonly body?: Readonly<Record<string, string>>;
}

const PUT_KEY = 'bench/autocannon';

const TARGETS: readonly Target[] = [
  { name: 'GET /health', path: '/health' },
  { name: 'GET /metrics', path: '/metrics' },
  {
    name: 'gateway put of 1 KiB',
    path: '/v3/kv/put',
    body: { key: base64(PUT_KEY), value: base64('x'.repeat(1024)) },
  },
  { name: 'gateway get of 1 KiB', path: '/v3/kv/range', body: { key: base64(PUT_KEY) } },
];

/** As autocannon's `--json` prints it, as far as it is read. */
interface Printed {
  readonly requests: { readonly average: number };
  readonly latency: {
    readonly p50: number;
    readonly p99: number;
    readonly p99_9: number;
    readonly max: number;
  };
  readonly errors: number;
  readonly timeouts: number;
  readonly non2xx: number;
  readonly '2xx': number;
}

/** Runs autocannon on each target in a process of its own, with as many connections as the first closed loop has. */
export async function runHttp(run: ToolRun<HttpResult>): Promise<void> {
  const endpoint = `${run.server.host}:${run.server.port}`;
  for (const target of TARGETS) {
    const printed = await cannonade(`http://${endpoint}`, target, run.options);
    const { p50: p50Ms, p99: p99Ms, p99_9: p999Ms, max: maxMs } = printed.latency;
    const errors = errorsOf(printed);
    if (target.path === '/v3/kv/put') {
      const lost = printed['2xx'] - (await versionOf(endpoint, PUT_KEY));
      if (lost > 0) errors['acknowledged puts that the key does not have'] = lost;
    }
    const perSecond = printed.requests.average;
    const { name: server, round } = run;
    run.listener({ server, round, target: target.name, perSecond, p50Ms, p99Ms, p999Ms, maxMs, errors });
  }
}

async function cannonade(origin: string, target: Target, options: BenchOptions): Promise<Printed> {
  const entry = fileURLToPath(import.meta.resolve('autocannon'));
  const seconds = Math.max(1, Math.round(options.seconds));
  const body = target.body
    ? ['--method=POST', `--body=${JSON.stringify(target.body)}`, '--headers=content-type=application/json']
    : [];
  const parameters = [
    entry,
    '--json',
    '--no-progress',
    `--connections=${options.inFlight[0]}`,
    `--duration=${seconds}`,
    ...body,
    `${origin}${target.path}`,
  ];
  const child = await startChild('autocannon', process.execPath, parameters);
  const { code, stdout } = await wholeOutput(child);
  if (code !== 0) throw new Error(`autocannon ended with ${code}: ${child.lastWords()}`);
  return JSON.parse(stdout) as Printed;
}

function errorsOf(printed: Printed): Record<string, number> {
  const { errors, timeouts, non2xx } = printed;
  const all = { 'connection errors': errors, timeouts, 'answers that are not 2xx': non2xx };
  return Object.fromEntries(Object.entries(all).filter(([, count]) => count > 0));
}
