import { checkChain } from '../../shared/format/chain.ts';
import { CHUNKS_PREFIX, chunkKey, parseChunkKey } from '../../shared/format/names.ts';
import type { LoadedChunk, LogPosition } from '../../workers/contract/writer.ts';
import type { TaskPool } from '../pool/pool.ts';
import type { ObjectInfo, ObjectStore } from '../store/store.ts';
import { LogWalk } from './log-walk.ts';

/** What is fetched or opened ahead of the chunk that the caller has: at most so many objects and bytes of them. */
const AHEAD_OBJECTS_MAX = 32;
const AHEAD_BYTES_MAX = 64 * 1024 * 1024;

export interface LogReaderParts {
  readonly store: Pick<ObjectStore, 'get' | 'list'>;
  readonly pool: Pick<TaskPool, 'open'>;
  /** Ends the reading; it rejects with the signal's reason then. */
  readonly signal?: AbortSignal | undefined;
}

/** Behind which chunk the reading begins: what the first one that is read must follow. */
export type LogStart = Pick<LogPosition, 'sequence' | 'chunkCrc' | 'nextSequence'>;

/** A log from its first chunk on. */
export const LOG_BEGINNING: LogStart = { sequence: 0, chunkCrc: 0n, nextSequence: 1 };

/** A chunk of the log, whole and in its place. */
export interface LogChunk extends LoadedChunk {
  /** What it takes in the store. */
  readonly storedBytes: number;
}

interface OpeningChunk {
  readonly sequence: number;
  readonly storedBytes: number;
  readonly opened: Promise<LoadedChunk>;
}

/**
 * Reads a store's log: for recovery, standbys, upkeep, and every command that looks at a log. Objects are fetched
 * ahead and opened by the pool, several at a time; memory does not grow with the log.
 */
export class LogReader {
  readonly #parts: LogReaderParts;

  constructor(parts: LogReaderParts) {
    this.#parts = parts;
  }

  /**
   * The chunks of the log after `from`, in the log's order, up to what was its end: every CRC holds, and so does the
   * chain from `from` on. What fenced processes left is passed over. Throws `CorruptFileError` or
   * `CorruptObjectError` for a damaged chunk of the log, `BrokenLogError` where one that must be there is not, and
   * `StoreError`.
   */
  async *chunks(from: LogStart): AsyncGenerator<LogChunk> {
    const walk = new LogWalk(from.nextSequence);
    let previous = { sequence: from.sequence, crc: from.chunkCrc };
    for await (const { sequence, storedBytes, opened } of this.#opening(from.nextSequence)) {
      if (!walk.takes(sequence)) {
        // What is no part of the log may be damaged, and then has nothing to say.
        walk.passes(sequence, (await opened.catch(() => undefined))?.skipTo);
        continue;
      }
      const chunk = await opened;
      checkChain(previous, chunk);
      walk.took(sequence, chunk.skipTo);
      previous = chunk;
      yield { ...chunk, storedBytes };
    }
  }

  /** The objects that `chunks` would read, in their order, and maybe a few that are no part of the log. */
  async *objects(nextSequence: number): AsyncGenerator<ObjectInfo & { readonly sequence: number }> {
    const startAfter = nextSequence > 1 ? chunkKey(nextSequence - 1) : undefined;
    for await (const object of this.#parts.store.list(CHUNKS_PREFIX, startAfter)) {
      const sequence = parseChunkKey(object.key);
      if (sequence !== undefined) yield { ...object, sequence };
    }
  }

  /** What `chunks` would read, for showing progress. */
  async bytesFrom(nextSequence: number): Promise<number> {
    let bytes = 0;
    for await (const { size } of this.objects(nextSequence)) bytes += size;
    return bytes;
  }

  /** The store's chunks from a sequence on, in order, each being opened; several are under way at a time. */
  async *#opening(nextSequence: number): AsyncGenerator<OpeningChunk> {
    const ahead: OpeningChunk[] = [];
    let bytes = 0;
    for await (const { key, sequence, size } of this.objects(nextSequence)) {
      while (ahead.length >= AHEAD_OBJECTS_MAX || (ahead.length > 0 && bytes + size > AHEAD_BYTES_MAX)) {
        const first = ahead.shift()!;
        bytes -= first.storedBytes;
        yield first;
      }
      const opened = this.#open(key, sequence);
      // A failure is met when the chunk's turn comes; one that is no part of the log may well be damaged.
      opened.catch(() => undefined);
      ahead.push({ sequence, storedBytes: size, opened });
      bytes += size;
    }
    yield* ahead;
  }

  async #open(key: string, sequence: number): Promise<LoadedChunk> {
    const { store, pool, signal } = this.#parts;
    signal?.throwIfAborted();
    const object = await store.get(key, signal);
    if (object === undefined) throw new Error(`${key} was listed and is gone`);
    return pool.open(key, sequence, object);
  }
}
