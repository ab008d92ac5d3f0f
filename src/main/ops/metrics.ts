import type { Counter, Metric, Registry } from 'prom-client';
import { type Clock, systemClock } from '../../shared/base/clock.ts';
import type { Gauge, Histogram } from '../../shared/base/metering.ts';
import { EtcdMetrics } from './etcd-metrics.ts';
import { type CallMeter, GrpcMetrics, type GrpcType } from './grpc-metrics.ts';
import type { Totals } from './history.ts';
import { OwnMetrics } from './own-metrics.ts';
import { ThreadPauses } from './pauses.ts';
import { exponentialBuckets, SECONDS_BUCKETS, SeriesMaker } from './series.ts';
import { SlowCalls } from './slow-calls.ts';
import { SlowWriteMetrics } from './slow-write-metrics.ts';
import { StoreMetrics } from './store-metrics.ts';

/** Stages of a write, in their order. */
const COMMIT_STAGES = ['gather', 'evaluate', 'upload', 'wait_turn', 'reply'] as const;
export type CommitStage = (typeof COMMIT_STAGES)[number];

/** KV's methods that write, but for transactions that only read. */
const WRITES: ReadonlySet<string> = new Set(['Put', 'DeleteRange', 'Txn']);
const READS: ReadonlySet<string> = new Set(['Range', 'RangeStream']);

const SEQUENCE_STATES = ['durable', 'applied', 'evaluated'] as const;
export type SequenceState = (typeof SEQUENCE_STATES)[number];

const WATCHER_STATES = ['synced', 'unsynced'] as const;
export type WatcherState = (typeof WATCHER_STATES)[number];

/** 256 bytes to 4 MiB, the default of what fills a batch. */
const BYTES_BUCKETS = exponentialBuckets(256, 4, 8);
const REQUESTS_BUCKETS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];

const HOUR_MS = 3_600_000;

/**
 * Of prom-client's own metrics those that `pauses.ts` has instead: it counts one collection of those that node tells
 * together, takes its timer's period for delay, and begins anew at each scrape, whoever scrapes.
 */
const NOT_KEPT = [
  ...['', '_min', '_max', '_mean', '_stddev', '_p50', '_p90', '_p99'].map(
    (which) => `nodejs_eventloop_lag${which}_seconds`,
  ),
  'nodejs_gc_duration_seconds',
];

/**
 * Every metric of the process, each a member that counts without looking labels up. Names that etcd also has mean
 * what they mean in etcd; the others begin with `netsy_`.
 */
export class Metrics {
  readonly #make = new SeriesMaker();
  #registry: Promise<Registry> | undefined;
  readonly #grpc: GrpcMetrics;
  readonly slowCalls: SlowCalls;
  readonly etcd: EtcdMetrics;
  readonly own: OwnMetrics;
  readonly store: StoreMetrics;
  readonly slowWrites: SlowWriteMetrics;
  /** Of each thread. */
  readonly pauses: ThreadPauses;
  readonly commitStageSeconds: Readonly<Record<CommitStage, Histogram>>;
  readonly batchRequests: Histogram;
  readonly batchBytes: Histogram;
  readonly putBudgetWaitSeconds: Histogram;
  readonly sequence: Readonly<Record<SequenceState, Gauge>>;
  readonly watchers: Readonly<Record<WatcherState, Gauge>>;
  readonly leases: Gauge;

  constructor(clock: Clock = systemClock) {
    const make = this.#make;
    this.slowCalls = new SlowCalls(clock);
    this.#grpc = new GrpcMetrics(make, clock, this.slowCalls);
    this.etcd = new EtcdMetrics(make, this.slowCalls);
    this.own = new OwnMetrics(make);
    this.store = new StoreMetrics(make);
    this.slowWrites = new SlowWriteMetrics(make);
    this.pauses = new ThreadPauses(make);
    const stages = make.histograms(
      'netsy_commit_stage_seconds',
      'Time that a batch of writes spends in each stage of its commit.',
      SECONDS_BUCKETS,
    );
    this.commitStageSeconds = byName(COMMIT_STAGES, (stage) => stages({ stage }));
    this.batchRequests = make.histogram(
      'netsy_batch_requests',
      'Requests that share a chunk.',
      REQUESTS_BUCKETS,
    );
    this.batchBytes = make.histogram(
      'netsy_batch_bytes',
      'Bytes of the requests that share a chunk.',
      BYTES_BUCKETS,
    );
    this.putBudgetWaitSeconds = make.histogram(
      'netsy_put_budget_wait_seconds',
      'Time that batches of writes waited for --put-budget; those that did not wait are not in it.',
      SECONDS_BUCKETS,
    );
    const sequences = make.gauges(
      'netsy_sequence',
      'How far the log is evaluated, durable in the store, and applied to the cache.',
    );
    this.sequence = byName(SEQUENCE_STATES, (state) => sequences({ state }));
    const watchers = make.gauges(
      'netsy_watchers',
      'Watchers that follow the live events (synced) and those that are fed from the cache (unsynced).',
    );
    this.watchers = byName(WATCHER_STATES, (state) => watchers({ state }));
    this.leases = make.gauge('netsy_leases', 'Leases that are granted.');
  }

  /** Counts the calls of one method, such as `etcdserverpb.KV`, `Range`, `unary`. Ask once and keep it. */
  calls(service: string, method: string, type: GrpcType): CallMeter {
    return this.#grpc.calls(service, method, type);
  }

  /** What the status page shows of the past. */
  totals(): Totals {
    const { calls: writes, seconds } = this.#grpc.ended(WRITES);
    return {
      writes,
      reads: this.#grpc.ended(READS).calls,
      puts: this.store.puts,
      dollars: this.store.dollars.value,
      storeErrors: this.store.errorCount,
      writeSeconds: { bounds: seconds.bounds, counts: [...seconds.counts] },
    };
  }

  /** Everything in Prometheus' text format. */
  async text(): Promise<string> {
    this.#registry ??= registryOf(this.#make.made);
    return (await this.#registry).metrics();
  }

  /** The content type of `text`. */
  readonly contentType = 'text/plain; version=0.0.4; charset=utf-8';
}

/**
 * A registry of these metrics, and of the process's. Made, and prom-client loaded, when somebody asks for the first time: a
 * start has better things to do.
 */
async function registryOf(made: readonly Metric<string>[]): Promise<Registry> {
  const { collectDefaultMetrics, Registry } = await import('prom-client');
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: HOUR_MS });
  for (const name of NOT_KEPT) registry.removeSingleMetric(name);
  countWhatWas(registry);
  for (const metric of made) registry.registerMetric(metric);
  return registry;
}

/** prom-client counts processor time from when it is asked to; the process had some before. */
function countWhatWas(registry: Registry): void {
  const { user, system } = process.cpuUsage();
  const micros = { user_seconds: user, system_seconds: system, seconds: user + system };
  for (const [name, value] of Object.entries(micros)) {
    (registry.getSingleMetric(`process_cpu_${name}_total`) as Counter).inc(value / 1e6);
  }
}

function byName<N extends string, T>(names: readonly N[], make: (name: N) => T): Readonly<Record<N, T>> {
  return Object.fromEntries(names.map((name) => [name, make(name)])) as Record<N, T>;
}
