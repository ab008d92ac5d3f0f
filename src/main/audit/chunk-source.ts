import { CorruptFileError, hex64 } from '../../shared/format/corrupt.ts';
import { decodeBody, decodeHeader } from '../../shared/format/decode.ts';
import { CHUNKS_PREFIX, chunkKey, parseChunkKey } from '../../shared/format/names.ts';
import { originOfChunk } from '../../shared/format/origin.ts';
import type { LoadedChunk } from '../../workers/contract/writer.ts';
import type { TaskPool } from '../pool/pool.ts';
import { listPacks } from '../recovery/log-objects.ts';
import { LogReader } from '../recovery/log-reader.ts';
import { OpenPack } from '../recovery/open-pack.ts';
import type { ReadableStore } from '../store/store.ts';
import { type Finding, findingOf } from './finding.ts';
import type { ChunkLook } from './log-check.ts';

/** What is fetched or opened ahead: at most so many objects, and bytes of them. */
const AHEAD_OBJECTS_MAX = 32;
const AHEAD_BYTES_MAX = 64 * 1024 * 1024;

export interface ChunkSourceParts {
  readonly store: Pick<ReadableStore, 'get' | 'list'>;
  readonly pool: Pick<TaskPool, 'open' | 'openFrame'>;
}

/** An object under a chunk's name, as it was found. */
export interface ReadChunk {
  readonly sequence: number;
  readonly bytes: number;
  readonly look: ChunkLook;
  /** Undefined if it can't be read. */
  readonly chunk: LoadedChunk | undefined;
}

/** Every chunk of a store, an object of its own or in a pack, in the log's order, damaged or not. */
export class ChunkSource {
  readonly #parts: ChunkSourceParts;
  readonly #reader: LogReader;
  /** What is wrong with packs, and with chunks that stand beside them, by object. */
  readonly #damages = new Map<string, Finding>();

  constructor(parts: ChunkSourceParts) {
    this.#parts = parts;
    this.#reader = new LogReader(parts);
  }

  readonly #asked = new Set<number>();

  get damages(): readonly Finding[] {
    return [...this.#damages.values()];
  }

  /** Those from a sequence on; several are under way at a time. Rejects with a `StoreError`. */
  async *from(first: number): AsyncGenerator<ReadChunk> {
    const packed = this.#packed(first);
    let next = await packed.next();
    for await (const read of this.#objects(first)) {
      for (; !next.done && next.value.sequence < read.sequence; next = await packed.next()) yield next.value;
      if (next.done || next.value.sequence > read.sequence) yield read;
      else {
        // Until it is deleted.
        this.#compare(next.value, read);
        yield { ...next.value, bytes: next.value.bytes + read.bytes };
        next = await packed.next();
      }
    }
    for (; !next.done; next = await packed.next()) yield next.value;
  }

  /** What packs hold from a sequence on, each chunk once; every pack is read. */
  async *#packed(first: number): AsyncGenerator<ReadChunk> {
    let next = first;
    for (const object of await listPacks(this.#parts.store)) {
      const bytes = await this.#parts.store.get(object.key);
      if (bytes === undefined) continue;
      const pack = await this.#noting(object.key, async () => new OpenPack(this.#parts, object, bytes));
      for (const frame of pack?.frames ?? []) {
        if (frame.nextSequence <= first) continue;
        const chunks = await this.#noting(object.key, () => pack!.open(frame, next));
        for (const chunk of chunks ?? []) {
          yield readOf(chunk, frame.bytes / frame.chunks, `${object.key} (chunk ${chunk.sequence})`);
          next = chunk.sequence + 1;
        }
      }
    }
  }

  /** What it opens; undefined if that is damaged, which is noted. */
  async #noting<T>(key: string, open: () => Promise<T>): Promise<T | undefined> {
    try {
      return await open();
    } catch (error) {
      if (!(error instanceof CorruptFileError)) throw error;
      if (!this.#damages.has(key)) this.#damages.set(key, findingOf(error));
      return undefined;
    }
  }

  /** An object and the same chunk in a pack. */
  #compare({ look: packed }: ReadChunk, { sequence, look }: ReadChunk): void {
    const object = chunkKey(sequence);
    const [expected, found] = [packed.facts, look.facts].map((facts) => facts && hex64(facts.crc));
    if (look.damage !== undefined) this.#damages.set(object, look.damage);
    else if (expected !== undefined && found !== undefined && expected !== found) {
      this.#damages.set(object, { object, place: 'footer', check: 'CRC64 in its pack', expected, found });
    }
  }

  /** The objects that have a chunk's name, from a sequence on. */
  async *#objects(first: number): AsyncGenerator<ReadChunk> {
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
    const chunk = await this.#reader.chunkAt(sequence);
    if (chunk === undefined) throw new Error(`${chunkKey(sequence)} changed while it was verified`);
    return chunk;
  }

  /** Whether there is a chunk of that name by now; false when asked again, since then it can't be had. */
  async has(sequence: number): Promise<boolean> {
    if (this.#asked.has(sequence)) return false;
    this.#asked.add(sequence);
    return this.#reader.has(sequence);
  }

  async #read(sequence: number, bytes: number): Promise<ReadChunk> {
    try {
      // One that is gone by now may have been merged.
      const chunk = await this.#reader.chunkAt(sequence);
      return chunk === undefined ? { sequence, bytes, look: {}, chunk } : readOf(chunk, bytes);
    } catch (error) {
      if (!(error instanceof CorruptFileError)) throw error;
      return { sequence, bytes, look: { damage: findingOf(error) }, chunk: undefined };
    }
  }
}

function readOf(chunk: LoadedChunk, bytes: number, object = chunkKey(chunk.sequence)): ReadChunk {
  const { sequence, previousChunkCrc, crc, lastRevision } = chunk;
  const key = chunkKey(sequence);
  const { header } = decodeHeader(chunk.header, key);
  // An epoch chunk is small.
  const records = chunk.skipTo === undefined ? [] : decodeBody(chunk.body, header, key).records;
  const claim = records.find(({ epoch }) => epoch !== undefined)?.epoch;
  const isOrigin = originOfChunk(chunk) !== undefined;
  const facts = { object, epoch: header.epoch, previousChunkCrc, crc, lastRevision, claim, isOrigin };
  return { sequence, bytes, look: { facts }, chunk };
}
