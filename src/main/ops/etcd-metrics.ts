import type { Gauge, Histogram } from '../../shared/base/metering.ts';
import type { OperationCounts } from '../../workers/contract/writer.ts';
import { exponentialBuckets, type SeriesMaker } from './series.ts';

/** etcd's buckets for what is written to disk, in seconds: 1 ms to 8 s. */
const DISK_BUCKETS = exponentialBuckets(0.001, 2, 14);

/** etcd's, in seconds: 0.1 s to 7 minutes. */
const DEFRAGMENT_BUCKETS = exponentialBuckets(0.1, 2, 13);

/** What the gauges say at a scrape. */
export interface EtcdReadings {
  readonly memberId: string;
  readonly etcdVersion: string;
  /** As `3.7`. */
  readonly clusterVersion: string;
  readonly hasLeader: boolean;
  readonly isLeader: boolean;
  /** Leaders that this process saw come, the first one too. */
  readonly leaderChanges: number;
  readonly committed: number;
  readonly applied: number;
  readonly pending: number;
  readonly failed: number;
  readonly databaseBytes: { readonly total: number; readonly inUse: number };
  readonly watchStreams: number;
  readonly watchersSynced: number;
  readonly watchersUnsynced: number;
  readonly eventsSent: number;
  readonly eventsPending: number;
  /** Living keys; undefined when they could not be counted. */
  readonly keys: number | undefined;
  readonly revision: number;
  readonly compactRevision: number;
  readonly compactedKeys: number;
  /** Wall clock; 0 before the first. */
  readonly lastCompactionMs: number;
  readonly authRevision: number;
  readonly leases: {
    readonly granted: number;
    readonly revoked: number;
    readonly renewed: number;
    readonly expired: number;
  };
  /** Raised alarms: whose, and of which type. */
  readonly alarms: readonly { readonly memberId: string; readonly type: string }[];
  readonly operations: OperationCounts;
}

type Reading = (readings: EtcdReadings) => number | undefined;

/**
 * What etcd's dashboards and alerts read, under etcd's names, types and buckets (those of etcd 3.7's metrics.go
 * files). `docs/operations/metrics.md` says where the meaning is not quite etcd's.
 */
export class EtcdMetrics {
  /** An upload, from its first try until the chunk is durable: what etcd's WAL fsync is for a write. */
  readonly walFsyncSeconds: Histogram;
  /** A commit of SQLite. */
  readonly backendCommitSeconds: Histogram;
  readonly defragmentSeconds: Histogram;
  /** 1 while a defragmentation is under way. */
  readonly defragmentInFlight: Gauge;
  readonly walWriteBytes: { add(bytes: number): void };
  readonly healthSuccess: { add(count: number): void };
  readonly healthFailures: { add(count: number): void };
  /** Infinite without a limit: with 0, etcd's alerts on it would fire for ever. */
  readonly quotaBackendBytes: { set(bytes: number): void };
  /** Renewed at each scrape; undefined until there is something to say. */
  readings: EtcdReadings | undefined;
  readonly #make: SeriesMaker;

  /** `slow` counts the calls that took long. */
  constructor(make: SeriesMaker, slow: { readonly count: number }) {
    this.#make = make;
    this.walFsyncSeconds = make.histogram(
      'etcd_disk_wal_fsync_duration_seconds',
      'The latency distributions of fsync called by WAL; here of making a chunk durable in the store.',
      DISK_BUCKETS,
    );
    this.backendCommitSeconds = make.histogram(
      'etcd_disk_backend_commit_duration_seconds',
      'The latency distributions of commit called by backend; here of applying chunks to the cache.',
      DISK_BUCKETS,
    );
    this.defragmentSeconds = make.histogram(
      'etcd_disk_backend_defrag_duration_seconds',
      'The latency distribution of backend defragmentation.',
      DEFRAGMENT_BUCKETS,
    );
    this.defragmentInFlight = make.gauge(
      'etcd_disk_defrag_inflight',
      'Whether or not defrag is active on the member. 1 means active, 0 means not.',
    );
    const walBytes = make.gauge(
      'etcd_disk_wal_write_bytes_total',
      'Total number of bytes written in WAL; here of chunks that became durable.',
    );
    this.walWriteBytes = { add: (bytes) => walBytes.set(walBytes.value + bytes) };
    this.healthSuccess = make.counter(
      'etcd_server_health_success',
      'The total number of successful health checks',
    );
    this.healthFailures = make.counter(
      'etcd_server_health_failures',
      'The total number of failed health checks',
    );
    make.read(
      'counter',
      'etcd_server_slow_apply_total',
      'The total number of slow apply requests (likely overloaded from slow disk).',
      () => [{ labels: {}, value: slow.count }],
    );
    this.quotaBackendBytes = make.gauge(
      'etcd_server_quota_backend_bytes',
      'Current backend storage quota size in bytes.',
    );
    this.#showServer();
    this.#showMvcc();
    this.#showLeases();
  }

