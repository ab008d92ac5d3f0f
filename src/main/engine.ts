import { SERVER_ITSELF } from '../shared/auth/state.ts';
import { sharedAbort } from '../shared/base/abort.ts';
import type { Clock, Timer } from '../shared/base/clock.ts';
import type { Log } from '../shared/base/log.ts';
import type { Random } from '../shared/base/random.ts';
import { EtcdError, GrpcCode } from '../shared/etcd/errors.ts';
import { GRPC_OVERHEAD_BYTES } from '../shared/model/limits.ts';
import { readEvents } from '../workers/contract/events.ts';
import {
  type BegunState,
  type EvaluatedMessage,
  type FollowedState,
  type LogPosition,
  WriteKind,
  type WriterReply,
} from '../workers/contract/writer.ts';
import { Passwords } from './auth/passwords.ts';
import { AuthStore } from './auth/store.ts';
import type { TokenProvider } from './auth/tokens.ts';
import type { PrimaryLease } from './cluster/primary-lease.ts';
import { CompactionWaiters } from './commit/compaction-waiters.ts';
import { type CommitMeter, CommitPipeline } from './commit/pipeline.ts';
import { type Leadership, ReadGate } from './commit/read-gate.ts';
import type { Settings } from './config/settings.ts';
import { type ApplyMeter, EngineCounts } from './engine-counts.ts';
import { Lessor } from './lease/lessor.ts';
import type { TaskPool } from './pool/pool.ts';
import { asCaller, Guard } from './rpc/guard.ts';
import { Identity } from './rpc/identity.ts';
import { compactRequest } from './rpc/kv.ts';
import { LeaderRequirement } from './rpc/leader.ts';
import { isLeaseGone, revokeRequest } from './rpc/lease.ts';
import { ClusterState } from './state/cluster-state.ts';
import { ReaderPool } from './state/reader-client.ts';
import { SystemState } from './state/system-state.ts';
import type { Workers } from './state/workers.ts';
import type { WriterClient, WriterEvents } from './state/writer-client.ts';
import type { Appender } from './store/append.ts';
import type { PutBudget } from './store/put-budget.ts';
import { defragment } from './upkeep/defragment.ts';
import { WatchHub } from './watch/hub.ts';

/** How often time-outs and lease ends are looked for. */
const SWEEP_EVERY_MS = 100;
const LEASE_REVOKES_MAX = 100;
/** All watch streams together may have so many streams' buffers pending. */
const STREAM_BUFFERS_TOTAL = 64;

export interface EngineParts {
  settings: Settings;
  cacheFile: string;
  memberId: bigint;
  position: LogPosition;
  begun: BegunState;
  lease: Pick<PrimaryLease, 'held' | 'holder'>;
  /** A standby follows the log until `promote`. */
  role: 'primary' | 'standby';
  writer: WriterClient;
  pool: TaskPool;
  workers: Pick<Workers, 'reader'>;
  appender: Appender;
  putBudget?: PutBudget | undefined;
  /** Makes users' tokens; `index` says how far the log is. */
  openTokens(index: () => number): TokenProvider;
  clock: Clock;
  random: Random;
  log: Log;
  meter: CommitMeter;
  applyMeter?: ApplyMeter;
  /** A chunk is durable; its `object` is what the store has. */
  wrote(chunk: EvaluatedMessage): void;
  /** The process can't go on; nothing is acknowledged any more. */
  fatal(error: Error): void;
}

/**
 * The parts that live from the end of recovery to the end of the process, joined: a write goes through `pipeline`,
 * is answered, and reaches `hub` (watchers), `lessor` (leases) and the writer (SQLite); a read passes `gate` and
 * goes to `readers`.
 */
export class Engine {
  readonly identity: Identity;
  readonly pipeline: CommitPipeline;
  readonly gate: ReadGate;
  readonly readers: ReaderPool;
  readonly hub: WatchHub;
  readonly lessor: Lessor;
  readonly compactions: CompactionWaiters;
  readonly system: SystemState;
  readonly auth: AuthStore;
  readonly guard: Guard;
  readonly cluster: ClusterState;
  readonly leaderRequirement: LeaderRequirement;
  readonly counts: EngineCounts;
  /** Why the disk under the cache refuses writes; undefined while it takes them. */
  diskTrouble: string | undefined;
  databaseBytes = { total: 0, inUse: 0 };
  readonly #parts: EngineParts;
  /** Ends the uploads that are still tried when nobody waits for them any more. */
  readonly #uploads = sharedAbort();
  #revision: number;
  #role: 'primary' | 'standby';
  #sweeper: Timer | undefined;
  #defragmentWaiters: (() => void)[] = [];

