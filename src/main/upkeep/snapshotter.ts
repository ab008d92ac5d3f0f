import { sharedAbort } from '../../shared/base/abort.ts';
import type { Clock, Timer } from '../../shared/base/clock.ts';
import type { Log } from '../../shared/base/log.ts';
import { type Random, randomId } from '../../shared/base/random.ts';
import { hex64 } from '../../shared/format/corrupt.ts';
import { snapshotKey } from '../../shared/format/names.ts';
import type { LogSnapshotData } from '../../workers/contract/log-snapshot.ts';
import type { TaskPool } from '../pool/pool.ts';
import { logObjects } from '../recovery/log-objects.ts';
import { listSnapshots, type StoredSnapshot } from '../recovery/snapshot-list.ts';
import { readSnapshot } from '../recovery/snapshot-reader.ts';
import type { LogSnapshot } from '../state/log-snapshot-client.ts';
import { errorMessage } from '../store/errors.ts';
import type { ObjectStore } from '../store/store.ts';
import type { RestorePoints } from './restore-points.ts';

const LOOK_EVERY_MS = 1000;
/** After a failure, doubling up to the second. */
const RETRY_MS_MIN = 10_000;
const RETRY_MS_MAX = 600_000;
/**
 * A snapshot is all of the state, so it waits until the log has grown by this part of the last one: then no more
 * than 1 / GROWTH bytes are rewritten per byte written, and a start reads at most 1 + GROWTH times the state. At half
 * of it snapshots took a sixth of the processor's time under sustained writes.
 */
const GROWTH = 1;

/** When a snapshot is due: when the log since the last one has grown by any of these. */
export interface SnapshotPolicy {
  readonly records: number;
  /** Of chunks as they are stored. */
  readonly bytes: number;
  /** Since the last one, if there is anything new at all. */
  readonly ageMs: number;
}

export interface SnapshotterParts {
  readonly policy: SnapshotPolicy;
  readonly cacheFile: string;
  readonly nodeId: string;
  /** Tries again what fails. */
  readonly store: ObjectStore;
  readonly pool: Pick<TaskPool, 'openPiece' | 'inflate'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly points: RestorePoints;
  /** Starts the thread that builds one. */
  open(data: LogSnapshotData): Pick<LogSnapshot, 'begun' | 'pieces' | 'crc' | 'close'>;
  /** Runs `work` while no compaction removes rows of the cache. */
  keepingRows<T>(work: () => Promise<T>): Promise<T>;
  /** A snapshot is in the store and was read back. */
  stored(snapshot: StoredSnapshot): void;
}

interface Amounts {
  records: number;
  bytes: number;
}

/**
 * Writes a snapshot of the log whenever one is due, off the write path: from a connection of its own, in a thread
 * of its own, in pieces. One is relied on only after it was read back whole.
 */
export class Snapshotter {
  readonly #parts: SnapshotterParts;
  readonly #stopping = sharedAbort();
  /** What the log has that the last snapshot has not. */
  #since: Amounts = { records: 0, bytes: 0 };
  /** Of the last snapshot. */
  #last: Amounts & { sequence: number; monotonicMs: number };
  #retryMs = RETRY_MS_MIN;
  #retryAtMs = 0;
  #timer: Timer | undefined;
  #working: Promise<void> | undefined;

  constructor(parts: SnapshotterParts) {
    this.#parts = parts;
    this.#last = { records: 0, bytes: 0, sequence: 0, monotonicMs: parts.clock.monotonicMs() };
  }

  /** Finds out what the store has, and looks every second from then on whether one is due. */
  async start(): Promise<void> {
    const { store, clock, log } = this.#parts;
    try {
      const snapshots = await listSnapshots(store);
      this.#parts.points.listed(snapshots);
      const [newest] = snapshots;
      if (newest !== undefined) {
        const { size: bytes, sequence, modifiedMs } = newest;
        const ageMs = Math.max(0, clock.wallMs() - modifiedMs);
        this.#last = { records: 0, bytes, sequence, monotonicMs: clock.monotonicMs() - ageMs };
      }
      // A chunk has a record or more; only sizes are in the list.
      for await (const { first, last, size } of logObjects(store, (newest?.sequence ?? 0) + 1)) {
        this.wrote(last - first + 1, size);
      }
    } catch (error) {
      log.warn('could not find out when a snapshot is due', { error: errorMessage(error) });
    }
    this.#schedule();
  }

