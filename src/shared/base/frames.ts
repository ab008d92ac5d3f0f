import { assert } from './assert.ts';

/**
 * Many byte strings in one transferable buffer: threads exchange one message per batch, not one per
 * request. A frame is `tag u32, length u32, bytes`, little-endian.
 */

const FRAME_HEADER_BYTES = 8;
const INITIAL_BYTES = 4096;

/** Packs frames. Not reusable after `finish`. */
export class FrameWriter {
  #bytes = new Uint8Array(INITIAL_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;
  #count = 0;

  /** Frames added so far. */
  get count(): number {
    return this.#count;
  }

  /** Bytes used so far. */
  get length(): number {
    return this.#length;
  }

  /** Copies `bytes` in as one frame. `tag` is a u32 whose meaning is the caller's. */
  add(tag: number, bytes: Uint8Array): void {
    this.#reserve(FRAME_HEADER_BYTES + bytes.length);
    this.#view.setUint32(this.#length, tag, true);
    this.#view.setUint32(this.#length + 4, bytes.length, true);
    this.#bytes.set(bytes, this.#length + FRAME_HEADER_BYTES);
    this.#length += FRAME_HEADER_BYTES + bytes.length;
    this.#count++;
  }

  /** The packed frames in a buffer of their own, ready to be transferred. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length);
  }

  #reserve(extra: number): void {
    const needed = this.#length + extra;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}

/** Reads frames in order, without copying. */
export class FrameReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #position = 0;
  /** Of the frame last read. */
  tag = 0;
  /** Of the frame last read; a view into the packed buffer. */
  payload: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.payload = bytes.subarray(0, 0);
  }

  /** Moves to the next frame; false at the end. */
  next(): boolean {
    if (this.#position === this.#bytes.length) return false;
    assert(this.#position + FRAME_HEADER_BYTES <= this.#bytes.length, 'truncated frame header');
    const length = this.#view.getUint32(this.#position + 4, true);
    const start = this.#position + FRAME_HEADER_BYTES;
    assert(start + length <= this.#bytes.length, 'truncated frame');
    this.tag = this.#view.getUint32(this.#position, true);
    this.payload = this.#bytes.subarray(start, start + length);
    this.#position = start + length;
    return true;
  }
}
