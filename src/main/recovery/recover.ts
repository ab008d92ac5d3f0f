import type { Clock } from '../../shared/base/clock.ts';
import type { Log } from '../../shared/base/log.ts';
import { type Random, randomId } from '../../shared/base/random.ts';
import { encodeClaim } from '../../shared/format/chunk.ts';
import { chunkKey } from '../../shared/format/names.ts';
import { PIPELINE_DEPTH_MAX } from '../../shared/model/limits.ts';
import type { LoadedChunk, LogPosition } from '../../workers/contract/writer.ts';
import type { TaskPool } from '../pool/pool.ts';
import type { WriterClient } from '../state/writer-client.ts';
import type { ObjectStore } from '../store/store.ts';
import { LogReader } from './log-reader.ts';
import { BrokenLogError } from './log-walk.ts';
import { Progress } from './progress.ts';
import { listSnapshots, readSnapshotHeader, type StoredSnapshot } from './snapshot-list.ts';
import { SnapshotLoad } from './snapshot-load.ts';

/** Chunks applied in one SQLite transaction at the most. */
const LOAD_CHUNKS_MAX = 256;
const LOAD_BYTES_MAX = 32 * 1024 * 1024;
/** Takeovers lost in a row to another process before this one gives up. */
const CLAIM_TRIES_MAX = 100;
/** What fetching one more object costs, in bytes that could be fetched instead. */
const OBJECT_COST_BYTES = 32 * 1024;

/** The store holds the beginning of an import: nothing that may be served. */
class UnfinishedImportError extends Error {
  override name = 'UnfinishedImportError';

  constructor() {
    super(
      'the store holds an import that did not end; run the same netsy import again, or empty the store and begin anew',
    );
  }
}

export interface RecoveryParts {
  store: ObjectStore;
  append(key: string, object: Uint8Array): Promise<'durable' | 'lost'>;
  writer: Pick<WriterClient, 'opened' | 'reset' | 'fillBegin' | 'fill' | 'fillEnd'>;
  /** Applies the next chunks of the log; answers where the cache stands then. */
  load(chunks: LoadedChunk[]): Promise<LogPosition>;
  pool: Pick<TaskPool, 'open' | 'openFrame' | 'openPiece' | 'inflate'>;
  /** Resolves when this process holds the primary's lease, at that moment. */
  untilPrimary(): Promise<void>;
  nodeId: string;
  clock: Clock;
  random: Random;
  log: Log;
}

/**
 * From the store to the state at start (`open`): keeps a cache that is a prefix of this store's log, fills any other
 * from the newest snapshot that can be used, and follows the log to its end. A primary then claims it with an epoch
 * chunk (`claim`). Afterwards no other process can append where this one does, and what a process that died may still
 * have on its way lands in ignored places.
 */
export class Recovery {
  readonly #parts: RecoveryParts;
  readonly #reader: LogReader;
  /** The newest first. */
  #snapshots: StoredSnapshot[] = [];

  constructor(parts: RecoveryParts) {
    this.#parts = parts;
    const damaged = (key: string, error: Error): void =>
      parts.log.error('pack is damaged; looking for its chunks', { key, error: error.message });
    this.#reader = new LogReader({ store: parts.store, pool: parts.pool, form: 'rows', damaged });
  }

  /** Resolves with where the cache stands when it has followed the log to what was its end. */
  async open(): Promise<LogPosition> {
    const { store, writer, log } = this.#parts;
    const opened = await writer.opened();
    if (opened.rebuilt !== '') log.warn('cache could not be used and is rebuilt', { reason: opened.rebuilt });
    this.#snapshots = await listSnapshots(store);
    return this.follow(await this.#state(await this.#keepOrReset(opened.position)));
  }

  /**
   * Follows the rest of the log and claims it; resolves with the position at which this process may append.
   *
   * Only what was followed before a moment at which this process held the lease is claimed. Else one that slept here,
   * while another took the lease and the log, would claim the log from that one, whose reads go on under its lease.
   * That the claim itself may arrive late is harmless: then another's has its name.
   */
  async claim(from: LogPosition): Promise<LogPosition> {
    const { log } = this.#parts;
    let position = from;
    for (let tries = 0; tries < CLAIM_TRIES_MAX; tries++) {
      position = await this.follow(position);
      if (position.sequence > 0 && position.epoch === 0) throw new UnfinishedImportError();
      this.#checkEnd(position);
      await this.#parts.untilPrimary();
      const claimed = await this.#claim(position);
      if (claimed !== undefined) return claimed;
      log.warn('another writer appended meanwhile; following the log again', {
        sequence: position.nextSequence,
      });
    }
    throw new Error('another process keeps appending to this store; stop it, or use another store');
  }

  /** The cache stays if the store's chunk at its position is the one that the cache applied. */
  async #keepOrReset(position: LogPosition): Promise<LogPosition> {
    if (position.sequence === 0) return position;
    const { store, writer, log } = this.#parts;
    const key = chunkKey(position.sequence);
    const crc = await this.#crcAt(position.sequence);
    if (crc === position.chunkCrc) return position;
    const reason = crc === undefined ? `the store has no ${key}` : `the store has another ${key}`;
    log.warn('cache is not from this store and is rebuilt', { reason, store: store.url });
    return writer.reset();
  }

