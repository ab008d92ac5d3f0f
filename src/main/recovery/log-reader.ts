import { NO_BYTES } from '../../shared/base/bytes.ts';
import { checkChain } from '../../shared/format/chain.ts';
import { CorruptFileError } from '../../shared/format/corrupt.ts';
import { chunkKey } from '../../shared/format/names.ts';
import type { ChunkForm } from '../../workers/contract/task.ts';
import type { LoadedChunk, LogPosition } from '../../workers/contract/writer.ts';
import type { TaskPool } from '../pool/pool.ts';
import type { ObjectStore } from '../store/store.ts';
import { type LogObject, listPacks, logObjects } from './log-objects.ts';
import { BrokenLogError, LogWalk } from './log-walk.ts';
import { GoneError, OpenPack, type OpenPackParts } from './open-pack.ts';
import { openOrReadAgain } from './read-again.ts';

/** What is fetched ahead of the chunk that the caller has: at most so many objects and bytes of them. */
const AHEAD_OBJECTS_MAX = 32;
const AHEAD_BYTES_MAX = 64 * 1024 * 1024;
/** Frames of packs that are opened ahead; each holds about a megabyte. */
const FRAMES_AHEAD_MAX = 8;

export interface LogReaderParts extends OpenPackParts {
  readonly store: Pick<ObjectStore, 'get' | 'list'>;
  readonly pool: Pick<TaskPool, 'open' | 'openFrame'>;
  /** Ends the reading; it rejects with the signal's reason then. */
  readonly signal?: AbortSignal | undefined;
  /** What chunks are to have; their bytes if it is not said. */
  readonly form?: ChunkForm | undefined;
  /** Objects that are fetched or opened ahead; 32 if it is not said. */
  readonly aheadMax?: number | undefined;
  /** Told of a pack that can't be used, before what it holds is looked for elsewhere. */
  damaged?(key: string, error: Error): void;
}

/** Behind which chunk the reading begins: what the first one that is read must follow. */
export type LogStart = Pick<LogPosition, 'sequence' | 'chunkCrc' | 'nextSequence'>;

/** A log from its first chunk on. */
export const LOG_BEGINNING: LogStart = { sequence: 0, chunkCrc: 0n, nextSequence: 1 };

/** A chunk of the log, whole and in its place. */
export interface LogChunk extends LoadedChunk {
  /** What it takes in the store; of a pack, its share. */
  readonly storedBytes: number;
}

/** An object whose bytes are on their way. */
interface FetchedObject {
  readonly object: LogObject;
  readonly bytes: Promise<Uint8Array>;
}

/** What is opened in one piece: a chunk, or a frame of a pack. */
interface OpeningPiece {
  readonly object: LogObject;
  readonly storedBytes: number;
  readonly opened: Promise<LoadedChunk[]>;
}

/**
 * Reads a store's log: for recovery, standbys, upkeep, and every command that looks at a log. Objects are fetched
 * ahead and opened by the pool, several at a time; memory does not grow with the log. Where a pack can't be used, its
 * chunks or another pack are, if they are still there.
 */
export class LogReader {
  readonly #parts: LogReaderParts;
  readonly #aheadMax: number;

  constructor(parts: LogReaderParts) {
    this.#parts = parts;
    this.#aheadMax = parts.aheadMax ?? AHEAD_OBJECTS_MAX;
  }

