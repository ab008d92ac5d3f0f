import { Latencies } from '../../bench/measure/latency.ts';
import type { BenchOptions } from '../../bench/options.ts';
import type { PhaseResult } from '../../bench/scenarios/phase.ts';

/** What a phase might have given, for the tests of what is made of it. */
export function phaseResult(changes: Partial<PhaseResult>): PhaseResult {
  const latencies = new Latencies();
  for (const value of [20, 25, 30]) latencies.record(value);
  return {
    server: 'netsy',
    round: 1,
    scenario: 'kube',
    phase: 'create, 2000/s due',
    operation: 'create',
    pace: { rate: 2000 },
    throughputPerSecond: 2000,
    latency: latencies.summary(),
    lateness: latencies.summary(),
    histogram: latencies.encode(),
    errors: {},
    errorCount: 0,
    p50OverPut: 1.2,
    cpu: {},
    residentMiB: {},
    ...changes,
  };
}

/** The options of a whole suite, which the table is judged by. */
export const suiteOptions: BenchOptions = {
  server: ['netsy', 'netsy-file', 't4', 'etcd', 'kine', 'echo'],
  scenario: ['kube'],
  suite: true,
  quick: false,
  operations: ['create', 'update', 'get'],
  rate: 2000,
  inFlight: [50, 500],
  concurrency: [1],
  seconds: 10,
  warmup: 3,
  rounds: 3,
  connections: 8,
  loadProcesses: 1,
  listKeys: 10_000,
  countKeys: 1_000_000,
  memoryKeys: 100_000,
  memorySeconds: 600,
  watchers: 1000,
  watchPrefixes: 100,
  batchWindows: [1],
  pipelineDepths: [1],
  putBudgets: [10],
  store: 'slow-s3',
  backend: 'versitygw',
  putMedianMs: 20,
  readMedianMs: 20,
  sigma: 0.35,
  tailShare: 0.005,
  tailMinMs: 100,
  tailMaxMs: 400,
  putEffect: 'end',
  seed: 1,
  report: '',
};
