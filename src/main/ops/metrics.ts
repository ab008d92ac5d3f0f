import {
  collectDefaultMetrics,
  Counter as PromCounter,
  Gauge as PromGauge,
  Histogram as PromHistogram,
  Registry,
} from 'prom-client';
import type { Counter, Gauge, Histogram } from '../../shared/base/metering.ts';

/** Stages of a write, in their order. */
const COMMIT_STAGES = ['gather', 'evaluate', 'upload', 'wait_turn', 'reply'] as const;
export type CommitStage = (typeof COMMIT_STAGES)[number];

const SEQUENCE_STATES = ['durable', 'applied', 'evaluated'] as const;
export type SequenceState = (typeof SEQUENCE_STATES)[number];

const WATCHER_STATES = ['synced', 'unsynced'] as const;
export type WatcherState = (typeof WATCHER_STATES)[number];

/** gRPC's code names in their order, as grpc-ecosystem's Prometheus interceptors write them. */
const GRPC_CODE_NAMES = [
  ...['OK', 'Canceled', 'Unknown', 'InvalidArgument', 'DeadlineExceeded', 'NotFound', 'AlreadyExists'],
  ...[
    'PermissionDenied',
    'ResourceExhausted',
    'FailedPrecondition',
    'Aborted',
    'OutOfRange',
    'Unimplemented',
  ],
  ...['Internal', 'Unavailable', 'DataLoss', 'Unauthenticated'],
];

/** From a fraction of a millisecond (a stage in memory) to a minute (a store that is away). */
const SECONDS_BUCKETS = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
];
const REQUESTS_BUCKETS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];

type GrpcLabel = 'grpc_type' | 'grpc_service' | 'grpc_method' | 'grpc_code';

/** Calls of one method since the last scrape, by code. */
interface MethodCalls {
  readonly labels: Readonly<Record<Exclude<GrpcLabel, 'grpc_code'>, string>>;
  readonly counts: number[];
}

/** Counts the finished calls of one gRPC method. */
export interface CallMeter {
  /** `code` is gRPC's number. */
  handled(code: number): void;
}

/**
 * Every metric of the process, each a member that counts without looking labels up. Names that etcd also has mean
 * what they mean in etcd; the others begin with `netsy_`.
 */
export class Metrics {
  readonly #registry = new Registry();
  readonly #calls: MethodCalls[] = [];
  readonly #storeRequests: PromCounter<'operation' | 'result'>;
  readonly #storeSeconds: PromHistogram<'operation'>;
  readonly commitStageSeconds: Readonly<Record<CommitStage, Histogram>>;
  readonly batchRequests: Histogram;
  readonly uploadsHedged: Counter;
  readonly sequence: Readonly<Record<SequenceState, Gauge>>;
  readonly watchers: Readonly<Record<WatcherState, Gauge>>;
  readonly leases: Gauge;
  readonly hasLeader: Gauge;
  readonly quotaBackendBytes: Gauge;
  readonly isLeader: Gauge;