  constructor(parts: EngineParts) {
    const { position, memberId, settings, clock, random, log } = parts;
    this.#parts = parts;
    this.#revision = position.revision;
    this.#role = parts.role;
    this.counts = new EngineCounts(position, parts.applyMeter);
    this.leaderRequirement = new LeaderRequirement(clock, () => this.hasLeader);
    const ids = { clusterId: position.clusterId, memberId, raftTerm: position.epoch };
    this.identity = new Identity(ids, () => this.#revision);
    this.gate = new ReadGate(clock, settings.requestTimeoutMs, position.sequence, () => this.leadership);
    this.system = new SystemState(parts.begun.system);
    this.auth = new AuthStore({
      tokens: parts.openTokens(() => this.gate.durableSequence),
      passwords: new Passwords(settings.bcryptCost),
      follow: (...how) => this.system.follow(...how),
    });
    this.guard = new Guard(this.auth, settings.tls?.clientCertAuth ?? false);
    this.cluster = new ClusterState(this.system, log);
    this.compactions = new CompactionWaiters(position.compactRevision);
    this.readers = new ReaderPool(
      { cacheFile: parts.cacheFile, maxTxnOps: settings.maxTxnOps, clusterId: position.clusterId, memberId },
      settings.readerWorkers,
      { workers: parts.workers, clock, failed: parts.fatal },
    );
    this.hub = new WatchHub({
      source: {
        replay: async ({ maxBytes, ...request }) => {
          // As in etcd, what a watch from the past gets at once goes up to the newest revision.
          await new Promise<void>((resolve) => this.gate.enter(() => resolve(), true));
          const reply = await this.readers.replay({ ...request, bytesMax: maxBytes });
          return reply.kind === 'events' ? { ...reply, events: readEvents(reply.events) } : reply;
        },
      },
      identity: { ...ids, raftTerm: () => this.identity.raftTerm },
      currentRevision: position.revision,
      compactRevision: Math.max(0, position.compactRevision),
      ringBytesMax: settings.watchBufferBytesMax,
      streamBufferBytesMax: settings.watchStreamBufferBytesMax,
      totalBufferBytesMax: settings.watchStreamBufferBytesMax * STREAM_BUFFERS_TOTAL,
      progressNotifyIntervalMs: settings.watchProgressNotifyIntervalMs,
      fragmentBytesMax: settings.maxRequestBytes + GRPC_OVERHEAD_BYTES,
      clock,
      random,
      log,
    });
    this.pipeline = this.#createPipeline();
    if (parts.role === 'standby') this.pipeline.standby = new EtcdError('NoLeader');
    const revoke = (id: bigint): Promise<void> => this.#revoke(id);
    this.lessor = new Lessor({ clock, revoke, revokesMax: LEASE_REVOKES_MAX }, parts.begun.leases);
    this.#scheduleSweep();
  }

  get leadership(): Leadership {
    if (this.#role === 'standby') return 'standby';
    return this.#parts.lease.held() ? 'leading' : 'lapsed';
  }

  get hasLeader(): boolean {
    const { lease } = this.#parts;
    return this.#role === 'primary' ? lease.held() : lease.holder !== undefined;
  }

  /** The primary's member id; 0n when there is none, as far as this process knows. */
  get leader(): bigint {
    const { lease, memberId } = this.#parts;
    if (!this.hasLeader) return 0n;
    return this.#role === 'primary' ? memberId : BigInt(`0x${lease.holder!.holder}`);
  }

  /** A standby has applied chunks of the primary's: what they mean for reads, leases and watchers. */
  followed({ position, events, leases, system, operations }: FollowedState): void {
    if (position.sequence === this.gate.durableSequence) return;
    const { sequence, revision, epoch, compactRevision } = position;
    this.counts.did(operations);
    this.counts.compactRevision = compactRevision;
    this.#revision = revision;
    this.identity.raftTerm = epoch;
    this.gate.durableTo(sequence);
    this.gate.appliedTo(sequence);
    this.lessor.change(leases);
    this.system.change(system);
    this.hub.publish({ lastRevision: revision, events: readEvents(events) });
    this.hub.appliedTo(revision);
    this.hub.compactedTo(Math.max(0, compactRevision));
  }

  /** The standby has claimed the log, and the writer has begun: it is the primary now. */
  promote(): void {
    this.#role = 'primary';
    this.pipeline.standby = undefined;
    this.leaseResumed();
  }

  /** Nobody took over while the lease had run out, or this process just did: clients could not renew their leases. */
  leaseResumed(): void {
    this.lessor.promote();
    this.gate.leadershipChanged();
  }

  /** What the writer's thread says, in its order. */
  get writerEvents(): WriterEvents {
    return {
      evaluated: (message) => this.pipeline.evaluated(message),
      applied: (applied) => this.#applied(applied),
      compacted: (revision) => {
        this.counts.lastCompactionMs = this.#parts.clock.wallMs();
        this.compactions.compactedTo(revision);
      },
      defragmented: () => {
        for (const resolve of this.#defragmentWaiters.splice(0)) resolve();
      },
      diskTrouble: (message) => this.#setDiskTrouble(message),
      failed: this.#parts.fatal,
    };
  }

  /** Gives the cache's unused pages back to the disk; resolves when they are gone. */
  defragment(): Promise<void> {
    const { cacheFile, clock, pool, writer } = this.#parts;
    return defragment({
      clock,
      vacuum: () =>
        new Promise((resolve) => {
          this.#defragmentWaiters.push(resolve);
          writer.defragment();
        }),
      copy: () => pool.checkpoint(cacheFile),
      truncate: () => writer.truncateLog(),
    });
  }

  /** Answers everything taken, then ends the watch streams. */
  async drain(): Promise<void> {
    await this.pipeline.drain();
    // Another process may take over from here on: no read may overlook it, and no upload need learn of it.
    const stopped = new EtcdError('Stopped');
    this.gate.abort(stopped);
    this.pipeline.abort(stopped);
    this.#uploads.abort(stopped);
    this.hub.stop({ code: GrpcCode.Unavailable, message: new EtcdError('Stopped').message });
  }

  /** Ends at once: what is under way is answered with `error`. */
  abort(error: EtcdError): void {
    this.pipeline.abort(error);
    this.gate.abort(error);
    this.hub.stop({ code: error.code, message: error.message });
  }

  async close(): Promise<void> {
    this.#sweeper?.cancel();
    const stopped = new EtcdError('Stopped');
    this.pipeline.abort(stopped);
    this.#uploads.abort(stopped);
    this.hub.stop({ code: GrpcCode.Unavailable, message: new EtcdError('Stopped').message });
    await this.readers.close();
  }

  #createPipeline(): CommitPipeline {
    const { settings, clock, random, writer, pool, appender, putBudget, meter, log, fatal } = this.#parts;
    return new CommitPipeline(settings, {
      clock,
      random,
      putBudget,
      meter,
      evaluateAhead: (requests, createdAtMs) => writer.evaluateAhead(requests, createdAtMs),
      evaluate: (message) => writer.evaluate(message),
      compress: (object, headerLength) => pool.compressObject(object, headerLength),
      append: (key, object, writes, attempts) =>
        appender.append(key, object, writes, this.#uploads.signal, attempts),
      putMs: () => appender.putMs,
      lead: (go) => this.gate.lead(go),
      durable: (evaluated) => this.#durable(evaluated),
      publish: (evaluated) => this.#publish(evaluated),
      fenced: (sequence) => {
        log.error('another process owns the log; nothing more is acknowledged', { sequence });
        this.abort(new EtcdError('LeaderChanged'));
        fatal(new Error(`fenced: chunk ${sequence} was written by another process`));
      },
      failed: fatal,
    });
  }

  #durable(evaluated: EvaluatedMessage): void {
    this.#revision = evaluated.revision;
    this.counts.durable(evaluated);
    if (evaluated.sequence === 0) return;
    this.gate.durableTo(evaluated.sequence);
    this.lessor.change(evaluated.leases);
    this.system.change(evaluated.system);
  }

  #publish(evaluated: EvaluatedMessage): void {
    if (evaluated.sequence === 0) return;
    // After the replies: waking other threads takes this one as long as some of them.
    this.#parts.writer.apply(evaluated.sequence);
    this.#parts.wrote(evaluated);
    this.hub.publish({ lastRevision: evaluated.revision, events: readEvents(evaluated.events) });
    this.hub.compactedTo(Math.max(0, evaluated.compactRevision));
  }

  #applied(applied: Extract<WriterReply, { type: 'applied' }>): void {
    this.databaseBytes = {
      total: applied.databaseBytes,
      inUse: applied.databaseBytes - applied.freeBytes,
    };
    this.counts.applied(applied);
    this.gate.appliedTo(applied.sequence);
    this.hub.appliedTo(applied.revision);
  }

