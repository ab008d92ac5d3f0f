import path from 'node:path';
import { Server as GrpcServer } from '@grpc/grpc-js';
import type { Clock } from '../shared/base/clock.ts';
import { makeDirectory } from '../shared/base/directory.ts';
import { errorMessage } from '../shared/base/errors.ts';
import type { Log } from '../shared/base/log.ts';
import type { Random } from '../shared/base/random.ts';
import { endUnsynced } from '../shared/base/unsynced.ts';
import { EtcdError } from '../shared/etcd/errors.ts';
import { Auth, Cluster, KV, Lease, Maintenance, Watch } from '../shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { Health } from '../shared/etcd/gen/grpc/health/v1/health_pb.ts';
import { Election } from '../shared/etcd/gen/v3electionpb/v3election_pb.ts';
import { Lock } from '../shared/etcd/gen/v3lockpb/v3lock_pb.ts';
import { GRPC_OVERHEAD_BYTES } from '../shared/model/limits.ts';
import {
  ETCD_CLUSTER_VERSION,
  ETCD_STORAGE_VERSION,
  ETCD_VERSION,
  NETSY_VERSION,
} from '../shared/model/version.ts';
import { openTokens, readTokenKeys } from './auth/open-tokens.ts';
import type { TokenProvider } from './auth/tokens.ts';
import { Node } from './cluster/node.ts';
import type { CommitMeter } from './commit/pipeline.ts';
import { Condition } from './condition.ts';
import type { Settings } from './config/settings.ts';
import { Core } from './core.ts';
import type { Engine } from './engine.ts';
import { History } from './ops/history.ts';
import { createHttpHandler, type HttpParts } from './ops/http.ts';
import { uploadMeter } from './ops/meters.ts';
import type { Metrics } from './ops/metrics.ts';
import { type ServerStatus, shownStore } from './ops/status-json.ts';
import { TaskPool } from './pool/pool.ts';
import { takeReadings } from './readings.ts';
import type { Member } from './rpc/cluster.ts';
import { createFront } from './rpc/front.ts';
import { Gateway } from './rpc/gateway.ts';
import { GatewayJson } from './rpc/gateway-json.ts';
import { grpcServerOptions } from './rpc/grpc-options.ts';
import { HealthService } from './rpc/health.ts';
import type { Identity } from './rpc/identity.ts';
import { Listener } from './rpc/listener.ts';
import { refuseLargeMessages } from './rpc/message-limit.ts';
import { OpenStreams } from './rpc/open-streams.ts';
import type { OwnCallParts } from './rpc/own-calls.ts';
import { electionHandlers, lockHandlers } from './rpc/recipes.ts';
import { REFLECTION_SERVICES, reflectionHandlers } from './rpc/reflection.ts';
import { RequestLog } from './rpc/request-log.ts';
import {
  addService,
  duplexPaths,
  type MethodsByPath,
  type ServiceHandlers,
  type StreamMethod,
  type UnaryMethod,
} from './rpc/service.ts';
import { tlsExpiries } from './rpc/tls-expiry.ts';
import { readTlsFiles, type TlsMaterial } from './rpc/tls-files.ts';
import { TlsReload } from './rpc/tls-reload.ts';
import { refuseUnknownMethods } from './rpc/unknown-method.ts';
import { watchHandlers } from './rpc/watch.ts';
import { authService, clusterService, kvService, leaseService, maintenanceService } from './services.ts';
import { Snapshot } from './state/snapshot-client.ts';
import { measuredThreads } from './state/workers.ts';
import type { WriterClient } from './state/writer-client.ts';
import { Appender } from './store/append.ts';
import { budgetedStore } from './store/budgeted.ts';
import { PutBudget } from './store/put-budget.ts';
import type { ObjectStore } from './store/store.ts';
import { Checkpointer } from './upkeep/checkpointer.ts';

