import { assert } from '../shared/base/assert.ts';
import type { Clock } from '../shared/base/clock.ts';
import type { Log } from '../shared/base/log.ts';
import type { Random } from '../shared/base/random.ts';
import { EtcdError } from '../shared/etcd/errors.ts';
import type { TokenProvider } from './auth/tokens.ts';
import type { LeaseRecord } from './cluster/lease-record.ts';
import type { PrimaryLease } from './cluster/primary-lease.ts';
import type { CommitMeter } from './commit/pipeline.ts';
import type { Settings } from './config/settings.ts';
import { Engine } from './engine.ts';
import type { ApplyMeter } from './engine-counts.ts';
import { LogUpkeep } from './log-upkeep.ts';
import type { TaskPool } from './pool/pool.ts';
import type { Workers } from './state/workers.ts';
import { WriterClient } from './state/writer-client.ts';
import type { Appender } from './store/append.ts';
import type { PutBudget } from './store/put-budget.ts';
import type { ObjectStore } from './store/store.ts';
import { Succession } from './succession.ts';
import { type AutoCompaction, compactByRevision, compactPeriodically } from './upkeep/auto-compaction.ts';

export interface CoreParts {
  settings: Settings;
  store: ObjectStore;
  /** Asks `isPrimary` of this. */
  appender: Appender;
  /** Told by `store` of every PUT; undefined: they have no limit. */
  putBudget?: PutBudget | undefined;
  workers: Workers;
  pool: TaskPool;
  /** For what may take as long as it takes. */
  upkeepPool: TaskPool;
  nodeId: string;
  memberId: bigint;
  cacheFile: string;
  meter: CommitMeter;
  applyMeter?: ApplyMeter;
  clock: Clock;
  random: Random;
  log: Log;
  /** Makes users' tokens; `index` says how far the log is. */
  openTokens(index: () => number): TokenProvider;
  /** What the primary's lease says of this process. */
  describe(): Pick<LeaseRecord, 'name' | 'clientUrls'>;
  /** Told once that the process can't go on. */
  fatal(error: Error): void;
}

/**
 * A server without its network: joins what goes from the store to the end of the log (`Succession`), what serves
 * (`Engine`) and what keeps the log bounded. A simulation runs it as it is.
 */
export class Core {
  readonly writer: WriterClient;
  readonly #parts: CoreParts;
  readonly #succession: Succession;
  #engine: Engine | undefined;
  #logUpkeep: LogUpkeep | undefined;
  #logUpkeepStopped: Promise<void> | undefined;
  #autoCompaction: AutoCompaction | undefined;
  #stopping = false;

  constructor(parts: CoreParts) {
    this.#parts = parts;
    this.writer = this.#createWriter();
    this.#succession = this.#createSuccession();
  }

  /** Undefined until recovery is over. */
  get engine(): Engine | undefined {
    return this.#engine;
  }

  get lease(): PrimaryLease {
    return this.#succession.lease;
  }

  /** Why the store fails, as far as its uploads do not say it; undefined while it does not. */
  get storeTrouble(): string | undefined {
    return this.#succession.storeTrouble;
  }

  /** What the primary knows of the snapshots in the store. */
  get restorePoints(): LogUpkeep['restorePoints'] | undefined {
    return this.#logUpkeep?.restorePoints;
  }

  /** Whether this process holds the primary's lease at this moment. */
  get isPrimary(): boolean {
    return this.lease.held();
  }

  /** Recovers, and goes on as the primary or as a standby; which it is, it answers with what serves. */
  async start(): Promise<{ role: 'primary' | 'standby'; engine: Engine }> {
    const { role, position } = await this.#succession.begin();
    const begun = await this.writer.begin();
    const engine = new Engine({
      ...this.#parts,
      position,
      begun,
      role,
      lease: this.lease,
      writer: this.writer,
      wrote: (chunk) => this.#logUpkeep?.wrote(chunk),
    });
    this.#engine = engine;
    if (role === 'primary') this.#startUpkeep(engine);
    else void this.#standBy(engine, this.#succession.succeed(position));
    return { role, engine };
  }

  /** Answers what was taken, and ends the watch streams. */
  async drain(): Promise<void> {
    this.#stopping = true;
    this.#succession.stop();
    this.#autoCompaction?.stop();
    this.#logUpkeepStopped = this.#logUpkeep?.stop();
    await this.#engine?.drain();
  }

  /** Lets a standby take over at once, when it is drained. */
  release(): Promise<void> {
    return this.lease.release();
  }

  /** Lets go of everything that it began; the pool and the store are others'. */
  async close(): Promise<void> {
    await this.#engine?.close();
    await this.#logUpkeepStopped;
    await this.writer.close();
  }

  /** Goes on as the primary when the standby has claimed the log. */
  async #standBy(engine: Engine, succeeded: Promise<boolean>): Promise<void> {
    try {
      if (!(await succeeded)) return;
      await this.writer.begin();
      engine.promote();
      if (!this.#stopping) this.#startUpkeep(engine);
    } catch (error) {
      if (!this.#stopping) this.#parts.fatal(error as Error);
    }
  }

  #createWriter(): WriterClient {
    const engine = (): Engine => {
      assert(this.#engine !== undefined, 'the writer speaks before recovery is over');
      return this.#engine;
    };
    const { settings, cacheFile, memberId, nodeId, workers, fatal } = this.#parts;
    const { maxTxnOps, quotaBackendBytes: quotaBytes } = settings;
    return new WriterClient(
      { cacheFile, maxTxnOps, memberId, nodeId, quotaBytes },
      {
        evaluated: (message) => engine().writerEvents.evaluated(message),
        applied: (applied) => this.#engine?.writerEvents.applied(applied),
        compacted: (revision) => this.#engine?.writerEvents.compacted(revision),
        defragmented: () => engine().writerEvents.defragmented(),
        diskTrouble: (message) => this.#engine?.writerEvents.diskTrouble(message),
        failed: fatal,
      },
      workers,
    );
  }

  #createSuccession(): Succession {
    const { settings, appender, log, fatal } = this.#parts;
    return new Succession({
      ...this.#parts,
      writer: this.writer,
      append: (key, object) => appender.append(key, object, 0),
      leaseTtlMs: settings.leaseTtlMs,
      engine: () => this.#engine,
      fenced: (error) => {
        if (this.#stopping) return;
        log.error('another process is the primary; nothing more is acknowledged', { error: error.message });
        this.#engine?.abort(new EtcdError('LeaderChanged'));
        fatal(error);
      },
    });
  }

  /** What only the primary does by itself. */
  #startUpkeep(engine: Engine): void {
    const durableSequence = (): number => engine.gate.durableSequence;
    const { upkeepPool: pool } = this.#parts;
    this.#logUpkeep = new LogUpkeep({ ...this.#parts, pool, writer: this.writer, durableSequence });
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
}
