import { assert } from './assert.ts';

/**
 * Many byte strings in one transferable buffer: threads exchange one message per batch, not one per
 * request. A frame is `tag u32, length u32, bytes`, little-endian.
 */

const FRAME_HEADER_BYTES = 8;
const INITIAL_BYTES = 4096;
/** A buffer no larger than this is kept for what is packed next. */
const KEPT_BYTES_MAX = 4 * 1024 * 1024;

/**
 * Packs frames, in a buffer that is kept from one `finish` to the next: growing it anew for each batch made most of the
 * memory that V8 had to collect.
 */
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

  /** The packed frames in a buffer of their own, ready to be transferred. Empties the writer. */
  finish(): Uint8Array<ArrayBuffer> {
    const packed = this.#bytes.subarray(0, this.#length);
    const isKept = this.#bytes.length <= KEPT_BYTES_MAX;
    if (!isKept) this.#use(new Uint8Array(INITIAL_BYTES));
    this.#length = 0;
    this.#count = 0;
    return isKept ? packed.slice() : packed;
  }

  #reserve(extra: number): void {
    const needed = this.#length + extra;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#use(grown);
  }

  #use(bytes: Uint8Array<ArrayBuffer>): void {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
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

  /** Whether there is a frame after the one last read. */
  get more(): boolean {
    return this.#position < this.#bytes.length;
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
