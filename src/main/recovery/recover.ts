import type { Clock } from '../../shared/base/clock.ts';
import type { Log } from '../../shared/base/log.ts';
import { type Random, randomId } from '../../shared/base/random.ts';
import { encodeFile } from '../../shared/format/encode.ts';
import { FileCompression, FileKind, SCHEMA_VERSION } from '../../shared/format/file.ts';
import { CHUNKS_PREFIX, chunkKey, parseChunkKey } from '../../shared/format/names.ts';
import { PIPELINE_DEPTH_MAX } from '../../shared/model/limits.ts';
import { type EpochClaim, Operation, operationRecord } from '../../shared/model/record.ts';
import type { LoadedChunk, LogPosition } from '../../workers/contract/writer.ts';
import type { TaskPool } from '../pool/pool.ts';
import type { WriterClient } from '../state/writer-client.ts';
import type { ObjectStore } from '../store/store.ts';
import { LogWalk } from './log-walk.ts';

/** Chunks fetched at the same time, and applied in one SQLite transaction at the most. */
const FETCH_CONCURRENCY = 32;
const LOAD_CHUNKS_MAX = 64;
const LOAD_BYTES_MAX = 32 * 1024 * 1024;
const PROGRESS_EVERY_MS = 2000;
/** Takeovers lost in a row to another process before this one gives up. */
const CLAIM_TRIES_MAX = 100;

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
  writer: Pick<WriterClient, 'opened' | 'reset'>;
  /** Applies the next chunks of the log; answers where the cache stands then. */
  load(chunks: LoadedChunk[]): Promise<LogPosition>;
  pool: Pick<TaskPool, 'open'>;
  /** Resolves when this process holds the primary's lease, at that moment. */
  untilPrimary(): Promise<void>;
  nodeId: string;
  clock: Clock;
  random: Random;
  log: Log;
}

interface OpeningChunk {
  sequence: number;
  opened: Promise<LoadedChunk>;
}

/**
 * From the store to the state at start (`open`): keeps a cache that is a prefix of this store's log, rebuilds any
 * other, and follows the log to its end. A primary then claims it with an epoch chunk (`claim`). Afterwards no other
 * process can append where this one does, and what a process that died may still have on its way lands in ignored
 * places.
 */
export class Recovery {
  readonly #parts: RecoveryParts;

  constructor(parts: RecoveryParts) {
    this.#parts = parts;
  }

  /** Resolves with where the cache stands when it has followed the log to what was its end. */
  async open(): Promise<LogPosition> {
    const { writer, log } = this.#parts;
    const opened = await writer.opened();
    if (opened.rebuilt !== '') log.warn('cache could not be used and is rebuilt', { reason: opened.rebuilt });
    return this.follow(await this.#keepOrReset(opened.position));
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
    const { store, pool, writer, log } = this.#parts;
    const key = chunkKey(position.sequence);
    const object = await store.get(key);
    if (object !== undefined) {
      const chunk = await pool.open(key, position.sequence, object);
      if (chunk.crc === position.chunkCrc) return position;
    }
    const reason = object === undefined ? `the store has no ${key}` : `the store has another ${key}`;
    log.warn('cache is not from this store and is rebuilt', { reason, store: store.url });
    return writer.reset();
  }

  /** Applies every chunk from the position to the end of the log. */
  async follow(from: LogPosition): Promise<LogPosition> {
    const { clock, log } = this.#parts;
    const walk = new LogWalk(from.nextSequence);
    const begun = clock.monotonicMs();
    let shown = begun;
    let position = from;
    let chunks = 0;
    let group: LoadedChunk[] = [];
    let groupBytes = 0;
    const load = async (): Promise<void> => {
      if (group.length > 0) position = await this.#parts.load(group);
      chunks += group.length;
      group = [];
      groupBytes = 0;
    };
    for await (const { sequence, opened } of this.#chunksFrom(from.nextSequence)) {
      if (!walk.takes(sequence)) {
        // What is no part of the log may be damaged, and then has nothing to say.
        walk.passes(sequence, (await opened.catch(() => undefined))?.skipTo);
        continue;
      }
      const chunk = await opened;
      walk.took(chunk.sequence, chunk.skipTo);
      group.push(chunk);
      groupBytes += chunk.body.length;
      if (group.length === LOAD_CHUNKS_MAX || groupBytes >= LOAD_BYTES_MAX) await load();
      if (clock.monotonicMs() - shown >= PROGRESS_EVERY_MS) {
        shown = clock.monotonicMs();
        log.info('recovering', { chunks, sequence: position.sequence, revision: position.revision });
      }
    }
    await load();
    const ms = Math.round(clock.monotonicMs() - begun);
    log.info('followed the log', { chunks, sequence: position.sequence, revision: position.revision, ms });
    return position;
  }

  /** The store's chunks from `sequence` on, in order, each being opened; several are under way at a time. */
  async *#chunksFrom(sequence: number): AsyncGenerator<OpeningChunk> {
    const underWay: OpeningChunk[] = [];
    const startAfter = sequence > 1 ? chunkKey(sequence - 1) : undefined;
    for await (const { key } of this.#parts.store.list(CHUNKS_PREFIX, startAfter)) {
      const listed = parseChunkKey(key);
      if (listed === undefined) continue;
      const opened = this.#open(key, listed);
      // A failure is met when the chunk's turn comes; one that is no part of the log may well be damaged.
      opened.catch(() => undefined);
      underWay.push({ sequence: listed, opened });
      if (underWay.length >= FETCH_CONCURRENCY) yield underWay.shift()!;
    }
    yield* underWay;
  }

  async #open(key: string, sequence: number): Promise<LoadedChunk> {
    const object = await this.#parts.store.get(key);
    if (object === undefined) throw new Error(`${key} was listed and is gone`);
    return this.#parts.pool.open(key, sequence, object);
  }

  /** Appends the epoch chunk; undefined when another writer's chunk has its name. */
  async #claim(position: LogPosition): Promise<LogPosition | undefined> {
    const { clock, random, nodeId, log, load, pool } = this.#parts;
    const sequence = position.nextSequence;
    const claim: EpochClaim = {
      epoch: position.epoch + 1,
      skipTo: sequence + PIPELINE_DEPTH_MAX + 1,
      holder: nodeId,
      clusterId: position.clusterId === 0n ? randomId(random) : position.clusterId,
    };
    const createdAtMs = clock.wallMs();
    const file = encodeFile(
      {
        schemaVersion: SCHEMA_VERSION,
        kind: FileKind.Chunk,
        compression: FileCompression.None,
        leaderId: nodeId,
        createdAtMs,
        sequence,
        epoch: claim.epoch,
        previousChunkCrc: position.chunkCrc,
        nonce: randomId(random),
      },
      [{ ...operationRecord(Operation.Epoch, createdAtMs), epoch: claim }],
    );
    const key = chunkKey(sequence);
    if ((await this.#parts.append(key, file.bytes)) === 'lost') return undefined;
    log.info('claimed the log', { epoch: claim.epoch, sequence, next: claim.skipTo });
    return load([await pool.open(key, sequence, file.bytes)]);
  }
}
