import { Command, InvalidArgumentError, Option } from 'commander';
import { integer, nonNegative, positive, positives, words } from './flags.ts';
import { type OperationName, operationNames } from './load/workload.ts';
import { PUT_EFFECTS, type PutEffect } from './store/slow-store.ts';

const serverNames = ['netsy', 'etcd'] as const;
export type ServerName = (typeof serverNames)[number];

const storeNames = ['slow-s3', 'file', 's3'] as const;
type StoreName = (typeof storeNames)[number];

/** Everything that a run of the bench depends on; it is printed and goes into the JSON file. */
export interface BenchOptions {
  readonly server: readonly ServerName[];
  /** An etcd-compatible server that runs already, instead of `server`. */
  readonly endpoint?: URL;
  readonly operations: readonly OperationName[];
  readonly rate: number;
  readonly inFlight: readonly number[];
  readonly seconds: number;
  readonly warmup: number;
  readonly rounds: number;
  readonly connections: number;
  readonly loadProcesses: number;
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
  readonly json?: string;
}

/** Reads the command line; commander prints what is wrong with it and ends the process. */
export function readOptions(parameters: readonly string[]): BenchOptions {
  const command = new Command('bench')
    .description('Measures netsy, or another etcd server, with kube-shaped transactions of 1 KiB.')
    .option('--server <names>', `which of ${serverNames.join(', ')}`, words(serverNames), ['netsy'])
    .option('--endpoint <url>', 'drive a server that runs already, such as http://127.0.0.1:2379', httpUrl)
    .option('--operations <names>', 'create comes first', words(operationNames), [...operationNames])
    .option('--rate <number>', 'requests per second of the open loop, 0 leaves it out', integer, 2000)
    .option('--in-flight <numbers>', 'requests in flight of the closed loops', positives, [50, 500])
    .option('--seconds <number>', 'measured time of each scenario', nonNegative, 10)
    .option('--warmup <number>', 'seconds before it that are not measured', nonNegative, 3)
    .option('--rounds <number>', 'each with fresh servers; medians are reported', positive, 1)
    .option('--connections <number>', 'of each load process', positive, 8)
    .option('--load-processes <number>', 'share the rate and the requests in flight', positive, 1)
    .addOption(storeOption())
    .option('--store-url <url>', 'for --store s3: s3://bucket/prefix; AWS_ variables are passed on')
    .option(
      '--backend <name>',
      'behind the delay of slow-s3: memory, versitygw, or the URL of an S3 server',
      'memory',
    )
    .option('--put-median-ms <ms>', 'median delay of a PUT, 0 for none', nonNegative, 20)
    .option('--read-median-ms <ms>', 'median delay of all other requests', nonNegative, 20)
    .option('--sigma <number>', 'spread of the log-normal delay', nonNegative, 0.35)
    .option('--tail-share <share>', 'share of requests that are stragglers', nonNegative, 0.005)
    .option('--tail-min-ms <ms>', 'a straggler takes at least', nonNegative, 100)
    .option('--tail-max-ms <ms>', 'a straggler takes at most', nonNegative, 400)
    .addOption(
      new Option(
        '--put-effect <when>',
        'whether a PUT makes its object at the end of its delay or at the start',
      )
        .choices(PUT_EFFECTS)
        .default('end'),
    )
    .option('--seed <number>', 'of delays, values and the choice of keys', integer, 1)
    .option('--json <file>', 'write all figures and histograms there');
  const options = command.parse([...parameters], { from: 'user' }).opts<BenchOptions>();
  if (options.store === 's3' && options.storeUrl === undefined) command.error('--store s3 needs --store-url');
  return options;
}

function storeOption(): Option {
  return new Option('--store <kind>', 'slow-s3: loopback with delays; file: a directory; s3: --store-url')
    .choices(storeNames)
    .default('slow-s3');
}

function httpUrl(text: string): URL {
  if (!/^http:\/\/[^/]+:\d+\/?$/.test(text)) throw new InvalidArgumentError('http://host:port is needed.');
  return new URL(text);
}
