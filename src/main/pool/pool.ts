import { Piscina } from 'piscina';
import type { JsonPlace } from '../../shared/etcd/json.ts';
import { JsonError } from '../../shared/etcd/json-values.ts';
import { CorruptFileError } from '../../shared/format/corrupt.ts';
import { WORKER_LIMITS } from '../../shared/model/limits.ts';
import { threadEntry } from '../../workers/contract/entry.ts';
import type {
  CacheComparison,
  ChunkForm,
  LogCopy,
  PackedFrame,
  SnapshotPiece,
  StoredChunk,
  TaskCorrupt,
  TaskRefused,
  TaskRequest,
} from '../../workers/contract/task.ts';
import type { LoadedChunk } from '../../workers/contract/writer.ts';

/** zstd's fastest ordinary level: chunks are written once and read rarely, the writer waits for it. */
const ZSTD_LEVEL = 1;

/** Throws `CorruptFileError`, which names the object, the offset and both values. */
function whole<T extends object>(result: T | TaskCorrupt): T {
  if (!('type' in result) || result.type !== 'corrupt') return result as T;
  const { place, check, expected, found } = result as TaskCorrupt;
  throw new CorruptFileError(place, check, expected, found);
}

/** Runs what `workers/task.ts` runs. */
export interface TaskRunner {
  /** Buffers in `transferList` are handed over instead of being copied. */
  run(task: TaskRequest, options?: { transferList: ArrayBuffer[] }): Promise<unknown>;
  /** Ends when the tasks that it was given have. */
  close(): Promise<void>;
  destroy(): Promise<void>;
}

function threadRunner(threads: number): TaskRunner {
  return new Piscina<TaskRequest, unknown>({
    filename: threadEntry('task').href,
    minThreads: 0,
    maxThreads: threads,
    idleTimeout: 30_000,
    resourceLimits: WORKER_LIMITS,
  });
}

/** The typed client of the piscina tasks: what is heavy and would keep another thread from its work. */
export class TaskPool {
  readonly #pool: TaskRunner;

  /** `runner`: so many threads, or what runs tasks in a simulation. */
  constructor(runner: number | TaskRunner) {
    this.#pool = typeof runner === 'number' ? threadRunner(runner) : runner;
  }

  /** `body` as one zstd frame. */
  async compress(body: Uint8Array): Promise<Uint8Array> {
    const request: TaskRequest = { type: 'compress', body, plain: 0, level: ZSTD_LEVEL };
    return (await this.#pool.run(request)) as Uint8Array;
  }

  /**
   * The object with all behind its header as one zstd frame. Gives away `object`, which nothing else may share an
   * ArrayBuffer with.
   */
  async compressObject(object: Uint8Array, headerLength: number): Promise<Uint8Array> {
    const request: TaskRequest = { type: 'compress', body: object, plain: headerLength, level: ZSTD_LEVEL };
    const transferList = [object.buffer as ArrayBuffer];
    return (await this.#pool.run(request, { transferList })) as Uint8Array;
  }

  /** A chunk's object, decompressed, every CRC checked. Throws when one fails, naming the object. */
  async open(
    name: string,
    sequence: number,
    object: Uint8Array,
    form: ChunkForm = 'bytes',
  ): Promise<LoadedChunk> {
    return whole(
      (await this.#pool.run({ type: 'open', name, sequence, object, form })) as LoadedChunk | TaskCorrupt,
    );
  }

  /** A pack's frame, with every CRC in it checked. Throws when one fails, naming the object. Gives `bytes` away. */
  async openFrame(task: Omit<Extract<TaskRequest, { type: 'frame' }>, 'type'>): Promise<LoadedChunk[]> {
    const transferList = [task.bytes.buffer as ArrayBuffer];
    return whole(
      (await this.#pool.run({ type: 'frame', ...task }, { transferList })) as LoadedChunk[] | TaskCorrupt,
    );
  }

  /** A pack's frame of `chunks`, which follow each other. Throws when one is not whole by its header and footer, or out of place. */
  async packFrame(chunks: StoredChunk[]): Promise<PackedFrame> {
    return whole(
      (await this.#pool.run({ type: 'pack', chunks, level: ZSTD_LEVEL })) as PackedFrame | TaskCorrupt,
    );
  }

  /** A snapshot's piece, with every CRC in it checked. Throws when one fails, naming the object. Gives `frame` away. */
  async openPiece(task: Omit<Extract<TaskRequest, { type: 'piece' }>, 'type'>): Promise<SnapshotPiece> {
    const transferList = [task.frame.buffer as ArrayBuffer];
    return whole(
      (await this.#pool.run({ type: 'piece', ...task }, { transferList })) as SnapshotPiece | TaskCorrupt,
    );
  }

  /** What a zstd frame of the object `name` holds. Throws when it can't be decompressed. */
  async inflate(frame: Uint8Array, name: string, offset: number): Promise<Uint8Array> {
    return whole(
      (await this.#pool.run({ type: 'inflate', frame, name, offset })) as Uint8Array | TaskCorrupt,
    );
  }

  /** Copies SQLite's write-ahead log into its database. */
  async checkpoint(cacheFile: string): Promise<LogCopy> {
    return (await this.#pool.run({ type: 'checkpoint', cacheFile })) as LogCopy;
  }

  /** What the cache `foundFile` differs in from `expectedFile`; the first `differencesMax` differences. */
  async compareCaches(
    expectedFile: string,
    foundFile: string,
    differencesMax: number,
  ): Promise<CacheComparison> {
    const request: TaskRequest = { type: 'compareCaches', expectedFile, foundFile, differencesMax };
    return (await this.#pool.run(request)) as CacheComparison;
  }

  /** The message of that name that a JSON body stands for. Rejects with a `JsonError`. */
  async bodyToMessage(message: string, body: Uint8Array): Promise<Uint8Array> {
    const result = (await this.#pool.run({ type: 'bodyToMessage', message, body })) as
      | Uint8Array
      | TaskRefused;
    if ('type' in result) throw new JsonError(result.message);
    return result;
  }

  /** An encoded message of that name as JSON, in UTF-8. */
  async messageToJson(message: string, bytes: Uint8Array, place: JsonPlace): Promise<Uint8Array> {
    return (await this.#pool.run({ type: 'messageToJson', message, bytes, place })) as Uint8Array;
  }

  /** As `close`, when what is under way has come to its end. */
  async end(): Promise<void> {
    await this.#pool.close();
  }

  async close(): Promise<void> {
    await this.#pool.destroy();
  }
}
