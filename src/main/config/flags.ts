import {
  LEASE_TTL_MS_MAX,
  LEASE_TTL_MS_MIN,
  PIPELINE_DEPTH_MAX,
  RECORD_BYTES_MAX,
} from '../../shared/model/limits.ts';
import { authToken } from './auth-token.ts';
import { flag, optional } from './flag.ts';
import { LIMIT_FLAGS } from './limit-flags.ts';
import { S3_FLAGS } from './s3-flags.ts';
import { TLS_FLAGS } from './tls-flags.ts';
import {
  anyText,
  choice,
  compactionRetention,
  DURATION_MS_MAX,
  duration,
  hedgeAfter,
  integer,
  perSecond,
  quota,
  retention,
  size,
  slowWrites,
  storeUrl,
  urls,
} from './values.ts';

/** The environment variable of a flag. */
export function environmentName(flagName: string): string {
  return `NETSY_${flagName.toUpperCase().replaceAll('-', '_')}`;
}

const MAX_UINT32 = 2 ** 32 - 1;
const THREADS_MAX = 64;
const BCRYPT_COST_MIN = 4;
const BCRYPT_COST_MAX = 31;
const time = duration(0, DURATION_MS_MAX);

/**
 * The one table of flags. Names and forms that etcd has are etcd's (its `embed/config.go`); the others are ours.
 * Each flag's environment variable is NETSY_ and its name in capitals, as etcd does with ETCD_.
 */
