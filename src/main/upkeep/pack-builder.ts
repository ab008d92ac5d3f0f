import { assert } from '../../shared/base/assert.ts';
import type { PackFrame } from '../../shared/format/file.ts';
import { encodePackHeader, lastOfFrame, PACK_FRAME_BYTES } from '../../shared/format/pack.ts';
import type { LoadedChunk } from '../../workers/contract/writer.ts';
import type { TaskPool } from '../pool/pool.ts';
import type { LogStart } from '../recovery/log-reader.ts';
import type { Frames } from '../recovery/open-pack.ts';

/** Makes a pack of what follows in the log. Holds all of it. */
export class PackBuilder {
  readonly #pool: Pick<TaskPool, 'compress'>;
  readonly #frames: PackFrame[] = [];
  readonly #stored: Uint8Array[] = [];
  #content: Uint8Array[] = [];
  #contentBytes = 0;
  #contentChunks = 0;
  readonly #previousChunkCrc: bigint;
  #end: LogStart;
  /** Of closed frames, as they are stored. */
  bytes = 0;
  chunks = 0;
  #records = 0;
  #createdAtMs = 0;

  /** Of what comes after `from`. */
  constructor(pool: Pick<TaskPool, 'compress'>, from: LogStart) {
    this.#pool = pool;
    this.#previousChunkCrc = from.chunkCrc;
    this.#end = from;
  }

  /** Where the log goes on behind what was added. */
  get end(): LogStart {
    return this.#end;
  }

  /** Resolves to whether a frame was closed. The chunk follows. */
  async add(chunk: LoadedChunk): Promise<boolean> {
    const { sequence, crc, skipTo, header, body } = chunk;
    this.#end = { sequence, chunkCrc: crc, nextSequence: skipTo ?? sequence + 1 };
    this.#content.push(header, body);
    this.#contentBytes += header.length + body.length;
    this.#contentChunks++;
    this.chunks++;
    this.#records += chunk.records;
    this.#createdAtMs = chunk.createdAtMs;
    // Within a frame sequences follow each other.
    if (this.#contentBytes < PACK_FRAME_BYTES && skipTo === undefined) return false;
    await this.#close();
    return true;
  }

  /** Whether `frames` follow. */
  takes({ frames, previousChunkCrc }: Frames): boolean {
    const { nextSequence, chunkCrc } = this.#end;
    return frames[0]?.frame.first === nextSequence && previousChunkCrc === chunkCrc;
  }

  /** Takes whole frames that follow. */
  async addFrames(added: Frames): Promise<void> {
    assert(this.takes(added), 'frames follow what is there');
    await this.#close();
    for (const { frame, stored } of added.frames) {
      this.#take(frame, stored);
      this.chunks += frame.chunks;
      const { lastCrc: chunkCrc, nextSequence } = frame;
      this.#end = { sequence: lastOfFrame(frame), chunkCrc, nextSequence };
    }
    this.#records += added.records;
    this.#createdAtMs = added.createdAtMs;
  }

  /** The pack of what was added, which is one chunk or more, from the sequence `first` to `last`. */
  async finish(): Promise<{ object: Uint8Array; first: number; last: number }> {
    await this.#close();
    const header = encodePackHeader({
      frames: this.#frames,
      previousChunkCrc: this.#previousChunkCrc,
      records: this.#records,
      createdAtMs: this.#createdAtMs,
    });
    const object = Buffer.concat([header, ...this.#stored]);
    return { object, first: this.#frames[0]!.first, last: this.#end.sequence };
  }

  async #close(): Promise<void> {
    if (this.#contentChunks === 0) return;
    const chunks = this.#contentChunks;
    const content = Buffer.concat(this.#content);
    const { sequence, chunkCrc: lastCrc, nextSequence } = this.#end;
    this.#content = [];
    this.#contentBytes = 0;
    this.#contentChunks = 0;
    const stored = await this.#pool.compress(content);
    const [bytes, contentBytes] = [stored.length, content.length];
    this.#take({ first: sequence - chunks + 1, chunks, nextSequence, bytes, contentBytes, lastCrc }, stored);
  }

  #take(frame: PackFrame, stored: Uint8Array): void {
    this.#frames.push(frame);
    this.#stored.push(stored);
    this.bytes += stored.length;
  }
}
