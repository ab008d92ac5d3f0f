import type { Clock } from '../shared/base/clock.ts';
import type { Log } from '../shared/base/log.ts';
import type { Gauge, Histogram } from '../shared/base/metering.ts';
import type { Random } from '../shared/base/random.ts';
import type { Settings } from './config/settings.ts';
import type { Engine } from './engine.ts';
import { authHandlers } from './rpc/auth.ts';
import { type ClusterParts, clusterHandlers } from './rpc/cluster.ts';
import { guarded } from './rpc/guard.ts';
import { kvHandlers } from './rpc/kv.ts';
import { leaseHandlers } from './rpc/lease.ts';
import { maintenanceHandlers } from './rpc/maintenance.ts';
import { CLUSTER_NEEDS, MAINTENANCE_NEEDS } from './rpc/needs.ts';
import type { ServiceHandlers } from './rpc/service.ts';
import { SnapshotStreams } from './rpc/snapshot.ts';
import type { Snapshot } from './state/snapshot-client.ts';

/** etcd's KV service on an engine. */
export function kvService(
  engine: Engine,
  { maxRequestBytes, maxTxnOps }: Pick<Settings, 'maxRequestBytes' | 'maxTxnOps'>,
): ServiceHandlers {
  return kvHandlers({
    gate: engine.gate,
    readers: engine.readers,
    identity: engine.identity,
    compacted: (revision) => engine.compactions.wait(revision),
    guard: engine.guard,
    maxRequestBytes,
    maxTxnOps,
    submit: (...write) => void engine.pipeline.submit(...write),
  });
}

/** etcd's Lease service on an engine; `random` chooses ids. */
export function leaseService(engine: Engine, random: Random): ServiceHandlers {
  const { gate, guard, readers, lessor, identity, pipeline } = engine;
  const submit = (...write: Parameters<typeof pipeline.submit>): void => void pipeline.submit(...write);
  return leaseHandlers({ submit, gate, readers, lessor, identity, guard, random });
}

/** Told of defragmentations. */
interface DefragmentMeter {
  readonly defragmentSeconds: Histogram;
  /** 1 while there is one. */
  readonly defragmentInFlight: Gauge;
}

/** etcd's Maintenance service on an engine; `openSnapshot` begins the copy of the database that a client asked for. */
export function maintenanceService(
  engine: Engine,
  parts: {
    readonly settings: Pick<Settings, 'quotaBackendBytes'>;
    readonly log: Log;
    readonly clock: Clock;
    readonly meter: DefragmentMeter;
    openSnapshot(): Snapshot;
  },
): ServiceHandlers {
  const { identity, gate, readers, cluster, pipeline } = engine;
  const handlers = maintenanceHandlers({
    ...{ identity, gate, readers, cluster },
    leader: () => engine.leader,
    submit: (...write) => void pipeline.submit(...write),
    quotaBytes: parts.settings.quotaBackendBytes,
    databaseBytes: () => engine.databaseBytes,
    defragment: () => defragmentMetered(engine, parts),
    diskTrouble: () => engine.diskTrouble,
    snapshots: new SnapshotStreams({
      gate,
      log: parts.log,
      open: () => parts.openSnapshot(),
      storageVersion: () => cluster.storageVersion,
    }),
  });
  return guarded(engine.guard, handlers, MAINTENANCE_NEEDS);
}

async function defragmentMetered(
  engine: Engine,
  { clock, meter }: { readonly clock: Clock; readonly meter: DefragmentMeter },
): Promise<void> {
  const startMs = clock.monotonicMs();
  meter.defragmentInFlight.set(1);
  try {
    await engine.defragment();
  } finally {
    meter.defragmentInFlight.set(0);
    meter.defragmentSeconds.observe((clock.monotonicMs() - startMs) / 1000);
  }
}

/** etcd's Cluster service on an engine. */
export function clusterService(
  { gate, guard, identity }: Engine,
  names: Pick<ClusterParts, 'name' | 'clientUrls' | 'primary'>,
): ServiceHandlers {
  return guarded(guard, clusterHandlers({ identity, gate, ...names }), CLUSTER_NEEDS);
}

/** etcd's Auth service on an engine. */
export function authService(
  { auth: store, guard, identity, pipeline }: Engine,
  { maxRequestBytes }: Pick<Settings, 'maxRequestBytes'>,
  log: Log,
): ServiceHandlers {
  const submit = (...write: Parameters<typeof pipeline.submit>): void => void pipeline.submit(...write);
  return authHandlers({ store, guard, identity, submit, maxRequestBytes, log });
}