export const FLAGS = {
  listenClientUrls: flag(
    'Serving',
    'listen-client-urls',
    '<urls>',
    urls('listen'),
    'where to listen for gRPC and HTTP; comma-separated; port 0 takes a free one',
    'http://127.0.0.1:2379',
  ),
  advertiseClientUrls: optional(
    'Serving',
    'advertise-client-urls',
    '<urls>',
    urls('advertise'),
    'what clients are told to connect to (default: where it listens)',
  ),
  listenMetricsUrls: optional(
    'Serving',
    'listen-metrics-urls',
    '<urls>',
    urls('listen'),
    'where to listen for the pages of metrics and health besides; https uses the TLS files of clients',
  ),
  name: flag('Serving', 'name', '<text>', anyText, 'name of this member, for people', 'default'),
  maxRequestBytes: flag(
    'Serving',
    'max-request-bytes',
    '<size>',
    size(1, RECORD_BYTES_MAX),
    'largest request that is accepted',
    '1.5MiB',
  ),
  maxTxnOps: flag(
    'Serving',
    'max-txn-ops',
    '<count>',
    integer(1, 1_000_000),
    'most operations in one transaction',
    '128',
  ),
  grpcKeepaliveInterval: flag(
    'Serving',
    'grpc-keepalive-interval',
    '<duration>',
    time,
    'how often a connection is pinged to see if its client lives; 0 is never',
    '2h',
  ),
  grpcKeepaliveTimeout: flag(
    'Serving',
    'grpc-keepalive-timeout',
    '<duration>',
    duration(1, DURATION_MS_MAX),
    'how long a ping may stay unanswered before the connection is closed',
    '20s',
  ),
  ...LIMIT_FLAGS,
  ...TLS_FLAGS,
  authToken: flag(
    'Auth',
    'auth-token',
    '<kind>',
    authToken,
    'tokens of users: simple (known to this process alone), or jwt,sign-method=…,priv-key=FILE,pub-key=FILE,ttl=…',
    'simple',
  ),
  authTokenTtl: flag(
    'Auth',
    'auth-token-ttl',
    '<seconds>',
    integer(0, MAX_UINT32),
    'how long a simple token lives after its last use, in seconds; 0 is 300',
    '300',
  ),
  bcryptCost: flag(
    'Auth',
    'bcrypt-cost',
    '<steps>',
    integer(BCRYPT_COST_MIN, BCRYPT_COST_MAX),
    'cost of hashing a password; each step more doubles the time',
    '10',
  ),
  dataDir: flag(
    'Store and cache',
    'data-dir',
    '<path>',
    anyText,
    'parent of the default store and cache',
    './data',
  ),
  store: optional(
    'Store and cache',
    'store',
    '<url>',
    storeUrl,
    'where acknowledged writes are kept: file:///DIR or s3://BUCKET/PREFIX (default: file store in DATA-DIR/store)',
  ),
  cacheDir: optional(
    'Store and cache',
    'cache-dir',
    '<path>',
    anyText,
    'the SQLite cache; may be deleted while the server is down (default: DATA-DIR/cache)',
  ),
  quotaBackendBytes: flag(
    'Store and cache',
    'quota-backend-bytes',
    '<size>',
    quota,
    'bytes that the database may take before writes are refused and alarm NOSPACE is raised; 0 is no limit',
    '0',
  ),
  leaseTtl: flag(
    'Store and cache',
    'lease-ttl',
    '<duration>',
    duration(LEASE_TTL_MS_MIN, LEASE_TTL_MS_MAX),
    'how long the primary of a store stays it without a sign of life; then a standby takes over',
    '10s',
  ),
  ...S3_FLAGS,
  batchWindow: flag(
    'Writes',
    'batch-window',
    '<duration>',
    duration(0, 10_000),
    'how long a batch waits for more writes while others are under way; less where PUTs are fast, or no more come',
    '8ms',
  ),
  batchMaxBytes: flag(
    'Writes',
    'batch-max-bytes',
    '<size>',
    size(1, RECORD_BYTES_MAX),
    'request bytes that fill a batch; --max-request-bytes if that is more and this is not given',
    '4MiB',
  ),
  batchMaxRequests: flag(
    'Writes',
    'batch-max-requests',
    '<count>',
    integer(1, 100_000),
    'requests that fill a batch',
    '1000',
  ),
  pipelineDepth: flag(
    'Writes',
    'pipeline-depth',
    '<count>',
    integer(1, PIPELINE_DEPTH_MAX),
    `uploads in flight at a time, 1 to ${PIPELINE_DEPTH_MAX}`,
    '16',
  ),
  hedgeAfter: flag(
    'Writes',
    'hedge-after',
    '<delay>',
    hedgeAfter,
    'when an upload is sent again: p95 (of recent uploads), a duration, off, or auto (up to twice more at once where there are six writes for each such PUT, else p95; off on a directory)',
    'auto',
  ),
  putBudget: flag(
    'Writes',
    'put-budget',
    '<number>/s',
    perSecond(1, 100_000),
    'PUTs per second that this server keeps to, all kinds counted: batches wait longer under load, and take what gathers meanwhile past --batch-max-requests and up to 4 × --batch-max-bytes, within what may wait; off is no limit',
    'off',
  ),
  requestTimeout: flag(
    'Writes',
    'request-timeout',
    '<duration>',
    duration(10, DURATION_MS_MAX),
    'how long a write may wait for the store before its client is told',
    '10s',
  ),
  queueMaxBytes: flag(
    'Writes',
    'queue-max-bytes',
    '<size>',
    size(1),
    'bytes of writes that may wait',
    '64MiB',
  ),
  queueMaxRequests: flag(
    'Writes',
    'queue-max-requests',
    '<count>',
    integer(1, 10_000_000),
    'writes that may wait; more are refused',
    '20000',
  ),
  poolThreads: flag(
    'Writes',
    'pool-threads',
    '<count>',
    integer(1, THREADS_MAX),
    'threads for compression and checksums',
    '2',
  ),
  readerWorkers: flag(
    'Reads and watches',
    'reader-workers',
    '<count>',
    integer(1, THREADS_MAX),
    'threads that answer reads',
    '1',
  ),
  watchProgressNotifyInterval: flag(
    'Reads and watches',
    'watch-progress-notify-interval',
    '<duration>',
    duration(100, DURATION_MS_MAX),
    'how often an idle watcher that asked for it hears of progress',
    '10m',
  ),
  watchBufferBytes: flag(
    'Reads and watches',
    'watch-buffer-bytes',
    '<size>',
    size(0),
    'recent events kept in memory for watchers that join',
    '16MiB',
  ),
  watchStreamBufferBytes: flag(
    'Reads and watches',
    'watch-stream-buffer-bytes',
    '<size>',
    size(1),
    'events that may wait for one slow watch stream before it is replayed from disk',
    '4MiB',
  ),
  autoCompactionMode: flag(
    'History',
    'auto-compaction-mode',
    '<mode>',
    choice('periodic', 'revision'),
    'whether --auto-compaction-retention is a time (periodic) or a count of revisions',
    'periodic',
  ),
  autoCompactionRetention: flag(
    'History',
    'auto-compaction-retention',
    '<amount>',
    compactionRetention,
    'history that is kept: a duration, or hours without a unit (periodic); revisions (revision); 0 keeps all',
    '0',
  ),
  mergeChunks: flag(
    'Snapshots and retention',
    'merge-chunks',
    '<count>',
    integer(0, Number.MAX_SAFE_INTEGER),
    'merge chunks into larger objects when so many are there, and these again; 0 leaves them as they are',
    '256',
  ),
  snapshotRecords: flag(
    'Snapshots and retention',
    'snapshot-records',
    '<count>',
    integer(1, Number.MAX_SAFE_INTEGER),
    'write a snapshot after so many records, or as many as the last one holds if that is more',
    '200000',
  ),
  snapshotBytes: flag(
    'Snapshots and retention',
    'snapshot-bytes',
    '<size>',
    size(1),
    'write a snapshot after chunks of this size, or the size of the last one if that is more',
    '256MiB',
  ),
  snapshotAge: flag(
    'Snapshots and retention',
    'snapshot-age',
    '<duration>',
    duration(1, Number.MAX_SAFE_INTEGER),
    'write a snapshot so long after the last one if anything was written since',
    '6h',
  ),
  retention: flag(
    'Snapshots and retention',
    'retention',
    '<duration>',
    retention,
    'how far back the log can be restored to: what no point in that time needs is deleted; forever keeps all',
    '168h',
  ),
  logLevel: flag(
    'Log',
    'log-level',
    '<level>',
    choice('debug', 'info', 'warn', 'error', 'panic', 'fatal'),
    'debug, info, warn, error, panic or fatal',
    'info',
  ),
  slowWriteLog: flag(
    'Log',
    'slow-write-log',
    '<when>',
    slowWrites,
    'log where the time of a slow write went: of those slower than p99 (of recent writes) and than 100ms, or than a duration; off. A line a minute names the slowest; level debug has them all',
    'p99',
  ),
  warningUnaryRequestDuration: flag(
    'Log',
    'warning-unary-request-duration',
    '<duration>',
    time,
    'warn of requests that take longer, with what they asked for but without values; as in etcd',
    '300ms',
  ),
  logFormat: flag('Log', 'log-format', '<form>', choice('json', 'console'), 'json or console', 'json'),
};

export type FlagKey = keyof typeof FLAGS;

/** What each flag's `parse` gave; undefined where a flag without default was not given. */
export type FlagValues = {
  readonly [K in FlagKey]:
    | ReturnType<(typeof FLAGS)[K]['parse']>
    | ((typeof FLAGS)[K] extends { readonly default: string } ? never : undefined);
};
