import { PACK_FRAME_BYTES } from '../../shared/format/pack.ts';
import type { PackedFrame, StoredChunk } from '../../workers/contract/task.ts';
import type { TaskPool } from '../pool/pool.ts';
import type { Frames } from '../recovery/open-pack.ts';

/** A chunk that this process wrote and that is durable. */
export interface WrittenChunk extends StoredChunk {
  /** Of the object without compression. */
  readonly contentBytes: number;
}

/**
 * The chunks that this process wrote lately, as frames of the next pack: compressed while they are in memory, so that
 * merging them reads nothing back. What it forgot, because it would have been too much, is in the store.
 */
export class FreshFrames {
  readonly #pool: Pick<TaskPool, 'packFrame'>;
  readonly #bytesMax: number;
  /** Those that are ready; another list when what was held is forgotten. */
  #frames: PackedFrame[] = [];
  /** Of the frame that is not closed yet. */
  #chunks: StoredChunk[] = [];
  #contentBytes = 0;
  /** Of the frames, and of chunks that are in none yet, also of forgotten ones that the pool still has. */
  #bytes = 0;
  #next = 0;
  /** Frames become ready in their order. Never rejects. */
  #packing: Promise<void> = Promise.resolve();
  #failure: unknown;

  constructor(pool: Pick<TaskPool, 'packFrame'>, bytesMax: number) {
    this.#pool = pool;
    this.#bytesMax = bytesMax;
  }

  /** Chunks come in the log's order. `object` must not change any more. */
  add({ sequence, object, contentBytes }: WrittenChunk): void {
    if (sequence !== this.#next || !this.#hasRoom(object)) this.#forget();
    // The pool is behind.
    if (!this.#hasRoom(object)) return;
    this.#next = sequence + 1;
    this.#chunks.push({ sequence, object });
    this.#contentBytes += contentBytes;
    this.#bytes += object.length;
    if (this.#contentBytes >= PACK_FRAME_BYTES) this.#close();
  }

  /** All that is held, if anything is, and then holds nothing. Rejects when a frame could not be made. */
  async take(): Promise<Frames | undefined> {
    this.#close();
    await this.#packing;
    const frames = this.#frames.splice(0);
    for (const { stored } of frames) this.#bytes -= stored.length;
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure !== undefined) throw failure;
    const [first, last] = [frames[0], frames[frames.length - 1]];
    if (first === undefined || last === undefined) return undefined;
    const records = frames.reduce((sum, frame) => sum + frame.records, 0);
    return { frames, records, previousChunkCrc: first.previousChunkCrc, createdAtMs: last.createdAtMs };
  }

  #hasRoom(object: Uint8Array): boolean {
    return this.#bytes + object.length <= this.#bytesMax;
  }

  #close(): void {
    const chunks = this.#chunks;
    if (chunks.length === 0) return;
    this.#chunks = [];
    this.#contentBytes = 0;
    this.#packing = this.#pack(chunks, this.#frames, this.#packing);
  }

  /** Adds the frame of `chunks` to `frames` when those `before` it are there. */
  async #pack(chunks: StoredChunk[], frames: PackedFrame[], before: Promise<void>): Promise<void> {
    const packed = this.#pool.packFrame(chunks);
    try {
      const frame = await packed;
      await before;
      if (frames !== this.#frames) return;
      frames.push(frame);
      this.#bytes += frame.stored.length;
    } catch (error) {
      if (frames !== this.#frames) return;
      this.#forget();
      this.#failure = error;
    } finally {
      for (const { object } of chunks) this.#bytes -= object.length;
    }
  }

  #forget(): void {
    for (const { stored } of this.#frames) this.#bytes -= stored.length;
    for (const { object } of this.#chunks) this.#bytes -= object.length;
    this.#frames = [];
    this.#chunks = [];
    this.#contentBytes = 0;
  }
}
