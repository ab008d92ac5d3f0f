import { PACK_FRAME_BYTES } from '../../shared/format/pack.ts';
import type { PackedFrame, StoredChunk } from '../../workers/contract/task.ts';
import type { TaskPool } from '../pool/pool.ts';
import type { Frames } from '../recovery/open-pack.ts';

/** A chunk that this process wrote and that is durable. */
export interface WrittenChunk extends StoredChunk {
  /** Of the object without compression. */
  readonly contentBytes: number;
}

/** What is held, and how much of it there is. */
interface Held {
  readonly frames: PackedFrame[];
  /** Of the frames, and of the chunks that are in none yet, as they are in the store. */
  bytes: number;
}

/**
 * The chunks that this process wrote lately, as frames of the next pack: compressed while they are in memory, so that
 * merging them reads nothing back. What it forgot, because it would have been too much, is in the store.
 */
export class FreshFrames {
  readonly #pool: Pick<TaskPool, 'packFrame'>;
  readonly #bytesMax: number;
  #held: Held = { frames: [], bytes: 0 };
  /** Of the frame that is not closed yet. */
  #chunks: StoredChunk[] = [];
  #contentBytes = 0;
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
    if (sequence !== this.#next || this.#held.bytes + object.length > this.#bytesMax) this.#forget();
    this.#next = sequence + 1;
    this.#chunks.push({ sequence, object });
    this.#contentBytes += contentBytes;
    this.#held.bytes += object.length;
    if (this.#contentBytes >= PACK_FRAME_BYTES) this.#close();
  }

  /** All that is held, if anything is, and then holds nothing. Rejects when a frame could not be made. */
  async take(): Promise<Frames | undefined> {
    this.#close();
    await this.#packing;
    const frames = this.#held.frames.splice(0);
    for (const { stored } of frames) this.#held.bytes -= stored.length;
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure !== undefined) throw failure;
    const [first, last] = [frames[0], frames[frames.length - 1]];
    if (first === undefined || last === undefined) return undefined;
    const records = frames.reduce((sum, frame) => sum + frame.records, 0);
    return { frames, records, previousChunkCrc: first.previousChunkCrc, createdAtMs: last.createdAtMs };
  }

  #close(): void {
    const chunks = this.#chunks;
    if (chunks.length === 0) return;
    const held = this.#held;
    this.#chunks = [];
    this.#contentBytes = 0;
    const before = this.#packing;
    const packed = this.#pool.packFrame(chunks);
    this.#packing = (async () => {
      try {
        const frame = await packed;
        await before;
        held.frames.push(frame);
        held.bytes += frame.stored.length;
        for (const { object } of chunks) held.bytes -= object.length;
      } catch (error) {
        if (held !== this.#held) return;
        this.#forget();
        this.#failure = error;
      }
    })();
  }

  #forget(): void {
    this.#held = { frames: [], bytes: 0 };
    this.#chunks = [];
    this.#contentBytes = 0;
  }
}
