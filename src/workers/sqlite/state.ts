import type { Statement } from 'better-sqlite3';
import { assert } from '../../shared/base/assert.ts';
import { NO_BYTES } from '../../shared/base/bytes.ts';
import { systemClock } from '../../shared/base/clock.ts';
import { HeaderEncoder } from '../../shared/etcd/responses.ts';
import { checkChain } from '../../shared/format/chain.ts';
import { decodeBody, decodeHeader } from '../../shared/format/decode.ts';
import { FileBuilder } from '../../shared/format/encode.ts';
import { FileCompression, FileKind, SCHEMA_VERSION } from '../../shared/format/file.ts';
import { chunkKey } from '../../shared/format/names.ts';
import { RECORD_BYTES_MAX } from '../../shared/model/limits.ts';
import { Operation } from '../../shared/model/record.ts';
import { unpackChunkRows } from '../contract/chunk-rows.ts';
import type {
  EvaluatedMessage,
  Held,
  LoadedChunk,
  LogPosition,
  WriterData,
  WriterReply,
  WriterRequest,
} from '../contract/writer.ts';
import { Applier, type DurableChunk } from './apply.ts';
import { readBegunState } from './begun-state.ts';
import { Compactor } from './compact.ts';
import {
  type Connection,
  DatabaseSize,
  discardCache,
  isDiskTrouble,
  openToWrite,
  quotaBytesOf,
  truncateLog,
} from './database.ts';
import { DurableChunks } from './durable-chunks.ts';
import { Evaluator } from './evaluate.ts';
import { CacheFiller } from './fill.ts';
import { Followed } from './follow.ts';
import { noOperations } from './operations.ts';
import { OverlayView } from './overlay.ts';
import { RowView } from './rows.ts';

/** Pages moved per step of a defragmentation: a few milliseconds. */
const VACUUM_PAGES = 128;
/** More than a record takes in a chunk besides its key and value. */
const RECORD_FRAME_BYTES_MAX = 192;
/** While the log is followed, SQLite copies its write-ahead log into the database after so many pages. */
const RECOVERY_CHECKPOINT_PAGES = 2048;

/**
 * The state worker's whole state: the one writable SQLite connection, the overlay of what is evaluated and
 * not yet applied, and the end of the log as far as it is evaluated. A thread runs it in production; a
 * simulation calls it directly.
 *
 * Invariants: sequences are given out in order, without gaps except after an epoch chunk; what is applied
 * was said to be durable by the main thread (`apply`) or came from the store (`load`).
 */
export class WriterState {
  readonly #data: WriterData;
  readonly #reply: (reply: WriterReply, transfer: ArrayBuffer[]) => void;
  readonly #nowMs: () => number;
  #connection!: Connection;
  /** While the cache is filled from a snapshot; `#connection` is closed then. */
  #filler: CacheFiller | undefined;
  #applier!: Applier;
  #compactor!: Compactor;
  #rows!: RowView;
  #size!: DatabaseSize;
  #overlay!: OverlayView;
  #evaluator: Evaluator | undefined;
  /** The chunk of the batch that is being evaluated. */
  readonly #chunk = new FileBuilder();
  #beginReading!: Statement;
  #endReading!: Statement;
  #defragmenting = false;
  #inTrouble = false;
  readonly #held = new Set<Held>();
  /** Chunks that are evaluated and wait to be durable, in sequence order. */
  readonly #evaluated: DurableChunk[] = [];
  /** Chunks that are durable and wait for the disk to take them. */
  readonly #durable = new DurableChunks();
  /** Keys and values in both. */
  #pendingBytes = 0;
  #nextSequence = 0;
  #lastCrc = 0n;

  /** `nowMs` is a monotonic clock, for metrics alone. */
  constructor(
    data: WriterData,
    reply: (reply: WriterReply, transfer: ArrayBuffer[]) => void,
    nowMs = (): number => 0,
  ) {
    this.#data = data;
    this.#reply = reply;
    this.#nowMs = nowMs;
  }

