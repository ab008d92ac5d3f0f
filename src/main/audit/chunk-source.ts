import { CorruptFileError } from '../../shared/format/corrupt.ts';
import { decodeBody, decodeHeader } from '../../shared/format/decode.ts';
import { CHUNKS_PREFIX, chunkKey, parseChunkKey } from '../../shared/format/names.ts';
import type { LoadedChunk } from '../../workers/contract/writer.ts';
import type { TaskPool } from '../pool/pool.ts';
import type { ReadableStore } from '../store/store.ts';
import { findingOf } from './finding.ts';
import type { ChunkLook } from './log-check.ts';

/** What is fetched or opened ahead: at most so many objects, and bytes of them. */
const AHEAD_OBJECTS_MAX = 32;
const AHEAD_BYTES_MAX = 64 * 1024 * 1024;

export interface ChunkSourceParts {
  readonly store: Pick<ReadableStore, 'get' | 'list'>;
  readonly pool: Pick<TaskPool, 'open'>;
}

/** An object under a chunk's name, as it was found. */
export interface ReadChunk {
  readonly sequence: number;
  readonly bytes: number;
  readonly look: ChunkLook;
  /** Undefined if it can't be read. */
  readonly chunk: LoadedChunk | undefined;
}

/** Every object of a store that has a chunk's name, in the log's order, damaged or not. */
export class ChunkSource {
  readonly #parts: ChunkSourceParts;

  constructor(parts: ChunkSourceParts) {
    this.#parts = parts;
  }

  /** Those from a sequence on; several are under way at a time. Rejects with a `StoreError`. */
  async *from(first: number): AsyncGenerator<ReadChunk> {
    const ahead: { size: number; read: Promise<ReadChunk> }[] = [];
    let bytes = 0;
    const startAfter = first > 1 ? chunkKey(first - 1) : undefined;
    for await (const { key, size } of this.#parts.store.list(CHUNKS_PREFIX, startAfter)) {
      const sequence = parseChunkKey(key);
      if (sequence === undefined) continue;
      while (ahead.length >= AHEAD_OBJECTS_MAX || (ahead.length > 0 && bytes + size > AHEAD_BYTES_MAX)) {
        const next = ahead.shift()!;
        bytes -= next.size;
        yield await next.read;
      }
      const read = this.#read(sequence, size);
      // A failure is met when its turn comes.
      read.catch(() => undefined);
      ahead.push({ size, read });
      bytes += size;
    }
    for (const { read } of ahead) yield await read;
  }

  /** One chunk of the log, once more. */
  async open(sequence: number): Promise<LoadedChunk> {
    const { chunk } = await this.#read(sequence, 0);
    if (chunk === undefined) throw new Error(`${chunkKey(sequence)} changed while it was verified`);
    return chunk;
  }

  /** Whether there is a chunk of that name by now. */
  async has(sequence: number): Promise<boolean> {
    return (await this.#parts.store.get(chunkKey(sequence))) !== undefined;
  }

  async #read(sequence: number, bytes: number): Promise<ReadChunk> {
    const { store, pool } = this.#parts;
    const key = chunkKey(sequence);
    const object = await store.get(key);
    if (object === undefined) return { sequence, bytes, look: {}, chunk: undefined };
    try {
      const chunk = await pool.open(key, sequence, object);
      const { header } = decodeHeader(chunk.header, key);
      const { previousChunkCrc, crc, lastRevision } = chunk;
      // An epoch chunk is small.
      const records = chunk.skipTo === undefined ? [] : decodeBody(chunk.body, header, key).records;
      const claim = records.find(({ epoch }) => epoch !== undefined)?.epoch;
      const facts = { epoch: header.epoch, previousChunkCrc, crc, lastRevision, claim };
      return {
        sequence,
        bytes,
        look: { facts },
        chunk,
      };
    } catch (error) {
      if (!(error instanceof CorruptFileError)) throw error;
      return { sequence, bytes, look: { damage: findingOf(error) }, chunk: undefined };
    }
  }
}