  #setDiskTrouble(message: string | undefined): void {
    const { log, settings } = this.#parts;
    if (message !== undefined && this.diskTrouble === undefined) {
      const fields = { directory: settings.cacheDir, error: message };
      log.error('the disk under the cache refuses writes; make room: what was acknowledged is safe', fields);
    } else if (message === undefined) log.info('the disk under the cache takes writes again');
    this.diskTrouble = message;
    this.gate.setStuck(message !== undefined);
    this.pipeline.refusal = message === undefined ? undefined : new EtcdError('NoSpace');
  }

  /** Compacts the history as a client's request does. Rejects with etcd's error. */
  async compact(revision: number): Promise<void> {
    await this.#submit(WriteKind.Compact, compactRequest(revision));
  }

  async #revoke(id: bigint): Promise<void> {
    try {
      await this.#submit(WriteKind.LeaseRevoke, revokeRequest(id));
    } catch (error) {
      if (!isLeaseGone(error as Error)) throw error;
    }
  }

  /** Submits a write of the server itself, who may do what root may. */
  #submit(kind: WriteKind, request: Uint8Array): Promise<void> {
    const write = this.auth.enabled ? asCaller(SERVER_ITSELF, kind, request) : ([kind, request] as const);
    return new Promise((resolve, reject) => {
      this.pipeline.submit(...write, (error) => {
        if (error === undefined) resolve();
        else reject(error);
      });
    });
  }

  #scheduleSweep(): void {
    this.#sweeper = this.#parts.clock.after(SWEEP_EVERY_MS, () => {
      this.pipeline.sweep();
      this.gate.sweep();
      this.leaderRequirement.sweep();
      if (this.leadership === 'leading') this.lessor.sweep();
      this.#scheduleSweep();
    });
  }
}