  /** Opens the cache; one that can't be used is thrown away, since it holds nothing that the log does not. */
  open(): void {
    let rebuilt = '';
    try {
      this.#attach(openToWrite(this.#data.cacheFile));
    } catch (error) {
      if (isDiskTrouble(error)) throw this.#explained(error);
      rebuilt = error instanceof Error ? error.message : String(error);
      discardCache(this.#data.cacheFile);
      this.#attach(openToWrite(this.#data.cacheFile));
    }
    this.#reply({ type: 'opened', position: this.#position(), rebuilt }, []);
  }

  handle(request: WriterRequest): void {
    switch (request.type) {
      case 'evaluateAhead':
        this.#take(request);
        return;
      case 'evaluate':
        return this.#evaluate(request);
      case 'apply':
        return this.#apply(request.sequence);
      case 'load':
        return this.#load(request.chunks);
      case 'follow':
        return this.#follow(request.chunks);
      case 'reset':
        this.#filler?.close();
        this.#filler = undefined;
        this.#connection.close();
        discardCache(this.#data.cacheFile);
        this.#attach(openToWrite(this.#data.cacheFile));
        this.#reply({ type: 'reset', position: this.#position() }, []);
        return;
      case 'fillBegin':
      case 'fill':
      case 'fillEnd':
        return this.#fill(request);
      case 'begin':
        return this.#begin();
      case 'hold':
        this.#held.add(request.what);
        return this.#reply({ type: 'held' }, []);
      case 'resume':
        this.#held.delete(request.what);
        return;
      case 'truncateLog':
        return this.#truncateLog();
      case 'defragment':
        this.#defragmenting = true;
        return;
      case 'close':
        // A disk that refuses them keeps nobody: they are in the store.
        while (!this.#durable.isEmpty) {
          this.idle();
          if (this.#inTrouble) break;
        }
        this.#filler?.close();
        this.#connection.close();
        return;
    }
  }

  /** After a failure: lets go of the cache as it is. */
  abandon(): void {
    this.#filler?.close();
    this.#connection?.close();
  }

  /** Whether `idle` has work to do. */
  get hasIdleWork(): boolean {
    // What waited belongs to the cache that is thrown away.
    if (this.#filler !== undefined || (this.#held.has('commits') && !this.#durable.areTooMany)) return false;
    return !this.#durable.isEmpty || this.#mayCompact || this.#mayVacuum || this.#inTrouble;
  }

  get #mayCompact(): boolean {
    return this.#compactor.pending && !this.#held.has('compaction');
  }

  get #mayVacuum(): boolean {
    return this.#defragmenting && !this.#compactor.pending;
  }

  /** One piece of the work that can wait: what became durable, or a slice of compaction or defragmentation. */
  idle(): void {
    this.#minding(() => {
      if (!this.#durable.isEmpty) this.#applyDurable();
      else if (this.#mayCompact && this.#compactor.step()) {
        const { compactedRevision } = this.#applier.position;
        // The database's size has changed, which an idle store would else not say.
        this.#replyApplied();
        this.#reply({ type: 'compacted', revision: compactedRevision }, []);
      } else if (this.#mayVacuum) this.#vacuumSlice();
    });
  }

  /** True after the disk refused a write, until it takes one. */
  get inTrouble(): boolean {
    return this.#inTrouble;
  }

  /** Does work that the disk may refuse; it is tried again later. */
  #minding(work: () => void): void {
    try {
      work();
      // Whoever heard of the trouble takes this for its end.
      if (this.#inTrouble) this.#replyApplied();
    } catch (error) {
      if (!isDiskTrouble(error)) throw error;
      this.#inTrouble = true;
      this.#reply({ type: 'trouble', message: error.message }, []);
    }
  }

  /** Recovery can't go on without the disk. */
  #explained(error: unknown): unknown {
    if (!isDiskTrouble(error)) return error;
    const { cacheFile } = this.#data;
    return new Error(
      `the disk under ${cacheFile} refuses writes (${error.message}); make room and start again`,
    );
  }

  /** Recovery: a new cache from a snapshot. What was there is thrown away first. */
  #fill(request: Extract<WriterRequest, { type: `fill${string}` }>): void {
    const { cacheFile } = this.#data;
    try {
      if (request.type === 'fillBegin') {
        this.#filler?.close();
        this.#connection.close();
        discardCache(cacheFile);
        this.#filler = new CacheFiller(cacheFile);
      } else if (request.type === 'fill') required(this.#filler).add(request.piece);
      else {
        required(this.#filler).end(request.position);
        this.#filler = undefined;
        this.#attach(openToWrite(cacheFile));
        return this.#reply({ type: 'loaded', position: this.#position() }, []);
      }
      this.#reply({ type: 'filling' }, []);
    } catch (error) {
      throw this.#explained(error);
    }
  }

  #attach(connection: Connection): void {
    this.#connection = connection;
    connection.pragma(`wal_autocheckpoint = ${RECOVERY_CHECKPOINT_PAGES}`);
    this.#applier = new Applier(connection);
    this.#compactor = new Compactor(connection, this.#applier);
    this.#rows = new RowView(connection);
    this.#rows.refresh();
    this.#size = new DatabaseSize(connection);
    this.#beginReading = connection.prepare('BEGIN');
    this.#endReading = connection.prepare('COMMIT');
  }

  #position(): LogPosition {
    const { compactedRevision: _, nextHistoryId: __, ...position } = this.#applier.position;
    return position;
  }