  /**
   * The chunks of the log after `from`, in the log's order, up to what was its end: every CRC holds, and so does the
   * chain from `from` on. What fenced processes left is passed over. Throws `CorruptFileError` for a
   * damaged chunk of the log, `BrokenLogError` where one that must be there is not, and
   * `StoreError`.
   */
  async *chunks(from: LogStart): AsyncGenerator<LogChunk> {
    const unusable = new Map<string, Error>();
    let at = from;
    for (;;) {
      const begun = at.nextSequence;
      const previous = [...unusable.values()].pop();
      try {
        for await (const chunk of this.#chunks(at, unusable)) {
          const { sequence, crc, skipTo } = chunk;
          yield chunk;
          at = { sequence, chunkCrc: crc, nextSequence: skipTo ?? sequence + 1 };
        }
      } catch (error) {
        if (!(error instanceof UnusableObject)) {
          // What is missing is what could not be used.
          throw error instanceof BrokenLogError && begun === at.nextSequence ? (previous ?? error) : error;
        }
        // Nothing can stand for a chunk but itself, or a pack that would have been taken before it.
        if (!error.object.isPack && !(error.cause instanceof GoneError)) throw error.cause;
        unusable.set(error.object.key, error.cause);
        if (error.object.isPack) this.#parts.damaged?.(error.object.key, error.cause);
        continue;
      }
      // Without what could not be used the log may only seem to end.
      if (previous !== undefined && begun === at.nextSequence) throw previous;
      return;
    }
  }

