import type { PackFrame } from '../../shared/format/file.ts';
import { decodePackHeader, lastOfFrame, type PackHeader } from '../../shared/format/pack.ts';
import type { ChunkForm } from '../../workers/contract/task.ts';
import type { LoadedChunk } from '../../workers/contract/writer.ts';
import type { TaskPool } from '../pool/pool.ts';
import type { LogObject } from './log-objects.ts';

/** An object that was listed is not there any more. */
export class GoneError extends Error {
  override name = 'GoneError';
}

export interface OpenPackParts {
  readonly pool: Pick<TaskPool, 'openFrame'>;
  readonly form?: ChunkForm | undefined;
}

/** Frames that follow each other, as they are stored, and what the header of a pack says of them all. */
export interface Frames {
  readonly frames: readonly { readonly frame: PackFrame; readonly stored: Uint8Array }[];
  readonly records: number;
  /** Of the first chunk. */
  readonly previousChunkCrc: bigint;
  /** Of the last chunk. */
  readonly createdAtMs: number;
}

/** A pack whose bytes are here, to be opened frame by frame. */
export class OpenPack {
  readonly header: PackHeader;
  readonly #parts: OpenPackParts;
  readonly #object: LogObject;
  readonly #bytes: Uint8Array;

  /** Throws `CorruptFileError` if it is no whole pack by its header. */
  constructor(parts: OpenPackParts, object: LogObject, bytes: Uint8Array) {
    this.#parts = parts;
    this.#object = object;
    this.#bytes = bytes;
    this.header = decodePackHeader(bytes, object.key, object, bytes.length);
  }

  get frames(): readonly PackFrame[] {
    return this.header.pack;
  }

  /** All frames as they are in the pack: views. */
  get all(): Frames {
    const { recordsCount: records, previousChunkCrc, createdAtMs } = this.header;
    const frames = this.frames.map((frame) => ({ frame, stored: this.stored(frame) }));
    return { frames, records, previousChunkCrc, createdAtMs };
  }

  /** The chunks of a frame from `from` on, every CRC checked. Rejects with an error that names the pack. */
  open(frame: PackFrame, from: number): Promise<LoadedChunk[]> {
    const before = this.frames[this.frames.indexOf(frame) - 1];
    const previousChunkCrc = before?.lastCrc ?? this.header.previousChunkCrc;
    const offset = this.#offsetOf(frame);
    const place = { name: this.#object.key, offset, frame, previousChunkCrc };
    // A copy, since it is handed to another thread.
    const bytes = new Uint8Array(this.stored(frame));
    return this.#parts.pool.openFrame({ place, bytes, from, form: this.#parts.form ?? 'bytes' });
  }

  /** A frame as it is in the pack: a view. */
  stored(frame: PackFrame): Uint8Array {
    const offset = this.#offsetOf(frame);
    return this.#bytes.subarray(offset, offset + frame.bytes);
  }

  /** The chunk at `sequence`; undefined if the pack has none there. */
  async chunkAt(sequence: number): Promise<LoadedChunk | undefined> {
    const frame = this.frames.find((frame) => frame.first <= sequence && sequence <= lastOfFrame(frame));
    return frame && (await this.open(frame, sequence))[0];
  }

  #offsetOf(frame: PackFrame): number {
    let offset = this.header.byteLength;
    for (const each of this.frames) {
      if (each === frame) return offset;
      offset += each.bytes;
    }
    return offset;
  }
}