  #begin(): void {
    const { position } = this.#applier;
    // From here on other threads copy it, off the write path.
    this.#connection.pragma('wal_autocheckpoint = 0');
    this.#rows.refresh();
    this.#overlay = new OverlayView(this.#rows);
    this.#nextSequence = position.nextSequence;
    this.#lastCrc = position.chunkCrc;
    const { leases, system } = readBegunState(this.#connection);
    const header = new HeaderEncoder(position.clusterId, this.#data.memberId);
    this.#evaluator = new Evaluator(
      this.#overlay,
      new Map(leases.map(({ id, ttlSeconds }) => [id, ttlSeconds])),
      new Map(system.map(({ name, value }) => [name, value])),
      header,
      { ...this.#data, raftTerm: position.epoch, usedBytes: () => this.#usedBytes() },
    );
    this.#reply({ type: 'begun', leases, system }, []);
    this.#replyApplied();
  }

  /** Evaluates requests and puts what they changed into the chunk; answers the evaluator, and when it had evaluated them. */
  #take({ requests, createdAtMs }: { requests: Uint8Array; createdAtMs: number }): {
    evaluator: Evaluator;
    evaluatedMs: number;
  } {
    const evaluator = this.#evaluator;
    assert(evaluator !== undefined, 'evaluate before begin');
    const changes = this.#reading(() => evaluator.evaluate(requests, createdAtMs));
    const evaluatedMs = systemClock.monotonicMs();
    for (const { record } of changes) this.#chunk.add(record);
    return { evaluator, evaluatedMs };
  }

