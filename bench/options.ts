import { Command, InvalidArgumentError, Option } from 'commander';
import { integer, nonNegative, positive, positives, words } from './flags.ts';
import { type ProgramName, programNames } from './programs/programs.ts';
import { type ScenarioName, scenarioNames } from './scenarios/scenario.ts';
import { addDelayFlags } from './store/delay-flags.ts';
import type { PutEffect } from './store/slow-store.ts';

const storeNames = ['slow-s3', 'file', 's3'] as const;
type StoreName = (typeof storeNames)[number];

const kubeOperations = ['create', 'update', 'get'] as const;

/** Everything that a run of the bench depends on; it is printed and goes into the JSON file. */
export interface BenchOptions {
  readonly server: readonly ProgramName[];
  /** An etcd-compatible server that runs already, instead of `server`. */
  readonly endpoint?: URL;
  readonly scenario: readonly ScenarioName[];
  readonly suite: boolean;
  readonly quick: boolean;
  readonly operations: readonly (typeof kubeOperations)[number][];
  readonly rate: number;
  readonly inFlight: readonly number[];
  readonly concurrency: readonly number[];
  readonly seconds: number;
  readonly warmup: number;
  readonly rounds: number;
  readonly connections: number;
  readonly loadProcesses: number;
  readonly listKeys: number;
  readonly countKeys: number;
  readonly memoryKeys: number;
  readonly memorySeconds: number;
  readonly watchers: number;
  readonly watchPrefixes: number;
  readonly batchWindows: readonly number[];
  readonly pipelineDepths: readonly number[];
  readonly putBudgets: readonly number[];
  readonly store: StoreName;
  readonly storeUrl?: string;
  readonly backend: string;
  readonly putMedianMs: number;
  readonly readMedianMs: number;
  readonly sigma: number;
  readonly tailShare: number;
  readonly tailMinMs: number;
  readonly tailMaxMs: number;
  readonly putEffect: PutEffect;
  readonly seed: number;
  readonly report: string;
}

/** What `--suite` means where no flag says otherwise. */
const SUITE = { server: programNames, scenario: scenarioNames, rounds: 3, backend: 'versitygw' };

/** What `--quick` means: every step is taken, and no figure means anything. */
const QUICK = {
  seconds: 1,
  warmup: 0.5,
  rounds: 1,
  listKeys: 2000,
  countKeys: 5000,
  memoryKeys: 2000,
  memorySeconds: 6,
  watchers: 100,
  watchPrefixes: 10,
  concurrency: [1, 50],
  batchWindows: [1, 4],
  pipelineDepths: [1, 8],
  putBudgets: [10],
};

/** Reads the command line; commander prints what is wrong with it and ends the process. */
export function readOptions(parameters: readonly string[]): BenchOptions {
  const command = new Command('bench')
    .description(
      'Measures netsy and its peers with kube-shaped transactions of 1 KiB and all that goes with them.',
    )
    .option(
      '--suite',
      'all scenarios and programs, three rounds, versitygw behind the delay: takes hours',
      false,
    )
    .option('--quick', 'seconds instead of minutes, small counts: to see that all of it works', false)
    .option('--scenario <names>', `which of ${scenarioNames.join(', ')}`, words(scenarioNames), ['kube'])
    .option('--server <names>', `which of ${programNames.join(', ')}`, words(programNames), ['netsy'])
    .option('--endpoint <url>', 'drive a server that runs already, such as http://127.0.0.1:2379', httpUrl)
    .option('--rounds <number>', 'each with fresh servers; medians are reported', positive, 1)
    .option('--report <file>', 'HTML goes there, all figures as JSON beside it', 'bench/results/report.html');
  addLoadOptions(command);
  addStoreOptions(command);
  command.parse([...parameters], { from: 'user' });
  applyDefaults(command, 'quick', QUICK);
  applyDefaults(command, 'suite', SUITE);
  const options = command.opts<BenchOptions>();
  const wrong = problemOf(options);
  if (wrong !== undefined) command.error(`error: ${wrong}`);
  return options;
}

/** Values for those flags that were not given, when `mode` was; the first mode to say something has its way. */
function applyDefaults(command: Command, mode: 'quick' | 'suite', values: Record<string, unknown>): void {
  if (command.getOptionValue(mode) !== true) return;
  for (const [name, value] of Object.entries(values)) {
    if (command.getOptionValueSource(name) === 'default') {
      command.setOptionValueWithSource(name, value, mode);
    }
  }
}

function problemOf(options: BenchOptions): string | undefined {
  if (options.store === 's3' && options.storeUrl === undefined) return '--store s3 needs --store-url';
  if (!options.server.includes('t4') || options.endpoint) return undefined;
  if (options.store !== 'slow-s3') return '--server t4 needs --store slow-s3';
  return options.backend === 'memory'
    ? '--server t4 needs --backend versitygw: its uploads are signed in pieces'
    : undefined;
}

function addLoadOptions(command: Command): void {
  command
    .option('--operations <names>', 'of the scenario kube; create comes first', words(kubeOperations), [
      ...kubeOperations,
    ])
    .option('--rate <number>', 'requests per second of the open loop, 0 leaves it out', integer, 2000)
    .option('--in-flight <numbers>', 'requests in flight of the closed loops', positives, [50, 500])
    .option('--seconds <number>', 'measured time of each phase', nonNegative, 10)
    .option('--warmup <number>', 'seconds before it that are not measured', nonNegative, 3)
    .option('--connections <number>', 'of each load process', positive, 8)
    .option('--load-processes <number>', 'share the rate and the requests in flight', positive, 1)
    .option(
      '--concurrency <numbers>',
      'in flight, of the scenario concurrency',
      positives,
      [1, 10, 50, 100, 200, 500, 1000],
    )
    .option('--list-keys <number>', 'of the scenarios pages and lists', positive, 10_000)
    .option('--count-keys <number>', 'of the scenario count', positive, 1_000_000)
    .option('--memory-keys <number>', 'of the scenario memory', positive, 100_000)
    .option('--memory-seconds <number>', 'of the scenario memory', positive, 600)
    .option('--watchers <number>', 'of the scenario watch; memory has a fifth of them', positive, 1000)
    .option('--watch-prefixes <number>', 'that the watchers share', positive, 100)
    .option('--batch-windows <ms>', 'of the scenario window', positives, [1, 2, 4, 8, 16])
    .option('--pipeline-depths <numbers>', 'of the scenario window', positives, [1, 4, 16])
    .option('--put-budgets <numbers>', 'PUTs a second, of the scenario budget', positives, [5, 10, 20, 50]);
}

function addStoreOptions(command: Command): void {
  command
    .addOption(
      new Option('--store <kind>', 'slow-s3: loopback with delays; file: a directory; s3: --store-url')
        .choices(storeNames)
        .default('slow-s3'),
    )
    .option('--store-url <url>', 'for --store s3: s3://bucket/prefix; AWS_ variables are passed on')
    .option(
      '--backend <name>',
      'behind the delay of slow-s3: memory, versitygw, or the URL of an S3 server',
      'memory',
    );
  addDelayFlags(command);
}

function httpUrl(text: string): URL {
  if (!/^http:\/\/[^/]+:\d+\/?$/.test(text)) throw new InvalidArgumentError('http://host:port is needed.');
  return new URL(text);
}
