import type { Clock } from '../shared/base/clock.ts';
import { errorMessage } from '../shared/base/errors.ts';
import type { Log } from '../shared/base/log.ts';
import type { Random } from '../shared/base/random.ts';
import type { LoadedChunk, LogPosition } from '../workers/contract/writer.ts';
import type { LeaseRecord } from './cluster/lease-record.ts';
import { PrimaryLease } from './cluster/primary-lease.ts';
import { Standby } from './cluster/standby.ts';
import type { Engine } from './engine.ts';
import type { TaskPool } from './pool/pool.ts';
import { Follower } from './recovery/follower.ts';
import { Recovery } from './recovery/recover.ts';
import type { WriterClient } from './state/writer-client.ts';
import { StoreError } from './store/errors.ts';
import { retryingStore } from './store/retry.ts';
import type { ObjectStore } from './store/store.ts';

/** How long a read of the log is tried again while the store fails, before the start is given up. */
const RECOVERY_RETRY_MS = 60_000;
/** How often a process that has nothing to serve yet looks for the first primary's claim. */
const FIRST_CLAIM_LOOK_MS = 200;
/** How often one that is to claim the log looks whether its lease is renewed. */
const LEASE_LOOK_MS = 20;

export interface SuccessionParts {
  readonly store: ObjectStore;
  append(key: string, object: Uint8Array): Promise<'durable' | 'lost'>;
  readonly writer: WriterClient;
  readonly pool: TaskPool;
  readonly nodeId: string;
  readonly leaseTtlMs: number;
  /** Undefined until there is one. */
  engine(): Engine | undefined;
  describe(): Pick<LeaseRecord, 'name' | 'clientUrls'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Another process is the primary now. */
  fenced(error: Error): void;
}

/** Who serves from where. */
export interface Standing {
  readonly role: 'primary' | 'standby';
  readonly position: LogPosition;
}

/** The way of a process to the log's end, and from a standby to the primary: joins lease, recovery and following. */
export class Succession {
  readonly lease: PrimaryLease;
  readonly #parts: SuccessionParts;
  readonly #recovery: Recovery;
  readonly #standby: Standby;
  /** Where the cache stands. */
  #position: LogPosition | undefined;

  constructor(parts: SuccessionParts) {
    const { store, pool, clock, random, log, leaseTtlMs, nodeId, fenced } = parts;
    this.#parts = parts;
    const load = (chunks: LoadedChunk[]): Promise<LogPosition> => this.#load(chunks);
    const loadAll = async (chunks: LoadedChunk[]): Promise<LogPosition> => {
      const position = await load(chunks);
      if (position.sequence === chunks[chunks.length - 1]?.sequence) return position;
      throw new Error('the disk under the cache refuses writes; make room and start again');
    };
    this.#recovery = new Recovery({
      ...parts,
      store: retryingStore(store, { clock, random, retryForMs: RECOVERY_RETRY_MS }),
      load: loadAll,
      untilPrimary: () => this.#untilPrimary(),
    });
    this.lease = new PrimaryLease({
      ...{ store, clock, random, log, nodeId },
      ttlMs: leaseTtlMs,
      describe: () => ({ ...parts.describe(), sequence: this.#sequence }),
      lost: (holder) => fenced(new Error(`fenced: node ${holder} has taken the lease`)),
      resumed: () => parts.engine()?.leaseResumed(),
    });
    const follower = new Follower({ store, pool, clock, load });
    this.#standby = new Standby({
      ...{ clock, log, leaseTtlMs },
      lease: this.lease,
      follow: (position) => follower.step(position),
      catchUp: (position) => this.#recovery.catchUp(position),
    });
  }

  /** Follows the log to its end, and becomes the primary if nobody else is; else a standby, once there is a log. */
  async begin(): Promise<Standing> {
    const { clock, log } = this.#parts;
    this.#position = await this.#recovery.open();
    for (;;) {
      if (await this.#acquire())
        return { role: 'primary', position: await this.#recovery.claim(this.#position) };
      // The first epoch chunk says what every response's header says.
      if (this.#position.clusterId !== 0n) break;
      await clock.sleep(FIRST_CLAIM_LOOK_MS);
      this.#position = await this.#recovery.follow(this.#position);
    }
    const { holder } = this.lease;
    log.info('another process is the primary; waiting as its standby', {
      primary: holder?.holder ?? 'unknown',
      clients: holder?.clientUrls ?? [],
    });
    return { role: 'standby', position: this.#position };
  }

  /** Of a standby: resolves true when it has claimed the log, so that it may serve as the primary; false after `stop`. */
  async succeed(from: LogPosition): Promise<boolean> {
    const { clock, log } = this.#parts;
    const begunMs = clock.monotonicMs();
    const position = await this.#standby.run(from);
    if (position === undefined) return false;
    const acquiredMs = clock.monotonicMs();
    await this.#claim(position);
    log.info('took over', {
      waitedMs: Math.round(acquiredMs - begunMs),
      claimedInMs: Math.round(clock.monotonicMs() - acquiredMs),
    });
    return true;
  }

  /** Ends the waiting of a standby. */
  stop(): void {
    this.#standby.stop();
  }

  /** Why the store fails this process's lease, or its following of the log; undefined while it does not. */
  get storeTrouble(): string | undefined {
    return this.lease.trouble ?? this.#standby.trouble;
  }

  /** The last durable sequence that this process knows of. */
  get #sequence(): number {
    return this.#parts.engine()?.gate.durableSequence ?? this.#position?.sequence ?? 0;
  }

  /** While the lease has run out it is being renewed; when another process has it, this one ends. */
  async #untilPrimary(): Promise<void> {
    while (!this.lease.held()) await this.#parts.clock.sleep(LEASE_LOOK_MS);
  }

  /** The start needs the store anyway, and waits for it as long as for the log. */
  async #acquire(): Promise<boolean> {
    const { clock, log } = this.#parts;
    const until = clock.monotonicMs() + RECOVERY_RETRY_MS;
    for (let failures = 0; ; failures++) {
      try {
        await this.lease.look();
        return await this.lease.tryAcquire();
      } catch (error) {
        if (!isTransient(error) || clock.monotonicMs() > until) throw error;
        const level = failures === 0 ? 'warn' : 'debug';
        log[level]('the lease can not be read or written yet', { error: errorMessage(error) });
        await clock.sleep(FIRST_CLAIM_LOOK_MS);
      }
    }
  }

  /** Who has the lease waits for the store for as long as it takes, or until another process takes the lease. */
  async #claim(from: LogPosition): Promise<void> {
    this.#position = from;
    for (;;) {
      try {
        await this.#recovery.claim(this.#position);
        return;
      } catch (error) {
        if (!isTransient(error)) throw error;
        this.#parts.log.warn('the log can not be claimed yet', { error: errorMessage(error) });
      }
    }
  }

  async #load(chunks: LoadedChunk[]): Promise<LogPosition> {
    const { writer } = this.#parts;
    const engine = this.#parts.engine();
    if (engine === undefined) this.#position = await writer.load(chunks);
    else {
      const followed = await writer.follow(chunks);
      engine.followed(followed);
      this.#position = followed.position;
    }
    return this.#position;
  }
}

function isTransient(error: unknown): boolean {
  return error instanceof StoreError && error.kind === 'transient';
}
