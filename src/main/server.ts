import path from 'node:path';
import { Server as GrpcServer } from '@grpc/grpc-js';
import { assert } from '../shared/base/assert.ts';
import type { Clock } from '../shared/base/clock.ts';
import { makeDirectory } from '../shared/base/directory.ts';
import type { Log } from '../shared/base/log.ts';
import type { Random } from '../shared/base/random.ts';
import { AlarmType, alarmTypeName } from '../shared/etcd/alarm.ts';
import { EtcdError } from '../shared/etcd/errors.ts';
import { Auth, Cluster, KV, Lease, Maintenance, Watch } from '../shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { Health } from '../shared/etcd/gen/grpc/health/v1/health_pb.ts';
import { Election } from '../shared/etcd/gen/v3electionpb/v3election_pb.ts';
import { Lock } from '../shared/etcd/gen/v3lockpb/v3lock_pb.ts';
import { GRPC_OVERHEAD_BYTES } from '../shared/model/limits.ts';
import { ETCD_CLUSTER_VERSION, ETCD_STORAGE_VERSION } from '../shared/model/version.ts';
import { openTokens, readTokenKeys } from './auth/open-tokens.ts';
import type { TokenProvider } from './auth/tokens.ts';
import { Node } from './cluster/node.ts';
import type { CommitMeter } from './commit/pipeline.ts';
import type { Settings } from './config/settings.ts';
import { Engine } from './engine.ts';
import { LogUpkeep } from './log-upkeep.ts';
import { createHttpHandler, type HealthQuestion } from './ops/http.ts';
import type { Metrics } from './ops/metrics.ts';
import { TaskPool } from './pool/pool.ts';
import { authHandlers } from './rpc/auth.ts';
import { clusterHandlers, type Member } from './rpc/cluster.ts';
import { createFront } from './rpc/front.ts';
import { Gateway } from './rpc/gateway.ts';
import { GatewayJson } from './rpc/gateway-json.ts';
import { grpcServerOptions } from './rpc/grpc-options.ts';
import { guarded } from './rpc/guard.ts';
import { HealthService } from './rpc/health.ts';
import type { Identity } from './rpc/identity.ts';
import { kvHandlers } from './rpc/kv.ts';
import { leaseHandlers } from './rpc/lease.ts';
import { Listener } from './rpc/listener.ts';
import { maintenanceHandlers } from './rpc/maintenance.ts';
import { CLUSTER_NEEDS, MAINTENANCE_NEEDS } from './rpc/needs.ts';
import type { OwnCallParts } from './rpc/own-calls.ts';
import { electionHandlers, lockHandlers } from './rpc/recipes.ts';
import { REFLECTION_SERVICES, reflectionHandlers } from './rpc/reflection.ts';
import { addService, type ServiceHandlers } from './rpc/service.ts';
import { SnapshotStreams } from './rpc/snapshot.ts';
import { readTlsFiles } from './rpc/tls-files.ts';
import { watchHandlers } from './rpc/watch.ts';
import { Snapshot } from './state/snapshot-client.ts';
import { WriterClient } from './state/writer-client.ts';
import { Appender } from './store/append.ts';
import type { ObjectStore } from './store/store.ts';
import { Succession } from './succession.ts';
import { type AutoCompaction, compactByRevision, compactPeriodically } from './upkeep/auto-compaction.ts';
import { Checkpointer } from './upkeep/checkpointer.ts';

const CACHE_FILE = 'cache.sqlite';
/** One upload try; after it the outcome is unknown and the same upload is tried again. */
const ATTEMPT_TIMEOUT_MS = 10_000;
const CLOSE_GRACE_MS = 2_000;
const GATEWAY_THREADS = 1;
/** An upload that has been under way for longer means that the store is away. */
const UNHEALTHY_AFTER_MS = 5_000;

export interface ServerParts {
  settings: Settings;
  /** Opened and probed; closed by `stop`. */
  store: ObjectStore;
  metrics: Metrics;
  meter: CommitMeter;
  clock: Clock;
  random: Random;
  log: Log;
  /** Told once that the process can't go on. */
  fatal(error: Error): void;
}