  constructor() {
    const registry = this.#registry;
    collectDefaultMetrics({ register: registry });
    const stages = histogram(
      registry,
      'netsy_commit_stage_seconds',
      'Time that a batch of writes spends in each stage of its commit.',
      SECONDS_BUCKETS,
      ['stage'],
    );
    this.commitStageSeconds = byName(COMMIT_STAGES, (stage) => stages.labels({ stage }));
    this.batchRequests = histogram(
      registry,
      'netsy_batch_requests',
      'Requests that share a chunk.',
      REQUESTS_BUCKETS,
    );
    this.#storeRequests = counter(
      registry,
      'netsy_store_requests_total',
      'Requests to the object store, each try counted.',
      ['operation', 'result'],
    );
    this.#storeSeconds = histogram(
      registry,
      'netsy_store_request_seconds',
      'Time of requests to the object store.',
      SECONDS_BUCKETS,
      ['operation'],
    );
    this.uploadsHedged = counting(
      counter(registry, 'netsy_uploads_hedged_total', 'Slow uploads that were sent a second time.'),
    );
    const sequences = gauge(
      registry,
      'netsy_sequence',
      'How far the log is evaluated, durable in the store, and applied to the cache.',
      ['state'],
    );
    this.sequence = byName(SEQUENCE_STATES, (state) => sequences.labels({ state }));
    const watchers = gauge(
      registry,
      'netsy_watchers',
      'Watchers that follow the live events (synced) and those that are fed from the cache (unsynced).',
      ['state'],
    );
    this.watchers = byName(WATCHER_STATES, (state) => watchers.labels({ state }));
    this.leases = gauge(registry, 'netsy_leases', 'Leases that are granted.');
    this.hasLeader = gauge(
      registry,
      'etcd_server_has_leader',
      'Whether or not a leader exists. 1 is existence, 0 is not.',
    );
    this.quotaBackendBytes = gauge(
      registry,
      'etcd_server_quota_backend_bytes',
      'Current backend storage quota size in bytes.',
    );
    this.isLeader = gauge(
      registry,
      'etcd_server_is_leader',
      'Whether or not this member is a leader. 1 if is, 0 otherwise.',
    );
    this.#registerCalls();
  }

  #registerCalls(): void {
    const handOver = (calls: PromCounter<GrpcLabel>): void => this.#handOverCalls(calls);
    new PromCounter<GrpcLabel>({
      name: 'grpc_server_handled_total',
      help: 'Total number of RPCs completed on the server, regardless of success or failure.',
      labelNames: ['grpc_type', 'grpc_service', 'grpc_method', 'grpc_code'],
      registers: [this.#registry],
      collect() {
        handOver(this);
      },
    });
  }

  /** A counter of store requests of one operation that ended in one way. Ask once and keep it. */
  storeRequests(operation: string, result: string): Counter {
    return counting(this.#storeRequests.labels({ operation, result }));
  }

  /** The times of one store operation. Ask once and keep it. */
  storeRequestSeconds(operation: string): Histogram {
    return this.#storeSeconds.labels({ operation });
  }

  /** Counts the calls of one method, such as `etcdserverpb.KV`, `Range`, `unary`. Ask once and keep it. */
  calls(service: string, method: string, type: GrpcType): CallMeter {
    const labels = { grpc_type: type, grpc_service: service, grpc_method: method };
    const meter: MethodCalls = { labels, counts: [0] };
    this.#calls.push(meter);
    const { counts } = meter;
    return {
      handled: (code) => {
        counts[code] = (counts[code] ?? 0) + 1;
      },
    };
  }

  /** prom-client hashes labels at every step even where they were given before, so calls are handed over at a scrape. */
  #handOverCalls(calls: PromCounter<GrpcLabel>): void {
    for (const { labels, counts } of this.#calls) {
      counts.forEach((count, code) => {
        calls.inc({ ...labels, grpc_code: GRPC_CODE_NAMES[code] ?? String(code) }, count);
        counts[code] = 0;
      });
    }
  }

  /** Everything in Prometheus' text format. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  /** The content type of `text`. */
  get contentType(): string {
    return this.#registry.contentType;
  }
}

export type GrpcType = 'unary' | 'server_stream' | 'client_stream' | 'bidi_stream';

function histogram<L extends string>(
  registry: Registry,
  name: string,
  help: string,
  buckets: number[],
  labelNames: L[] = [],
): PromHistogram<L> {
  return new PromHistogram({ name, help, buckets, labelNames, registers: [registry] });
}

function counter<L extends string>(
  registry: Registry,
  name: string,
  help: string,
  labelNames: L[] = [],
): PromCounter<L> {
  return new PromCounter({ name, help, labelNames, registers: [registry] });
}

function gauge<L extends string>(
  registry: Registry,
  name: string,
  help: string,
  labelNames: L[] = [],
): PromGauge<L> {
  return new PromGauge({ name, help, labelNames, registers: [registry] });
}

function counting(steps: { inc(count: number): void }): Counter {
  return { add: (count) => steps.inc(count) };
}

function byName<N extends string, T>(names: readonly N[], make: (name: N) => T): Readonly<Record<N, T>> {
  return Object.fromEntries(names.map((name) => [name, make(name)])) as Record<N, T>;
}