  #evaluate(request: Extract<WriterRequest, { type: 'evaluate' }>): void {
    const begunMs = systemClock.monotonicMs();
    const { evaluator, evaluatedMs } = this.#take(request);
    const evaluated = evaluator.finish();
    const reply: EvaluatedMessage = {
      type: 'evaluated',
      batch: request.batch,
      sequence: 0,
      object: NO_BYTES,
      headerLength: 0,
      compress: false,
      contentBytes: 0,
      replies: evaluated.replies,
      events: evaluated.events,
      leases: evaluated.leases,
      system: evaluated.system,
      revision: this.#overlay.revision,
      compactRevision: this.#overlay.compactRevision,
      records: evaluated.changes.length,
      operations: evaluated.operations,
      evaluateMs: evaluatedMs - begunMs,
      sealMs: 0,
    };
    if (evaluated.changes.length > 0) this.#seal(request, evaluated.changes, reply);
    reply.sealMs = systemClock.monotonicMs() - evaluatedMs;
    const transfer = [reply.object, reply.replies, reply.events]
      .filter((bytes) => bytes !== NO_BYTES)
      .map((bytes) => bytes.buffer as ArrayBuffer);
    this.#reply(reply, transfer);
  }

  /** In one read transaction: outside of one each statement locks the file anew, which takes longer than most of them. */
  #reading<T>(read: () => T): T {
    this.#beginReading.run();
    try {
      return read();
    } finally {
      this.#endReading.run();
    }
  }

  /** Gives the chunk the next sequence and ends it. */
  #seal(
    request: Extract<WriterRequest, { type: 'evaluate' }>,
    changes: DurableChunk['changes'],
    reply: EvaluatedMessage,
  ): void {
    const sequence = this.#nextSequence;
    const bytes = bytesOf(changes);
    // Readers refuse to inflate more than this, and a deleted range may be that many records.
    const inflatable = bytes + changes.length * RECORD_FRAME_BYTES_MAX < RECORD_BYTES_MAX / 2;
    const compress = bytes >= request.compressBytesMin && inflatable;
    const file = this.#chunk.finish({
      schemaVersion: SCHEMA_VERSION,
      kind: FileKind.Chunk,
      compression: compress ? FileCompression.Zstd : FileCompression.None,
      leaderId: this.#data.nodeId,
      createdAtMs: request.createdAtMs,
      sequence,
      epoch: this.#applier.position.epoch,
      previousChunkCrc: this.#lastCrc,
      nonce: request.nonce,
    });
    this.#pendingBytes += bytes;
    this.#nextSequence = sequence + 1;
    this.#lastCrc = file.crc;
    this.#evaluated.push({ sequence, crc: file.crc, changes });
    const headerLength = file.header.length;
    const contentBytes = file.bytes.length;
    Object.assign(reply, { sequence, object: file.bytes, headerLength, compress, contentBytes });
  }

  /**
   * Only notes it: `idle` applies. So a batch that arrived meanwhile is evaluated first, because its client waits
   * for more than those whose reads wait here, and chunks that became durable together share a transaction, up to a size
   * that a batch can wait for.
   */
  #apply(sequence: number): void {
    while (this.#evaluated.length > 0 && this.#evaluated[0]!.sequence <= sequence) {
      this.#durable.add(this.#evaluated.shift()!);
    }
  }

  #applyDurable(): void {
    const chunks = this.#durable.first();
    const begunMs = this.#nowMs();
    this.#applier.apply(chunks);
    const commitMs = this.#nowMs() - begunMs;
    this.#durable.remove(chunks.length);
    for (const { changes } of chunks) {
      this.#pendingBytes -= bytesOf(changes);
      for (const { record } of changes) {
        if (record.operation === Operation.KeyValue) this.#overlay.remove(record);
      }
    }
    this.#rows.refresh();
    this.#replyApplied(commitMs);
  }

  #truncateLog(): void {
    let truncated = false;
    this.#minding(() => {
      truncated = truncateLog(this.#connection);
    });
    this.#reply({ type: 'logTruncated', truncated }, []);
  }

  #vacuumSlice(): void {
    this.#connection.pragma(`incremental_vacuum(${VACUUM_PAGES})`);
    if (this.#size.read().freeBytes > 0) return;
    this.#defragmenting = false;
    this.#replyApplied();
    this.#reply({ type: 'defragmented' }, []);
  }

  /** What the quota is held against. */
  #usedBytes(): number {
    const { databaseBytes, freeBytes } = this.#size.read();
    return quotaBytesOf(databaseBytes - freeBytes) + this.#pendingBytes;
  }

  #replyApplied(commitMs = 0): void {
    this.#inTrouble = false;
    const { sequence, revision } = this.#applier.position;
    const size = this.#size.read();
    const { removedRows } = this.#compactor;
    this.#reply({ type: 'applied', sequence, revision, ...size, commitMs, removedRows }, []);
  }

  /** Recovery: applies chunks that the store holds, after checking them and the chain that joins them. */
  #load(chunks: LoadedChunk[]): void {
    const durable = this.#checked(chunks);
    try {
      this.#applier.apply(durable);
    } catch (error) {
      throw this.#explained(error);
    }
    this.#reply({ type: 'loaded', position: this.#position() }, []);
  }

  /** A standby: the same, and says what watchers see. A disk that refuses it leaves everything as it was. */
  #follow(chunks: LoadedChunk[]): void {
    const durable = this.#checked(chunks);
    const followed = new Followed(this.#connection);
    this.#applier.observer = followed.observe;
    const begunMs = this.#nowMs();
    try {
      this.#applier.apply(durable);
    } catch (error) {
      if (!isDiskTrouble(error)) throw error;
      this.#reply({ type: 'trouble', message: error.message }, []);
      const nothing = { events: NO_BYTES, leases: [], system: [], operations: noOperations() };
      this.#reply({ type: 'followed', position: this.#position(), ...nothing }, []);
      return;
    } finally {
      this.#applier.observer = undefined;
    }
    const commitMs = this.#nowMs() - begunMs;
    this.#rows.refresh();
    const state = followed.finish();
    this.#reply({ type: 'followed', position: this.#position(), ...state }, [
      state.events.buffer as ArrayBuffer,
    ]);
    this.#replyApplied(commitMs);
  }

  /** Checks that the chunks are whole and follow what is applied, one after the other. */
  #checked(chunks: LoadedChunk[]): DurableChunk[] {
    let previous = { sequence: this.#applier.position.sequence, crc: this.#applier.position.chunkCrc };
    return chunks.map((chunk) => {
      const { sequence, header: headerBytes, body, rows } = chunk;
      if (rows !== undefined) {
        // The pool has checked everything else.
        checkChain(previous, chunk);
        previous = chunk;
        return { sequence, crc: chunk.crc, changes: unpackChunkRows(rows) };
      }
      const name = chunkKey(sequence);
      const { header } = decodeHeader(headerBytes, name);
      checkChain(previous, header);
      const { records, footer } = decodeBody(body, header, name);
      previous = { sequence, crc: footer.crc };
      return { sequence, crc: footer.crc, changes: records.map((record) => ({ record })) };
    });
  }
}

/** Keys and values, without what a chunk or a row adds to them. */
function bytesOf(changes: DurableChunk['changes']): number {
  return changes.reduce((sum, { record }) => sum + record.key.length + record.value.length, 0);
}

function required<T>(value: T | undefined): T {
  assert(value !== undefined, 'a snapshot is loaded in order');
  return value;
}