  /** A chunk became durable. */
  wrote(records: number, bytes: number): void {
    this.#since.records += records;
    this.#since.bytes += bytes;
  }

  /** What the log has that the last snapshot has not. */
  get since(): Readonly<Amounts> {
    return this.#since;
  }

  /** Gives up what is under way; nothing of it is in the store then. Resolves when it has. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error('stopping'));
    this.#timer?.cancel();
    await this.#working;
  }

  /** Why one is due; undefined if none is. */
  #reason(): string | undefined {
    const { policy, clock } = this.#parts;
    const [since, last] = [this.#since, this.#last];
    const now = clock.monotonicMs();
    if (since.records === 0 || now < this.#retryAtMs) return undefined;
    if (since.records >= Math.max(policy.records, last.records * GROWTH)) return 'records';
    if (since.bytes >= Math.max(policy.bytes, last.bytes * GROWTH)) return 'bytes';
    return now - last.monotonicMs >= policy.ageMs ? 'age' : undefined;
  }

  #schedule(): void {
    if (this.#stopping.signal.aborted) return;
    this.#timer = this.#parts.clock.after(LOOK_EVERY_MS, () => {
      this.#working = this.#look().then(() => this.#schedule());
    });
  }

  async #look(): Promise<void> {
    const reason = this.#reason();
    if (reason === undefined) return;
    const { clock, log } = this.#parts;
    try {
      await this.#write(reason);
      this.#retryMs = RETRY_MS_MIN;
    } catch (error) {
      if (this.#stopping.signal.aborted) return;
      log.warn('could not write a snapshot; trying again later', {
        error: errorMessage(error),
        retryMs: this.#retryMs,
      });
      this.#retryAtMs = clock.monotonicMs() + this.#retryMs;
      this.#retryMs = Math.min(RETRY_MS_MAX, this.#retryMs * 2);
    }
  }

  async #write(reason: string): Promise<void> {
    const { clock, random, log, cacheFile, nodeId } = this.#parts;
    const begunMs = clock.monotonicMs();
    const createdAtMs = clock.wallMs();
    const put = await this.#parts.keepingRows(async () => {
      const building = this.#parts.open({ cacheFile, nodeId, createdAtMs, nonce: randomId(random) });
      try {
        const { sequence, records } = await building.begun();
        const covered = { ...this.#since };
        const isNew = sequence > this.#last.sequence;
        return {
          sequence,
          records,
          covered,
          bytes: isNew ? await this.#put(sequence, building) : 0,
          building,
        };
      } finally {
        building.close();
      }
    });
    const { sequence, records, covered, bytes, building } = put;
    if (sequence > this.#last.sequence) {
      await this.#readBack(sequence, bytes, building.crc);
      const ms = Math.round(clock.monotonicMs() - begunMs);
      this.#last = { records, bytes, sequence, monotonicMs: begunMs };
      log.info('wrote a snapshot', { key: snapshotKey(sequence), reason, records, bytes, ms });
    }
    this.#since.records -= covered.records;
    this.#since.bytes -= covered.bytes;
  }

  /** Resolves to its size. */
  async #put(sequence: number, building: ReturnType<SnapshotterParts['open']>): Promise<number> {
    let size = 0;
    const counted = async function* (): AsyncGenerator<Uint8Array> {
      for await (const piece of building.pieces()) {
        size += piece.length;
        yield piece;
      }
    };
    this.#stopping.signal.throwIfAborted();
    await this.#parts.store.putMultipart(snapshotKey(sequence), counted(), this.#stopping.signal);
    return size;
  }

  /** Throws if it is not what was put. From here on it counts. */
  async #readBack(sequence: number, size: number, crc: bigint | undefined): Promise<void> {
    const { store, pool } = this.#parts;
    const key = snapshotKey(sequence);
    const stored: StoredSnapshot = { key, size, sequence, modifiedMs: 0 };
    const { footer } = await readSnapshot({ store, pool, signal: this.#stopping.signal }, stored);
    if (footer.crc !== crc) {
      throw new Error(`${key}: read back with CRC64 ${hex64(footer.crc)}, not ${hex64(crc ?? 0n)}`);
    }
    this.#parts.points.stored({ ...stored, modifiedMs: this.#parts.clock.wallMs() });
    this.#parts.stored(stored);
  }
}