/** A whole server in this process: from binding the port to the last reply. */
export class Server {
  readonly #parts: ServerParts;
  readonly #grpc: GrpcServer;
  readonly #listener: Listener;
  readonly #gateway: Gateway;
  /** The gateway's own, so that a large list as JSON holds no chunk up. */
  readonly #gatewayPool = new TaskPool(GATEWAY_THREADS);
  readonly #appender: Appender;
  readonly #health: HealthService;
  readonly #tokenKeys: ReturnType<typeof readTokenKeys>;
  #node: Node | undefined;
  #pool: TaskPool | undefined;
  #writer: WriterClient | undefined;
  #engine: Engine | undefined;
  #succession: Succession | undefined;
  #stopping = false;
  #checkpointer: Checkpointer | undefined;
  #logUpkeep: LogUpkeep | undefined;
  #autoCompaction: AutoCompaction | undefined;
  #ready!: (engine: Engine) => void;

  constructor(parts: ServerParts) {
    const { settings, store, clock, random, log, metrics } = parts;
    this.#parts = parts;
    const hedged = metrics.uploadsHedged;
    this.#appender = new Appender(store, {
      hedgeAfterMs: hedgeAfterMs(settings),
      attemptTimeoutMs: ATTEMPT_TIMEOUT_MS,
      onAttempt: ({ request }) => {
        if (request === 'hedge') hedged.add(1);
      },
      isPrimary: () => this.#succession?.lease.held() ?? false,
      clock,
      random,
      log,
    });
    this.#health = new HealthService(clock, () => this.#unhealthyReason());
    this.#grpc = new GrpcServer(grpcServerOptions(settings));
    this.#addServices();
    this.#tokenKeys = readTokenKeys(settings.authToken);
    this.#gateway = this.#createGateway();
    const tls = settings.tls && readTlsFiles(settings.tls);
    this.#listener = new Listener({
      urls: settings.listenClientUrls,
      ...(tls && { tls }),
      grpc: this.#grpc,
      http: createFront({
        gateway: this.#gateway,
        pages: createHttpHandler({ ...this.#checks(), metrics: this.#metricsPage(), log }),
        certificatesCount: () =>
          settings.tls?.trustedCaFile !== undefined && this.#engine?.auth.enabled === true,
      }),
      log,
      clock,
    });
  }

  /** Where clients connect, with the ports that were bound. */
  get addresses(): readonly string[] {
    return this.#listener.addresses;
  }

  /** Resolves when it serves, as the primary or as a standby. Calls that come earlier wait. */
  async start(): Promise<'primary' | 'standby'> {
    const { settings, random } = this.#parts;
    makeDirectory(settings.cacheDir);
    // Where SQLite sorts what memory is not for; read when its first connection is opened.
    process.env['SQLITE_TMPDIR'] ??= settings.cacheDir;
    this.#node = new Node(settings.dataDir, random);
    // Bound first: a port in use must not make this process take the log over from the one that uses it.
    await this.#listener.listen();
    this.#pool = new TaskPool(settings.poolThreads);
    const { id: nodeId, memberId } = this.#node;
    const cacheFile = path.join(settings.cacheDir, CACHE_FILE);
    const writer = this.#createWriter(cacheFile, nodeId, memberId);
    const succession = this.#createSuccession(writer, this.#pool, nodeId);
    this.#succession = succession;
    const { role, position } = await succession.begin();
    const begun = await writer.begin();
    this.#engine = new Engine({
      ...this.#parts,
      cacheFile,
      memberId,
      position,
      begun,
      role,
      lease: succession.lease,
      writer,
      pool: this.#pool,
      appender: this.#appender,
      openTokens: (index) => this.#openTokens(index),
      wrote: (records, bytes) => this.#logUpkeep?.wrote(records, bytes),
    });
    this.#checkpointer = this.#createCheckpointer(cacheFile, writer, this.#pool);
    this.#ready(this.#engine);
    this.#parts.metrics.quotaBackendBytes.set(settings.quotaBackendBytes);
    if (role === 'primary') this.#startUpkeep(this.#engine);
    else void this.#standBy(this.#engine, writer, succession.succeed(position));
    return role;
  }

  /** Goes on as the primary when the standby has claimed the log. */
  async #standBy(engine: Engine, writer: WriterClient, succeeded: Promise<boolean>): Promise<void> {
    try {
      if (!(await succeeded)) return;
      await writer.begin();
      engine.promote();
      if (!this.#stopping) this.#startUpkeep(engine);
    } catch (error) {
      if (!this.#stopping) this.#parts.fatal(error as Error);
    }
  }

  /** Answers what was taken, ends streams, and lets go of everything. */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#listener.stopAccepting();
    this.#succession?.stop();
    this.#checkpointer?.stop();
    this.#autoCompaction?.stop();
    const logUpkeepStopped = this.#logUpkeep?.stop();
    await this.#engine?.drain();
    this.#health.stop();
    await this.#succession?.lease.release();
    await this.#listener.close(CLOSE_GRACE_MS);
    this.#gateway.close();
    await this.#gatewayPool.close();
    await this.#engine?.close();
    await logUpkeepStopped;
    await this.#writer?.close();
    await this.#pool?.close();
    await this.#parts.store.close();
    this.#node?.close();
  }

  /** Acknowledges nothing more; for a process that is about to end. */
  abort(): void {
    this.#engine?.abort(new EtcdError('Stopped'));
  }

  #createWriter(cacheFile: string, nodeId: string, memberId: bigint): WriterClient {
    const engine = (): Engine => {
      assert(this.#engine !== undefined, 'the writer speaks before recovery is over');
      return this.#engine;
    };
    const { maxTxnOps, quotaBackendBytes: quotaBytes } = this.#parts.settings;
    this.#writer = new WriterClient(
      { cacheFile, maxTxnOps, memberId, nodeId, quotaBytes },
      {
        evaluated: (message) => engine().writerEvents.evaluated(message),
        applied: (applied) => this.#engine?.writerEvents.applied(applied),
        compacted: (revision) => this.#engine?.writerEvents.compacted(revision),
        defragmented: () => engine().writerEvents.defragmented(),
        diskTrouble: (message) => this.#engine?.writerEvents.diskTrouble(message),
        failed: this.#parts.fatal,
      },
    );
    return this.#writer;
  }

  #openTokens(index: () => number): TokenProvider {
    const { settings, clock, random } = this.#parts;
    const { authToken, simpleTokenTtlMs: simpleTtlMs } = settings;
    return openTokens(authToken, this.#tokenKeys, { clock, random, simpleTtlMs, index });
  }

  #openSnapshot({ memberId }: Identity): Snapshot {
    const { settings, random } = this.#parts;
    const directory = settings.cacheDir;
    return new Snapshot({ cacheFile: path.join(directory, CACHE_FILE), directory, memberId, random });
  }

  #createSuccession(writer: WriterClient, pool: TaskPool, nodeId: string): Succession {
    const { settings, store, clock, random, log, fatal } = this.#parts;
    return new Succession({
      ...{ store, clock, random, log, writer, pool, nodeId },
      append: (key, object) => this.#appender.append(key, object, 0),
      leaseTtlMs: settings.leaseTtlMs,
      engine: () => this.#engine,
      describe: () => ({ name: settings.name, clientUrls: this.#clientUrls() }),
      fenced: (error) => {
        if (this.#stopping) return;
        log.error('another process is the primary; nothing more is acknowledged', { error: error.message });
        this.#engine?.abort(new EtcdError('LeaderChanged'));
        fatal(error);
      },
    });
  }

  #clientUrls(): readonly string[] {
    const { advertiseClientUrls } = this.#parts.settings;
    return advertiseClientUrls.length > 0 ? advertiseClientUrls : this.addresses;
  }

  /** The primary that this process is the standby of. */
  #primary(): Member | undefined {
    const holder = this.#succession?.lease.holder;
    if (this.#engine?.leadership !== 'standby' || holder === undefined) return undefined;
    return { id: BigInt(`0x${holder.holder}`), name: holder.name, clientUrls: holder.clientUrls };
  }

  #createCheckpointer(cacheFile: string, writer: WriterClient, pool: TaskPool): Checkpointer {
    const { clock, log } = this.#parts;
    const copy = (): Promise<void> => pool.checkpoint(cacheFile);
    return new Checkpointer({ cacheFile, clock, log, copy, restart: () => writer.checkpoint() });
  }

  /** What only the primary does by itself. */
  #startUpkeep(engine: Engine): void {
    assert(this.#node !== undefined && this.#pool !== undefined, 'the upkeep begins after the start');
    const cacheFile = path.join(this.#parts.settings.cacheDir, CACHE_FILE);
    this.#logUpkeep = new LogUpkeep({ ...this.#parts, cacheFile, nodeId: this.#node.id, pool: this.#pool });
    this.#autoCompaction = this.#startAutoCompaction(engine);
  }

  #startAutoCompaction(engine: Engine): AutoCompaction | undefined {
    const { clock, log, settings } = this.#parts;
    const { autoCompaction } = settings;
    if (autoCompaction === undefined) return undefined;
    const parts = {
      clock,
      log,
      revision: () => engine.identity.revision,
      compact: (revision: number) => engine.compact(revision),
    };
    if (autoCompaction.mode === 'periodic') return compactPeriodically(parts, autoCompaction.periodMs);
    return compactByRevision(parts, autoCompaction.revisions);
  }

  #addServices(): void {
    const { settings, random, metrics } = this.#parts;
    const ready = new Promise<Engine>((resolve) => {
      this.#ready = resolve;
    });
    const meterOf: Parameters<typeof addService>[3] = (...of) => metrics.calls(...of);
    const add = (
      service: Parameters<typeof addService>[1],
      make: (engine: Engine) => ServiceHandlers,
    ): void => {
      const handlers = ready.then((engine) => ({ ...make(engine), leader: engine.leaderRequirement }));
      addService(this.#grpc, service, handlers, meterOf);
    };
    const { maxRequestBytes } = settings;
    const kv = (engine: Engine): ServiceHandlers =>
      kvHandlers({
        gate: engine.gate,
        readers: engine.readers,
        identity: engine.identity,
        compacted: (revision) => engine.compactions.wait(revision),
        guard: engine.guard,
        maxRequestBytes,
        maxTxnOps: settings.maxTxnOps,
        submit: (...write) => void engine.pipeline.submit(...write),
      });
    add(KV, kv);
    add(Watch, ({ hub, guard }) => watchHandlers(hub, guard));
    const lease = ({ gate, guard, readers, lessor, identity, pipeline }: Engine): ServiceHandlers =>
      leaseHandlers({
        submit: (...write) => void pipeline.submit(...write),
        gate,
        readers,
        lessor,
        identity,
        guard,
        random,
      });
    add(Lease, lease);
    const own = (engine: Engine): OwnCallParts => ({ kv: kv(engine), lease: lease(engine), hub: engine.hub });
    add(Lock, (engine) => lockHandlers(own(engine)));
    add(Election, (engine) => electionHandlers(own(engine)));
    add(Maintenance, (engine) => {
      const handlers = maintenanceHandlers({
        identity: engine.identity,
        leader: () => engine.leader,
        gate: engine.gate,
        readers: engine.readers,
        cluster: engine.cluster,
        submit: (...write) => void engine.pipeline.submit(...write),
        quotaBytes: settings.quotaBackendBytes,
        databaseBytes: () => engine.databaseBytes,
        defragment: () => engine.defragment(),
        diskTrouble: () => engine.diskTrouble,
        snapshots: new SnapshotStreams({
          gate: engine.gate,
          log: this.#parts.log,
          open: () => this.#openSnapshot(engine.identity),
          storageVersion: () => engine.cluster.storageVersion,
        }),
      });
      return guarded(engine.guard, handlers, MAINTENANCE_NEEDS);
    });
    add(Cluster, ({ gate, guard, identity }) => {
      const { name } = settings;
      const clientUrls = (): readonly string[] => this.#clientUrls();
      const primary = (): Member | undefined => this.#primary();
      const handlers = clusterHandlers({ identity, gate, name, clientUrls, primary });
      return guarded(guard, handlers, CLUSTER_NEEDS);
    });
    add(Auth, ({ auth, guard, identity, pipeline }) =>
      authHandlers({
        store: auth,
        guard,
        identity,
        submit: (...write) => void pipeline.submit(...write),
        maxRequestBytes,
        log: this.#parts.log,
      }),
    );
    // These answer before recovery is over.
    addService(this.#grpc, Health, Promise.resolve(this.#health.handlers), meterOf);
    const reflection = Promise.resolve(reflectionHandlers());
    for (const service of REFLECTION_SERVICES) addService(this.#grpc, service, reflection, meterOf);
  }

  #createGateway(): Gateway {
    const { settings, clock } = this.#parts;
    return new Gateway({
      services: [KV, Watch, Lease, Cluster, Maintenance, Auth, Lock, Election],
      inject: (connection) => this.#listener.inject(connection),
      json: new GatewayJson(this.#gatewayPool),
      messageBytesMax: settings.maxRequestBytes + GRPC_OVERHEAD_BYTES,
      clock,
    });
  }

  #checks(): Pick<Parameters<typeof createHttpHandler>[0], 'checks' | 'health' | 'versions'> {
    const started = async (): Promise<string | undefined> =>
      this.#engine === undefined ? 'netsy is recovering' : undefined;
    const healthy = async (): Promise<string | undefined> => this.#unhealthyReason();
    return {
      checks: {
        data_corruption: async () => {
          const alarms = this.#engine?.cluster.alarms(AlarmType.Corrupt) ?? [];
          return alarms.length > 0 ? 'alarm activated: CORRUPT' : undefined;
        },
        serializable_read: started,
        linearizable_read: healthy,
        non_learner: async () => undefined,
      },
      health: async ({ serializable, excluded }: HealthQuestion) => {
        const alarm = this.#alarm(excluded);
        if (alarm !== undefined) return alarm;
        if (serializable) return started();
        const trouble = this.#engine?.diskTrouble;
        if (trouble !== undefined && !excluded.has('NOSPACE')) return 'ALARM NOSPACE';
        return this.#unhealthyReason();
      },
      versions: () => ({
        cluster: this.#engine?.cluster.clusterVersion ?? ETCD_CLUSTER_VERSION,
        storage: this.#engine?.cluster.storageVersion ?? ETCD_STORAGE_VERSION,
      }),
    };
  }

  /** A raised alarm that `/health` does not overlook, in its words. */
  #alarm(excluded: ReadonlySet<string>): string | undefined {
    const names = (this.#engine?.cluster.alarms() ?? []).map(({ alarm }) => alarmTypeName(alarm));
    const name = names.find((one) => !excluded.has(one));
    if (name === undefined) return undefined;
    return name === 'NOSPACE' || name === 'CORRUPT' ? `ALARM ${name}` : 'ALARM UNKNOWN';
  }

  #standbyReason(): string {
    const primary = this.#primary();
    const { message } = new EtcdError('NoLeader');
    if (primary === undefined) return `${message} (this is a standby, and no primary is seen)`;
    return `${message} here (this is a standby; the primary is at ${primary.clientUrls.join(', ')})`;
  }

  /** The metrics, with what is only known when asked for. */
  #metricsPage(): Parameters<typeof createHttpHandler>[0]['metrics'] {
    const { metrics } = this.#parts;
    const text = async (): Promise<string> => {
      if (this.#engine !== undefined) setGauges(metrics, this.#engine);
      return metrics.text();
    };
    return { text, contentType: metrics.contentType };
  }

  /** Why this server can't take writes now. */
  #unhealthyReason(): string | undefined {
    const engine = this.#engine;
    if (engine === undefined) return 'netsy is recovering';
    if (engine.leadership === 'standby') return this.#standbyReason();
    const trouble = this.#appender.trouble;
    if (trouble !== undefined) return `store is failing: ${trouble.error.message}`;
    if (engine.pipeline.oldestMs > UNHEALTHY_AFTER_MS) return 'store is not answering';
    if (engine.leadership === 'lapsed') return 'the lease in the store is not renewed';
    return engine.diskTrouble === undefined ? undefined : `cache disk: ${engine.diskTrouble}`;
  }
}

function setGauges(metrics: Metrics, engine: Engine): void {
  const { gate, hub, lessor, pipeline } = engine;
  metrics.hasLeader.set(engine.leader === 0n ? 0 : 1);
  metrics.isLeader.set(engine.leadership === 'leading' ? 1 : 0);
  const { synced, unsynced } = hub.counts();
  metrics.watchers.synced.set(synced);
  metrics.watchers.unsynced.set(unsynced);
  metrics.leases.set(lessor.count);
  metrics.sequence.durable.set(gate.durableSequence);
  metrics.sequence.applied.set(gate.appliedSequence);
  metrics.sequence.evaluated.set(Math.max(gate.durableSequence, pipeline.evaluatedSequence));
}

/** A second write to the same disk only makes the first one slower. */
function hedgeAfterMs({ hedgeAfter, store }: Settings): number | 'auto' | 'p95' | 'off' {
  if (hedgeAfter.kind === 'fixed') return hedgeAfter.delayMs;
  return hedgeAfter.kind === 'auto' && store.startsWith('file:') ? 'off' : hedgeAfter.kind;
}