  /** What the log's chain is at `sequence`, by the chunk there, or by the snapshot where that is deleted. */
  async #crcAt(sequence: number): Promise<bigint | undefined> {
    const { store } = this.#parts;
    const chunk = await this.#reader.chunkAt(sequence);
    if (chunk !== undefined) return chunk.crc;
    const snapshot = this.#snapshots.find((stored) => stored.sequence === sequence);
    if (snapshot === undefined) return undefined;
    return (await readSnapshotHeader(store, snapshot).catch(() => undefined))?.previousChunkCrc;
  }

  /** The state that the log is followed from: the cache's, or the newest usable snapshot's if that is quicker. */
  async #state(position: LogPosition): Promise<LogPosition> {
    const [newest] = this.#snapshots;
    if (newest === undefined || newest.sequence <= position.sequence) return position;
    if (position.sequence > 0 && (await this.#chunksAreLess(position, newest))) return position;
    const load = new SnapshotLoad(this.#parts);
    const loaded = await load.newestUsable(this.#snapshots);
    if (loaded !== undefined) return loaded;
    // What a failed load left is no cache.
    const empty = await this.#parts.writer.reset();
    if ((await this.#reader.chunkAt(1)) !== undefined) return empty;
    throw new Error(
      `no snapshot can be used (${load.failures.join('; ')}) and the log does not begin at chunk 1: ` +
        'restore a snapshot from a backup or a version of the bucket',
    );
  }

  /** Whether following the log from a cache to where `snapshot` is reads less than the snapshot. */
  async #chunksAreLess({ nextSequence }: LogPosition, snapshot: StoredSnapshot): Promise<boolean> {
    let bytes = 0;
    let next = nextSequence;
    for await (const { first, last, size } of this.#reader.objects(nextSequence)) {
      // A gap that is not an epoch's: chunks were deleted, because snapshots hold them.
      if (first > next && first !== next + PIPELINE_DEPTH_MAX) return false;
      if (first > snapshot.sequence) return true;
      bytes += size + OBJECT_COST_BYTES;
      if (bytes > snapshot.size) return false;
      next = last + 1;
    }
    return true;
  }

  /** A snapshot is only ever made of what was durable. */
  #checkEnd({ sequence }: LogPosition): void {
    const [newest] = this.#snapshots;
    if (newest === undefined || newest.sequence <= sequence) return;
    throw new Error(
      `the log ends at chunk ${sequence} but ${newest.key} holds more: ` +
        'the log has lost chunks; restore them from a backup or a version of the bucket',
    );
  }

  /** Applies every chunk from the position to the end of the log. */
  async follow(from: LogPosition): Promise<LogPosition> {
    const { clock, log } = this.#parts;
    const progress = new Progress(clock, log, 'recovering: following the log');
    const total = this.#sizeFrom(from.nextSequence);
    let position = from;
    let [chunks, records, bytes] = [0, 0, 0];
    let group: LoadedChunk[] = [];
    let groupBytes = 0;
    const load = async (): Promise<void> => {
      if (group.length > 0) position = await this.#parts.load(group);
      chunks += group.length;
      group = [];
      groupBytes = 0;
      progress.update(() => ({ records, bytes, bytesTotal: total() }));
    };
    for await (const { storedBytes, ...chunk } of this.#reader.chunks(from)) {
      group.push(chunk);
      groupBytes += chunk.rows?.rows.length ?? 0;
      records += chunk.records;
      bytes += storedBytes;
      if (group.length === LOAD_CHUNKS_MAX || groupBytes >= LOAD_BYTES_MAX) await load();
    }
    await load();
    const { sequence, revision } = position;
    log.info('followed the log', { chunks, records, bytes, sequence, revision, ms: progress.elapsedMs });
    return position;
  }

  /** As `follow`, for a standby: what it has not followed yet may be deleted, because a snapshot holds it. */
  async catchUp(from: LogPosition): Promise<LogPosition> {
    try {
      return await this.follow(from);
    } catch (error) {
      if (!(error instanceof BrokenLogError)) throw error;
      const [newest] = await listSnapshots(this.#parts.store);
      if (newest === undefined || newest.sequence < from.nextSequence) throw error;
      throw new Error(
        `this standby has fallen behind what is kept of the log (it is at chunk ${from.sequence}, ` +
          `${newest.key} is newer): start it again, and it fills its cache from the snapshot`,
      );
    }
  }

  /** Sums up the log's size, from the first time that somebody asks; undefined until it is known. */
  #sizeFrom(sequence: number): () => number | undefined {
    let asked = false;
    let total: number | undefined;
    const sum = async (): Promise<void> => {
      total = await this.#reader.bytesFrom(sequence);
    };
    return () => {
      // Only for people: a list that fails says nothing, and the walk meets the same store.
      if (!asked) sum().catch(() => undefined);
      asked = true;
      return total;
    };
  }

  /** Appends the epoch chunk; undefined when another writer's chunk has its name. */
  async #claim(position: LogPosition): Promise<LogPosition | undefined> {
    const { clock, random, nodeId, log, load, pool } = this.#parts;
    const sequence = position.nextSequence;
    const { claim, bytes } = encodeClaim(position, {
      holder: nodeId,
      clusterId: position.clusterId === 0n ? randomId(random) : position.clusterId,
      createdAtMs: clock.wallMs(),
      nonce: randomId(random),
    });
    const key = chunkKey(sequence);
    if ((await this.#parts.append(key, bytes)) === 'lost') return undefined;
    log.info('claimed the log', { epoch: claim.epoch, sequence, next: claim.skipTo });
    return load([await pool.open(key, sequence, bytes, 'rows')]);
  }
}