const CACHE_FILE = 'cache.sqlite';
const ETCD_SERVICES = [KV, Watch, Lease, Cluster, Maintenance, Auth, Lock, Election];
/** One upload try; after it the outcome is unknown and the same upload is tried again. */
const ATTEMPT_TIMEOUT_MS = 10_000;
/** Of the drain's time, what replies on their way get. */
const CLOSE_GRACE_MS = 2_000;
const GATEWAY_THREADS = 1;
const UPKEEP_THREADS = 1;

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
  /** Of KV, Lease and Auth, by path: what a client sends in this order is begun in this order. */
  /** What is served without grpc-js. */
  readonly #direct = { unary: new Map<string, UnaryMethod>(), streams: new Map<string, StreamMethod>() };
  readonly #listener: Listener;
  readonly #streams: OpenStreams;
  readonly #tlsReload: TlsReload | undefined;
  readonly #gateway: Gateway;
  /** The gateway's own, so that a large list as JSON holds no chunk up. */
  readonly #gatewayPool = new TaskPool(GATEWAY_THREADS);
  /** The upkeep's own, so that no chunk waits for a pack. */
  readonly #upkeepPool = new TaskPool(UPKEEP_THREADS);
  /** The store, with its PUTs told to the budget if there is one. */
  readonly #store: ObjectStore;
  readonly #putBudget: PutBudget | undefined;
  readonly #appender: Appender;
  readonly #condition: Condition;
  readonly #health: HealthService;
  readonly #tokenKeys: ReturnType<typeof readTokenKeys>;
  #node: Node | undefined;
  #pool: TaskPool | undefined;
  #core: Core | undefined;
  #checkpointer: Checkpointer | undefined;
  readonly #history: History;
  readonly #startedMs: number;
  #ready!: (engine: Engine) => void;

  constructor(parts: ServerParts) {
    const { settings, store, clock, random, log, metrics } = parts;
    this.#parts = parts;
    this.#putBudget = settings.putBudget === undefined ? undefined : new PutBudget(settings.putBudget, clock);
    this.#store = this.#putBudget === undefined ? store : budgetedStore(store, this.#putBudget);
    this.#appender = new Appender(this.#store, {
      hedgeAfterMs: hedgeAfterMs(settings),
      attemptTimeoutMs: ATTEMPT_TIMEOUT_MS,
      onAttempt: uploadMeter(metrics),
      isPrimary: () => this.#core?.isPrimary ?? false,
      putBudget: this.#putBudget,
      clock,
      random,
      log,
    });
    metrics.etcd.quotaBackendBytes.set(settings.quotaBackendBytes || Number.POSITIVE_INFINITY);
    this.#history = new History(clock, () => metrics.totals());
    this.#startedMs = clock.wallMs();
    this.#condition = new Condition({
      engine: () => this.#engine,
      primary: () => this.#primary(),
      appender: this.#appender,
      storeTrouble: () => this.#core?.storeTrouble,
    });
    this.#health = new HealthService(clock, () => this.#condition.unhealthyReason());
    this.#grpc = new GrpcServer(grpcServerOptions(settings));
    this.#streams = new OpenStreams(settings.limits.streams);
    this.#addServices();
    this.#tokenKeys = readTokenKeys(settings.authToken);
    this.#gateway = this.#createGateway();
    const material = settings.tls && readTlsFiles(settings.tls.files);
    this.#listener = this.#createListener(material);
    this.#tlsReload = this.#createTlsReload(material);
  }

  /** Undefined until recovery is over. */
  get #engine(): Engine | undefined {
    return this.#core?.engine;
  }

  /** Where clients connect, with the ports that were bound. */
  get addresses(): readonly string[] {
    return this.#listener.addresses;
  }

  /** Where the pages are served besides. */
  get metricsAddresses(): readonly string[] {
    return this.#listener.metricsAddresses;
  }

  /** Resolves when it serves, as the primary or as a standby. Calls that come earlier wait. */
  async start(): Promise<'primary' | 'standby'> {
    const { settings, random, metrics } = this.#parts;
    makeNamedDirectory('--data-dir', settings.dataDir);
    makeNamedDirectory('--cache-dir', settings.cacheDir);
    // Where SQLite sorts what memory is not for; read when its first connection is opened.
    process.env['SQLITE_TMPDIR'] ??= settings.cacheDir;
    this.#node = new Node(settings.dataDir, random);
    // Bound first: a port in use must not make this process take the log over from the one that uses it.
    await this.#listener.listen();
    this.#tlsReload?.start();
    const pool = new TaskPool(settings.poolThreads);
    this.#pool = pool;
    const { id: nodeId, memberId } = this.#node;
    const cacheFile = cacheFileOf(settings);
    const core = new Core({
      ...this.#parts,
      ...{ cacheFile, memberId, nodeId, pool },
      upkeepPool: this.#upkeepPool,
      store: this.#store,
      appender: this.#appender,
      applyMeter: metrics.etcd,
      putBudget: this.#putBudget,
      workers: measuredThreads((thread) => metrics.pauses.add(thread)),
      openTokens: (index) => this.#openTokens(index),
      describe: () => ({ name: settings.name, clientUrls: this.#clientUrls() }),
    });
    this.#core = core;
    const { role, engine } = await core.start();
    this.#checkpointer = this.#createCheckpointer(cacheFile, core.writer, pool);
    this.#ready(engine);
    return role;
  }

  /**
   * Answers what was taken, ends streams, and lets go of everything. What is not over by `--drain-timeout` is cut: its
   * clients are told that the server stopped, and don't know whether their writes were made.
   */
  async stop(): Promise<void> {
    const { settings, clock, log, store } = this.#parts;
    const endMs = clock.monotonicMs() + settings.drainTimeoutMs;
    const leftMs = (): number => Math.max(0, endMs - clock.monotonicMs());
    const cut = clock.after(settings.drainTimeoutMs, () => {
      log.warn('not drained within --drain-timeout: what is under way is cut', {
        ms: settings.drainTimeoutMs,
      });
      this.abort();
    });
    this.#tlsReload?.stop();
    this.#listener.stopAccepting();
    this.#checkpointer?.stop();
    await this.#core?.drain();
    this.#health.stop();
    this.#history.stop();
    this.#streams.stop();
    await Promise.race([this.#core?.release(), clock.sleep(leftMs())]);
    await this.#listener.close(Math.min(CLOSE_GRACE_MS, leftMs()));
    cut.cancel();
    this.#gateway.close();
    await this.#gatewayPool.close();
    await this.#core?.close();
    await this.#pool?.close();
    await this.#upkeepPool.close();
    await store.close();
    await this.#syncCache();
    this.#node?.close();
  }

  /** Of a start that is to end before it is over: lets another process take over at once. */
  async release(): Promise<void> {
    await this.#core?.release();
  }

  /** When nobody writes it any more: the next start may find another boot of the system. */
  async #syncCache(): Promise<void> {
    const { settings, log } = this.#parts;
    const cacheFile = cacheFileOf(settings);
    try {
      await endUnsynced(cacheFile, [`${cacheFile}-wal`]);
    } catch (error) {
      log.warn('the cache could not be synced; the next start fills it from the store', {
        error: String(error),
      });
    }
  }

  /** Acknowledges nothing more; for a process that is about to end. */
  abort(): void {
    this.#engine?.abort(new EtcdError('Stopped'));
  }

  #openTokens(index: () => number): TokenProvider {
    const { settings, clock, random } = this.#parts;
    const { authToken, simpleTokenTtlMs: simpleTtlMs } = settings;
    return openTokens(authToken, this.#tokenKeys, { clock, random, simpleTtlMs, index });
  }

  #openSnapshot({ memberId }: Identity): Snapshot {
    const { settings, random } = this.#parts;
    const directory = settings.cacheDir;
    return new Snapshot({ cacheFile: cacheFileOf(settings), directory, memberId, random });
  }

  #clientUrls(): readonly string[] {
    const { advertiseClientUrls } = this.#parts.settings;
    return advertiseClientUrls.length > 0 ? advertiseClientUrls : this.addresses;
  }

  /** The primary that this process is the standby of. */
  #primary(): Member | undefined {
    const holder = this.#core?.lease.holder;
    if (this.#engine?.leadership !== 'standby' || holder === undefined) return undefined;
    return { id: BigInt(`0x${holder.holder}`), name: holder.name, clientUrls: holder.clientUrls };
  }

  #createCheckpointer(cacheFile: string, writer: WriterClient, pool: TaskPool): Checkpointer {
    const { clock, log } = this.#parts;
    return new Checkpointer({
      cacheFile,
      clock,
      log,
      copy: () => pool.checkpoint(cacheFile),
      holding: (work) => writer.holding('commits', work),
    });
  }

  #addServices(): void {
    const { settings, random, metrics, clock, log } = this.#parts;
    const ready = new Promise<Engine>((resolve) => {
      this.#ready = resolve;
    });
    metrics.slowCalls.thresholdMs = settings.warningUnaryRequestMs;
    const slow = { log, clock, slowerThanMs: settings.warningUnaryRequestMs };
    const meterOf = new RequestLog(slow).watch((...of) => metrics.calls(...of));
    const add = (
      service: Parameters<typeof addService>[1],
      make: (engine: Engine) => ServiceHandlers,
      direct?: MethodsByPath,
    ): void => {
      const handlers = ready.then((engine) => ({ ...make(engine), leader: engine.leaderRequirement }));
      addService(this.#grpc, service, handlers, meterOf, this.#streams, direct);
    };
    const kv = (engine: Engine): ServiceHandlers => kvService(engine, settings);
    const { unary, streams } = this.#direct;
    add(KV, kv, { unary });
    add(Watch, ({ hub, guard }) => watchHandlers(hub, guard), { streams });
    const lease = (engine: Engine): ServiceHandlers => leaseService(engine, random);
    add(Lease, lease, { unary });
    const own = (engine: Engine): OwnCallParts => ({ kv: kv(engine), lease: lease(engine), hub: engine.hub });
    add(Lock, (engine) => lockHandlers(own(engine)));
    add(Election, (engine) => electionHandlers(own(engine)));
    add(Maintenance, (engine) => {
      const openSnapshot = (): Snapshot => this.#openSnapshot(engine.identity);
      return maintenanceService(engine, { settings, log, openSnapshot, clock, meter: metrics.etcd });
    });
    const names = {
      name: settings.name,
      clientUrls: () => this.#clientUrls(),
      primary: () => this.#primary(),
    };
    add(Cluster, (engine) => clusterService(engine, names));
    add(Auth, (engine) => authService(engine, settings, log), { unary });
    // These answer before recovery is over.
    addService(this.#grpc, Health, Promise.resolve(this.#health.handlers), meterOf, this.#streams);
    const reflection = Promise.resolve(reflectionHandlers());
    for (const service of REFLECTION_SERVICES) {
      addService(this.#grpc, service, reflection, meterOf, this.#streams);
    }
    refuseUnknownMethods(this.#grpc);
    refuseLargeMessages();
  }

  #createListener(material: TlsMaterial | undefined): Listener {
    const { settings, log, clock, metrics } = this.#parts;
    const { tls, limits, listenMetricsUrls } = settings;
    const pages = createHttpHandler({
      checks: this.#condition.checks(),
      health: async (question) => {
        const reason = this.#condition.healthReason(question);
        const { healthSuccess, healthFailures } = metrics.etcd;
        (reason === undefined ? healthSuccess : healthFailures).add(1);
        return reason;
      },
      versions: () => ({
        cluster: this.#engine?.cluster.clusterVersion ?? ETCD_CLUSTER_VERSION,
        storage: this.#engine?.cluster.storageVersion ?? ETCD_STORAGE_VERSION,
      }),
      metrics: this.#metricsPage(),
      status: () => this.#status(),
      log,
    });
    const duplex = duplexPaths([...ETCD_SERVICES, ...REFLECTION_SERVICES]);
    return new Listener({
      urls: settings.listenClientUrls,
      metrics: { urls: listenMetricsUrls, http: pages },
      ...(tls && material && { tls: { ...tls, material } }),
      limits,
      grpc: this.#grpc,
      isDuplex: (path) => duplex.has(path),
      directMethods: this.#direct,
      http: createFront({
        gateway: this.#gateway,
        pages,
        certificatesCount: () =>
          tls?.files.trustedCaFile !== undefined && this.#engine?.auth.enabled === true,
      }),
      log,
      clock,
    });
  }

  #createTlsReload(material: TlsMaterial | undefined): TlsReload | undefined {
    const { settings, clock, log, metrics } = this.#parts;
    if (settings.tls === undefined || material === undefined) return undefined;
    metrics.own.tlsExpiries = tlsExpiries(material);
    const changed = (read: TlsMaterial): void => {
      this.#listener.setTls(read);
      metrics.own.tlsExpiries = tlsExpiries(read);
    };
    return new TlsReload({ files: settings.tls.files, material, clock, log, changed });
  }

  #createGateway(): Gateway {
    const { settings, clock } = this.#parts;
    return new Gateway({
      services: ETCD_SERVICES,
      inject: (connection) => this.#listener.inject(connection),
      json: new GatewayJson(this.#gatewayPool),
      messageBytesMax: settings.maxRequestBytes + GRPC_OVERHEAD_BYTES,
      clock,
    });
  }

  /** The metrics, with what is only known when asked for. */
  #metricsPage(): HttpParts['metrics'] {
    const { metrics } = this.#parts;
    const text = async (): Promise<string> => {
      await this.#takeReadings();
      return metrics.text();
    };
    return { text, contentType: metrics.contentType };
  }

  /** For the page. */
  async #status(): Promise<ServerStatus> {
    await this.#takeReadings();
    const { settings, metrics, clock } = this.#parts;
    const { etcd, own, slowCalls } = metrics;
    const { puts, dollars, storeErrors } = metrics.totals();
    const { name, quotaBackendBytes: quotaBytes } = settings;
    const primary = this.#primary();
    return {
      ...{ name, quotaBytes, version: NETSY_VERSION, etcdVersion: ETCD_VERSION },
      ...{ nowMs: clock.wallMs(), startedMs: this.#startedMs },
      trouble: this.#condition.healthReason({ serializable: false, excluded: new Set() }),
      store: shownStore(settings.store),
      leases: this.#engine?.lessor.count ?? 0,
      tls: own.tlsExpiries,
      primary: primary && { name: primary.name, clientUrls: primary.clientUrls },
      etcd: etcd.readings,
      own: own.readings,
      totals: { puts, dollars, storeErrors },
      history: this.#history.intervals,
      slow: slowCalls.latest,
    };
  }

  async #takeReadings(): Promise<void> {
    const [core, engine] = [this.#core, this.#engine];
    if (core === undefined || engine === undefined) return;
    const { metrics, settings } = this.#parts;
    const storeFailing = this.#appender.trouble !== undefined || core.storeTrouble !== undefined;
    const { answers } = this.#listener;
    const cacheFile = cacheFileOf(settings);
    await takeReadings(metrics, { core, engine, storeFailing, cacheFile, answers });
  }
}

function makeNamedDirectory(flag: string, directory: string): void {
  try {
    makeDirectory(directory);
  } catch (error) {
    throw new Error(`${flag}: ${directory} can't be made: ${errorMessage(error)}`, { cause: error });
  }
}

function cacheFileOf({ cacheDir }: Settings): string {
  return path.join(cacheDir, CACHE_FILE);
}

/** A second write to the same disk only makes the first one slower. */
function hedgeAfterMs({ hedgeAfter, store }: Settings): number | 'auto' | 'p95' | 'off' {
  if (hedgeAfter.kind === 'fixed') return hedgeAfter.delayMs;
  return hedgeAfter.kind === 'auto' && store.startsWith('file:') ? 'off' : hedgeAfter.kind;
}
