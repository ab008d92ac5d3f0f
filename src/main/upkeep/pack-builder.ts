import type { PackFrame } from '../../shared/format/file.ts';
import { encodePackHeader, PACK_FRAME_BYTES } from '../../shared/format/pack.ts';
import type { LoadedChunk } from '../../workers/contract/writer.ts';
import type { TaskPool } from '../pool/pool.ts';

/** Makes a pack of chunks that follow each other in the log. Holds all of it. */
export class PackBuilder {
  readonly #pool: Pick<TaskPool, 'compress'>;
  readonly #frames: PackFrame[] = [];
  readonly #stored: Uint8Array[] = [];
  #content: Uint8Array[] = [];
  #contentBytes = 0;
  #contentChunks = 0;
  #first: LoadedChunk | undefined;
  #last: LoadedChunk | undefined;
  /** Of closed frames, as they are stored. */
  bytes = 0;
  chunks = 0;
  #records = 0;

  constructor(pool: Pick<TaskPool, 'compress'>) {
    this.#pool = pool;
  }

  /** Resolves to whether a frame was closed. */
  async add(chunk: LoadedChunk): Promise<boolean> {
    this.#first ??= chunk;
    this.#last = chunk;
    this.#content.push(chunk.header, chunk.body);
    this.#contentBytes += chunk.header.length + chunk.body.length;
    this.#contentChunks++;
    this.chunks++;
    this.#records += chunk.records;
    // Within a frame sequences follow each other.
    if (this.#contentBytes < PACK_FRAME_BYTES && chunk.skipTo === undefined) return false;
    await this.#close();
    return true;
  }

  /** The pack of what was added, which is one chunk or more, from the sequence `first` to `last`. */
  async finish(): Promise<{ object: Uint8Array; first: number; last: number }> {
    await this.#close();
    const [first, last] = [this.#first!, this.#last!];
    const header = encodePackHeader({
      frames: this.#frames,
      previousChunkCrc: first.previousChunkCrc,
      records: this.#records,
      createdAtMs: last.createdAtMs,
    });
    const object = Buffer.concat([header, ...this.#stored]);
    return { object, first: first.sequence, last: last.sequence };
  }

  async #close(): Promise<void> {
    if (this.#contentChunks === 0) return;
    const { sequence, skipTo, crc } = this.#last!;
    const chunks = this.#contentChunks;
    const content = Buffer.concat(this.#content);
    const contentBytes = content.length;
    this.#content = [];
    this.#contentBytes = 0;
    this.#contentChunks = 0;
    const stored = await this.#pool.compress(content);
    this.#frames.push({
      first: sequence - chunks + 1,
      chunks,
      nextSequence: skipTo ?? sequence + 1,
      bytes: stored.length,
      contentBytes,
      lastCrc: crc,
    });
    this.#stored.push(stored);
    this.bytes += stored.length;
  }
}