  /** The objects that `chunks` would read, in their order, and maybe a few that are no part of the log. */
  objects(nextSequence: number): AsyncGenerator<LogObject> {
    return logObjects(this.#parts.store, nextSequence);
  }

  /** What `chunks` would read, for showing progress. */
  async bytesFrom(nextSequence: number): Promise<number> {
    let bytes = 0;
    for await (const { size } of this.objects(nextSequence)) bytes += size;
    return bytes;
  }

  /** The chunk at `sequence`, from its object or from a pack; undefined if it is in neither. */
  async chunkAt(sequence: number): Promise<LoadedChunk | undefined> {
    const { store, pool, signal } = this.#parts;
    const key = chunkKey(sequence);
    const get = (): Promise<Uint8Array | undefined> => store.get(key, signal);
    const object = await get();
    if (object !== undefined) {
      return openOrReadAgain(object, get, (bytes) => pool.open(key, sequence, bytes));
    }
    for (const pack of await listPacks(store)) {
      if (pack.first > sequence || pack.last < sequence) continue;
      try {
        const bytes = await store.get(pack.key, signal);
        const chunk = bytes && (await new OpenPack(this.#parts, pack, bytes).chunkAt(sequence));
        if (chunk !== undefined) return chunk;
      } catch (error) {
        if (!(error instanceof CorruptFileError)) throw error;
        this.#parts.damaged?.(pack.key, error);
      }
    }
    return undefined;
  }

  /** Whether there is a chunk of that sequence, as an object that may be damaged or in a pack that is not. */
  async has(sequence: number): Promise<boolean> {
    try {
      return (await this.chunkAt(sequence)) !== undefined;
    } catch (error) {
      if (error instanceof CorruptFileError) return true;
      throw error;
    }
  }

  /** As `chunks`, without the objects that can't be used; throws `UnusableObject` for another one. */
  async *#chunks(from: LogStart, unusable: ReadonlyMap<string, Error>): AsyncGenerator<LogChunk> {
    const walk = new LogWalk(from.nextSequence);
    let previous = { sequence: from.sequence, crc: from.chunkCrc };
    for await (const { object, storedBytes, opened } of this.#opening(from.nextSequence, unusable)) {
      if (!walk.takes(object)) {
        // What is no part of the log may be damaged, and then has nothing to say.
        walk.passes(object.first, (await opened.catch(() => undefined))?.[0]?.skipTo);
        continue;
      }
      const chunks = await opened.catch((error: unknown) => unusableFor(object, error));
      for (const chunk of chunks) {
        // A pack may begin before.
        if (chunk.sequence < walk.next) continue;
        checkFollows(object, previous, chunk);
        walk.took(chunk.sequence, chunk.skipTo);
        previous = chunk;
        yield { ...chunk, storedBytes: storedBytes / chunks.length };
      }
    }
  }

  /** The log's pieces in order, each being opened; several are under way at a time. */
  async *#opening(nextSequence: number, unusable: ReadonlyMap<string, Error>): AsyncGenerator<OpeningPiece> {
    const ahead: OpeningPiece[] = [];
    let frames = 0;
    for await (const { object, bytes } of this.#fetching(nextSequence, unusable)) {
      for await (const piece of this.#pieces(object, bytes, nextSequence)) {
        // A failure is met when its turn comes; one that is no part of the log may well be damaged.
        piece.opened.catch(() => undefined);
        ahead.push(piece);
        if (object.isPack) frames++;
        while (ahead.length > this.#aheadMax || frames > FRAMES_AHEAD_MAX) {
          const first = ahead.shift()!;
          if (first.object.isPack) frames--;
          yield first;
        }
      }
    }
    yield* ahead;
  }

  async *#pieces(
    object: LogObject,
    bytes: Promise<Uint8Array>,
    nextSequence: number,
  ): AsyncGenerator<OpeningPiece> {
    const { pool, form } = this.#parts;
    const again = (): Promise<Uint8Array> => this.#fetch(object);
    if (!object.isPack) {
      const open = async (bytes: Uint8Array): Promise<LoadedChunk[]> => [
        await pool.open(object.key, object.first, bytes, form),
      ];
      const opened = bytes.then((bytes) => openOrReadAgain(bytes, again, open));
      yield { object, storedBytes: object.size, opened };
      return;
    }
    const packOf = (bytes: Uint8Array): OpenPack => new OpenPack(this.#parts, object, bytes);
    let pack: OpenPack;
    try {
      pack = await openOrReadAgain(await bytes, again, packOf);
    } catch (error) {
      yield { object, storedBytes: 0, opened: Promise.reject(error) };
      return;
    }
    for (const frame of pack.frames) {
      if (frame.nextSequence <= nextSequence) continue;
      const opened = openOrReadAgain(NO_BYTES, again, (bytes) =>
        (bytes === NO_BYTES ? pack : packOf(bytes)).open(frame, nextSequence),
      );
      yield { object, storedBytes: frame.bytes, opened };
    }
  }

  /** The objects of the log in order, several being fetched at a time. */
  async *#fetching(
    nextSequence: number,
    unusable: ReadonlyMap<string, Error>,
  ): AsyncGenerator<FetchedObject> {
    const { store } = this.#parts;
    const ahead: FetchedObject[] = [];
    let bytesAhead = 0;
    for await (const object of logObjects(store, nextSequence, unusable)) {
      while (
        ahead.length >= this.#aheadMax ||
        (ahead.length > 0 && bytesAhead + object.size > AHEAD_BYTES_MAX)
      ) {
        const first = ahead.shift()!;
        bytesAhead -= first.object.size;
        yield first;
      }
      const bytes = this.#fetch(object);
      bytes.catch(() => undefined);
      ahead.push({ object, bytes });
      bytesAhead += object.size;
    }
    yield* ahead;
  }

  async #fetch({ key }: LogObject): Promise<Uint8Array> {
    const { store, signal } = this.#parts;
    signal?.throwIfAborted();
    const bytes = await store.get(key, signal);
    if (bytes === undefined) throw new GoneError(`${key} was listed and is gone`);
    return bytes;
  }
}

/** One object of the log can't be used; others may hold the same. */
class UnusableObject extends Error {
  readonly object: LogObject;
  override readonly cause: Error;

  constructor(object: LogObject, cause: Error) {
    super(cause.message);
    this.object = object;
    this.cause = cause;
  }
}

/** Throws what is to be thrown when `object` could not be opened. */
function unusableFor(object: LogObject, error: unknown): never {
  const isObjects = error instanceof GoneError || error instanceof CorruptFileError;
  throw isObjects ? new UnusableObject(object, error) : error;
}

function checkFollows(
  object: LogObject,
  previous: { sequence: number; crc: bigint },
  chunk: LoadedChunk,
): void {
  try {
    checkChain(previous, chunk);
  } catch (error) {
    unusableFor(object, error);
  }
}
