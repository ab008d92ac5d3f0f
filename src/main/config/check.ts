import { isAbsolute, relative, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { LEASE_RENEWALS_PER_TTL } from '../../shared/model/limits.ts';
import { s3Of } from './check-s3.ts';
import { tlsOf } from './check-tls.ts';
import { FLAGS, type FlagKey, type FlagValues } from './flags.ts';
import { type AutoCompactionSettings, type Settings, SettingsError } from './settings.ts';

/** What was given, by flag or environment, and under which name: `--batch-window` or `NETSY_BATCH_WINDOW`. */
export type Given = ReadonlyMap<FlagKey, string>;

/** As etcd, for a server that says 0. */
const SIMPLE_TOKEN_TTL_SECONDS = 300;
/** A write waits for two turns at most, and then takes as long as an upload takes. */
const PUT_TURNS_MAX = 3;

/** Joins single values into settings; throws `SettingsError` where two of them don't fit together. */
export function settingsOf(values: FlagValues, given: Given): Settings {
  const dataDir = resolve(values.dataDir);
  const batchBytesMax = roomFor(values.maxRequestBytes, 'batchMaxBytes', values.batchMaxBytes, given);
  const settings: Settings = {
    name: values.name,
    listenClientUrls: values.listenClientUrls,
    advertiseClientUrls: values.advertiseClientUrls ?? [],
    maxRequestBytes: values.maxRequestBytes,
    maxTxnOps: values.maxTxnOps,
    grpcKeepaliveIntervalMs: values.grpcKeepaliveInterval,
    grpcKeepaliveTimeoutMs: values.grpcKeepaliveTimeout,
    listenMetricsUrls: values.listenMetricsUrls ?? [],
    limits: {
      connections: values.maxConnections,
      streamsPerConnection: values.maxConcurrentStreams,
      streams: values.maxStreams,
      headerBytes: values.maxHeaderBytes,
      handshakeMs: values.handshakeTimeout,
      requestReadMs: values.requestReadTimeout,
      waitingAnswerBytes: values.maxWaitingAnswerBytes,
    },
    drainTimeoutMs: values.drainTimeout,
    tls: tlsOf(values),
    insecure: values.insecure,
    authToken: values.authToken,
    simpleTokenTtlMs: (values.authTokenTtl || SIMPLE_TOKEN_TTL_SECONDS) * 1000,
    bcryptCost: values.bcryptCost,
    dataDir,
    cacheDir: resolve(values.cacheDir ?? resolve(dataDir, 'cache')),
    store: values.store ?? pathToFileURL(resolve(dataDir, 'store')).href,
    quotaBackendBytes: values.quotaBackendBytes,
    leaseTtlMs: values.leaseTtl,
    s3: s3Of(values, given),
    batchWindowMs: values.batchWindow,
    batchBytesMax,
    batchRequestsMax: values.batchMaxRequests,
    pipelineDepth: values.pipelineDepth,
    hedgeAfter: values.hedgeAfter,
    putBudget: values.putBudget?.perSecond,
    requestTimeoutMs: values.requestTimeout,
    queueBytesMax: roomFor(batchBytesMax, 'queueMaxBytes', values.queueMaxBytes, given),
    queueRequestsMax: values.queueMaxRequests,
    poolThreads: values.poolThreads,
    readerWorkers: values.readerWorkers,
    watchProgressNotifyIntervalMs: values.watchProgressNotifyInterval,
    watchBufferBytesMax: values.watchBufferBytes,
    watchStreamBufferBytesMax: values.watchStreamBufferBytes,
    autoCompaction: autoCompactionOf(values, given),
    mergeChunks: values.mergeChunks,
    snapshot: {
      records: values.snapshotRecords,
      bytes: values.snapshotBytes,
      ageMs: values.snapshotAge,
    },
    retentionMs: values.retention.ms,
    logLevel: values.logLevel === 'panic' ? 'fatal' : values.logLevel,
    logFormat: values.logFormat,
    slowWriteLog: values.slowWriteLog,
    warningUnaryRequestMs: values.warningUnaryRequestDuration,
  };
  checkWrites(settings, given);
  checkPutBudget(settings, given);
  checkDirectories(settings, given);
  return deepFreeze(settings);
}

/** How a message names a flag: as it was given, else by its own name. */
function label(key: FlagKey, given: Given): string {
  return given.get(key) ?? `--${FLAGS[key].name}`;
}

const HOUR_MS = 3_600_000;

function autoCompactionOf(values: FlagValues, given: Given): AutoCompactionSettings | undefined {
  const { autoCompactionMode: mode, autoCompactionRetention: retention } = values;
  if ('periodMs' in retention) {
    if (mode === 'periodic') return { mode, periodMs: retention.periodMs };
    throw new SettingsError(
      `${label('autoCompactionRetention', given)}: is a count of revisions in mode revision, such as 1000`,
    );
  }
  if (retention.count === 0) return undefined;
  if (mode === 'revision') return { mode, revisions: retention.count };
  return { mode, periodMs: retention.count * HOUR_MS };
}

/** A limit that was not given is no less than what it must have room for: `--max-request-bytes` is enough to raise all. */
function roomFor(bytes: number, key: FlagKey, value: number, given: Given): number {
  return given.has(key) ? value : Math.max(value, bytes);
}

function checkWrites(settings: Settings, given: Given): void {
  atLeast('batchMaxBytes', settings.batchBytesMax, 'maxRequestBytes', settings.maxRequestBytes, given);
  atLeast('queueMaxBytes', settings.queueBytesMax, 'batchMaxBytes', settings.batchBytesMax, given);
  atLeast(
    'queueMaxRequests',
    settings.queueRequestsMax,
    'batchMaxRequests',
    settings.batchRequestsMax,
    given,
  );
  if (settings.batchWindowMs >= settings.requestTimeoutMs) {
    throw new SettingsError(
      `${label('batchWindow', given)}: must be shorter than ${label('requestTimeout', given)}`,
    );
  }
  const hedge = settings.hedgeAfter;
  if (hedge.kind === 'fixed' && hedge.delayMs >= settings.requestTimeoutMs) {
    throw new SettingsError(
      `${label('hedgeAfter', given)}: must be shorter than ${label('requestTimeout', given)}; use off for never`,
    );
  }
}

/** Beside the lease's renewals there must be room for writes, and these must not wait until their clients give up. */
function checkPutBudget({ putBudget, leaseTtlMs, requestTimeoutMs }: Settings, given: Given): void {
  if (putBudget === undefined) return;
  const renewals = (LEASE_RENEWALS_PER_TTL * 1000) / leaseTtlMs;
  if (putBudget < 2 * renewals) {
    throw new SettingsError(
      `${label('putBudget', given)}: the primary's lease alone takes ${renewals.toFixed(1)} PUTs per second; give twice that or more, or raise ${label('leaseTtl', given)}`,
    );
  }
  const waitMs = PUT_TURNS_MAX * (1000 / putBudget);
  if (requestTimeoutMs > waitMs) return;
  throw new SettingsError(
    `${label('putBudget', given)}: writes may wait ${Math.round(waitMs)}ms for their turn; give more, or raise ${label('requestTimeout', given)} above that`,
  );
}

function atLeast(larger: FlagKey, value: number, smaller: FlagKey, floor: number, given: Given): void {
  if (value >= floor) return;
  throw new SettingsError(
    `${label(larger, given)}: ${value} is less than ${label(smaller, given)}, ${floor}; raise the first or lower the second`,
  );
}

/** Deleting the cache must never delete the store, so neither may hold the other. */
function checkDirectories(settings: Settings, given: Given): void {
  if (!settings.store.startsWith('file:')) return;
  const storeDir = storeDirectory(settings.store, given);
  if (!holds(storeDir, settings.cacheDir) && !holds(settings.cacheDir, storeDir)) return;
  throw new SettingsError(
    `${label('cacheDir', given)}: ${settings.cacheDir} and the store ${storeDir} must not hold one another; choose separate directories`,
  );
}

function storeDirectory(store: string, given: Given): string {
  try {
    return resolve(fileURLToPath(store));
  } catch {
    throw new SettingsError(
      `${label('store', given)}: "${store}" is not a path; write / plainly, and % as %25`,
    );
  }
}

function holds(parent: string, child: string): boolean {
  const way = relative(parent, child);
  return !isAbsolute(way) && way !== '..' && !way.startsWith('../');
}

function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const inner of Object.values(value)) deepFreeze(inner);
  return Object.freeze(value);
}
