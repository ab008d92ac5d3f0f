import { stat } from 'node:fs/promises';
import { alarmTypeName } from '../shared/etcd/alarm.ts';
import { ETCD_VERSION, NETSY_VERSION } from '../shared/model/version.ts';
import type { Core } from './core.ts';
import type { Engine } from './engine.ts';
import type { EtcdReadings } from './ops/etcd-metrics.ts';
import type { Metrics } from './ops/metrics.ts';
import type { OwnReadings } from './ops/own-metrics.ts';

/** What metrics and the status page read of a server when they are asked. */

export interface ReadingParts {
  readonly core: Core;
  readonly engine: Engine;
  readonly cacheFile: string;
  /** Whether the store fails uploads, renewals of the lease, or a standby. */
  readonly storeFailing: boolean;
  readonly answers: OwnReadings['answers'];
}

/** Reads all gauges. Never rejects. */
export async function takeReadings(metrics: Metrics, parts: ReadingParts): Promise<void> {
  const { engine, core } = parts;
  const { gate, hub, lessor, pipeline } = engine;
  const watch = hub.counts();
  metrics.watchers.synced.set(watch.synced);
  metrics.watchers.unsynced.set(watch.unsynced);
  metrics.leases.set(lessor.count);
  metrics.sequence.durable.set(gate.durableSequence);
  metrics.sequence.applied.set(gate.appliedSequence);
  metrics.sequence.evaluated.set(Math.max(gate.durableSequence, pipeline.evaluatedSequence));
  const keys = await engine.readers.countKeys().catch(() => undefined);
  metrics.etcd.readings = etcdReadings(engine, watch, keys);
  const wal = await bytesOf(`${parts.cacheFile}-wal`);
  metrics.own.readings = ownReadings(engine, core, watch, {
    wal,
    storeFailing: parts.storeFailing,
    answers: parts.answers,
  });
}

async function bytesOf(file: string): Promise<number | undefined> {
  try {
    return (await stat(file)).size;
  } catch {
    return undefined;
  }
}

type WatchCounts = ReturnType<Engine['hub']['counts']>;

function etcdReadings(engine: Engine, watch: WatchCounts, keys: number | undefined): EtcdReadings {
  const { gate, hub, lessor, pipeline, identity, cluster, counts, readers } = engine;
  const { operations } = counts;
  return {
    memberId: hex(identity.memberId),
    etcdVersion: ETCD_VERSION,
    clusterVersion: cluster.clusterVersion.split('.').slice(0, 2).join('.'),
    hasLeader: engine.leader !== 0n,
    isLeader: engine.leadership === 'leading',
    leaderChanges: identity.raftTerm - counts.firstEpoch + 1,
    committed: gate.durableSequence,
    applied: gate.appliedSequence,
    pending: pipeline.pendingRequests,
    failed: pipeline.failedRequests,
    databaseBytes: engine.databaseBytes,
    watchStreams: watch.streams,
    watchersSynced: watch.synced,
    watchersUnsynced: watch.unsynced,
    eventsSent: hub.eventsSent,
    eventsPending: watch.pendingEvents,
    keys,
    revision: identity.revision,
    compactRevision: counts.compactRevision,
    compactedKeys: counts.removedRows,
    lastCompactionMs: counts.lastCompactionMs,
    authRevision: engine.auth.state.revision,
    leases: lessor.counts,
    alarms: cluster.alarms().map((one) => ({ memberId: hex(one.memberId), type: alarmTypeName(one.alarm) })),
    operations: {
      ...operations,
      ranges: operations.ranges + readers.counts.ranges,
      txns: operations.txns + readers.counts.txns,
    },
  };
}

function hex(id: bigint): string {
  return id.toString(16);
}

function ownReadings(
  { gate, pipeline, identity, leadership, databaseBytes, diskTrouble }: Engine,
  { restorePoints }: Core,
  watch: WatchCounts,
  {
    wal,
    storeFailing,
    answers,
  }: Pick<ReadingParts, 'storeFailing' | 'answers'> & { wal: number | undefined },
): OwnReadings {
  return {
    version: NETSY_VERSION,
    etcdVersion: ETCD_VERSION,
    leadership,
    epoch: identity.raftTerm,
    queue: { requests: pipeline.pendingRequests, bytes: pipeline.pendingBytes },
    batchesInFlight: pipeline.batchesInFlight,
    oldestWriteMs: pipeline.oldestMs,
    writesRefused: pipeline.refusedRequests,
    readsWaiting: gate.waiting,
    answers,
    watch: {
      lagRevisions: watch.lagRevisions,
      pendingBytes: watch.pendingBytes,
      replays: watch.replaying,
      ringBytes: watch.ringBytes,
    },
    cacheBytes: { ...databaseBytes, wal },
    storeFailing,
    cacheDiskFailing: diskTrouble !== undefined,
    snapshots: restorePoints?.snapshots,
    sinceSnapshot: restorePoints?.since,
  };
}