  #gauge(name: string, help: string, read: Reading): void {
    this.#number('gauge', name, help, read);
  }

  #counter(name: string, help: string, read: Reading): void {
    this.#number('counter', name, help, read);
  }

  #number(type: 'gauge' | 'counter', name: string, help: string, read: Reading): void {
    this.#make.read(type, name, help, () => {
      const { readings } = this;
      const value = readings === undefined ? 0 : read(readings);
      return value === undefined ? [] : [{ labels: {}, value }];
    });
  }

  /** Something that is so: 1, and its labels say what. */
  #fact(
    name: string,
    help: string,
    labels: (readings: EtcdReadings) => readonly Readonly<Record<string, string>>[],
  ): void {
    this.#make.read('gauge', name, help, () => {
      const { readings } = this;
      return readings === undefined ? [] : labels(readings).map((one) => ({ labels: one, value: 1 }));
    });
  }

  #showServer(): void {
    const server = 'etcd_server';
    this.#gauge(`${server}_has_leader`, 'Whether or not a leader exists. 1 is existence, 0 is not.', (now) =>
      Number(now.hasLeader),
    );
    this.#gauge(
      `${server}_is_leader`,
      'Whether or not this member is a leader. 1 if is, 0 otherwise.',
      (now) => Number(now.isLeader),
    );
    this.#gauge(
      `${server}_is_learner`,
      'Whether or not this member is a learner. 1 if is, 0 otherwise.',
      () => 0,
    );
    this.#counter(
      `${server}_leader_changes_seen_total`,
      'The number of leader changes seen.',
      (now) => now.leaderChanges,
    );
    this.#gauge(
      `${server}_proposals_committed_total`,
      'The total number of consensus proposals committed.',
      (now) => now.committed,
    );
    this.#gauge(
      `${server}_proposals_applied_total`,
      'The total number of consensus proposals applied.',
      (now) => now.applied,
    );
    this.#gauge(
      `${server}_proposals_pending`,
      'The current number of pending proposals to commit.',
      (now) => now.pending,
    );
    this.#counter(
      `${server}_proposals_failed_total`,
      'The total number of failed proposals seen.',
      (now) => now.failed,
    );
    this.#fact(
      `${server}_version`,
      "Which version is running. 1 for 'server_version' label with current version.",
      (now) => [{ server_version: now.etcdVersion }],
    );
    this.#fact(
      `${server}_id`,
      "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.",
      (now) => [{ server_id: now.memberId }],
    );
    this.#fact(
      'etcd_cluster_version',
      "Which version is running. 1 for 'cluster_version' label with current cluster version",
      (now) => [{ cluster_version: now.clusterVersion }],
    );
    this.#fact(
      'etcd_debugging_server_alarms',
      "Alarms for every member in cluster. 1 for 'server_id' label with current ID. 2 for 'alarm_type' label with type of this alarm",
      (now) => now.alarms.map(({ memberId, type }) => ({ server_id: memberId, alarm_type: type })),
    );
    this.#gauge(
      'etcd_debugging_auth_revision',
      'The current revision of auth store.',
      (now) => now.authRevision,
    );
  }

  #showMvcc(): void {
    const [mvcc, debugging] = ['etcd_mvcc', 'etcd_debugging_mvcc'];
    this.#gauge(
      `${mvcc}_db_total_size_in_bytes`,
      'Total size of the underlying database physically allocated in bytes.',
      (now) => now.databaseBytes.total,
    );
    this.#gauge(
      `${mvcc}_db_total_size_in_use_in_bytes`,
      'Total size of the underlying database logically in use in bytes.',
      (now) => now.databaseBytes.inUse,
    );
    const seen = (what: string): string => `Total number of ${what} seen by this member.`;
    this.#counter(`${mvcc}_range_total`, seen('ranges'), (now) => now.operations.ranges);
    this.#counter(`${mvcc}_put_total`, seen('puts'), (now) => now.operations.puts);
    this.#counter(`${mvcc}_delete_total`, seen('deletes'), (now) => now.operations.deletes);
    this.#counter(`${mvcc}_txn_total`, seen('txns'), (now) => now.operations.txns);
    this.#gauge(
      `${debugging}_total_put_size_in_bytes`,
      'The total size of put kv pairs seen by this member.',
      (now) => now.operations.putBytes,
    );
    this.#gauge(`${debugging}_keys_total`, 'Total number of keys.', (now) => now.keys);
    this.#gauge(
      `${debugging}_watch_stream_total`,
      'Total number of watch streams.',
      (now) => now.watchStreams,
    );
    this.#gauge(
      `${debugging}_watcher_total`,
      'Total number of watchers.',
      (now) => now.watchersSynced + now.watchersUnsynced,
    );
    this.#gauge(
      `${debugging}_slow_watcher_total`,
      'Total number of unsynced slow watchers.',
      (now) => now.watchersUnsynced,
    );
    this.#counter(
      `${debugging}_events_total`,
      'Total number of events sent by this member.',
      (now) => now.eventsSent,
    );
    this.#counter(
      `${debugging}_db_compaction_keys_total`,
      'Total number of db keys compacted.',
      (now) => now.compactedKeys,
    );
    this.#gauge(
      `${debugging}_db_compaction_last`,
      'The unix time of the last db compaction. Resets to 0 on start.',
      (now) => now.lastCompactionMs / 1000,
    );
    this.#gauge(
      `${debugging}_pending_events_total`,
      'Total number of pending events to be sent.',
      (now) => now.eventsPending,
    );
    this.#gauge(`${debugging}_current_revision`, 'The current revision of store.', (now) => now.revision);
    this.#gauge(
      `${debugging}_compact_revision`,
      'The revision of the last compaction in store.',
      (now) => now.compactRevision,
    );
  }

  #showLeases(): void {
    const lease = 'etcd_debugging_lease';
    const total = (what: string): string => `The total number of ${what} leases.`;
    this.#counter(`${lease}_granted_total`, total('granted'), (now) => now.leases.granted);
    this.#counter(`${lease}_revoked_total`, total('revoked'), (now) => now.leases.revoked);
    this.#counter(
      `${lease}_renewed_total`,
      'The number of renewed leases seen by the leader.',
      (now) => now.leases.renewed,
    );
    this.#counter('etcd_debugging_server_lease_expired_total', total('expired'), (now) => now.leases.expired);
  }
}
