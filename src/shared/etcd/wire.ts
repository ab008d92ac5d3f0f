/**
 * Protocol Buffers' wire format over `Uint8Array`, for the messages that are decoded and encoded by hand.
 * The rules are those of Go's decoder, because etcd's clients and tests know no other: a known field with
 * another wire type is an unknown field, scalars take their last value, enums are open, and a boolean is
 * any varint but zero. Source: protobuf.dev/programming-guides/encoding and google.golang.org/protobuf.
 */

/** The bytes are not a message: truncated, overlong, or with a tag that does not exist. */
export class MalformedMessageError extends Error {
  override name = 'MalformedMessageError';
}

/** The empty byte string that decoders give for an absent field. */
export const EMPTY_BYTES: Uint8Array = new Uint8Array(0);

const TWO_POW_32 = 4_294_967_296;
const FIELD_NUMBER_MAX = 536_870_911;
/** Go's decoder looks less closely at what it skips. */
const FIELD_NUMBER_MAX_IN_GROUP = 2_147_483_647;
const GROUP_DEPTH_MAX = 10_000;

const WIRE_VARINT = 0;
const WIRE_FIXED64 = 1;
const WIRE_BYTES = 2;
const WIRE_START_GROUP = 3;
const WIRE_END_GROUP = 4;
const WIRE_FIXED32 = 5;

/**
 * Reads one message, and with `enter` and `leave` the messages nested in it. Byte fields are views of the
 * input, not copies: they keep it alive and change with it. Every method but `more` and `leave` may throw
 * `MalformedMessageError`.
 */
export class Reader {
  readonly #buffer: Uint8Array;
  #position: number;
  #limit: number;
  /** Halves of the last 64-bit varint, unsigned. */
  #low = 0;
  #high = 0;

  constructor(buffer: Uint8Array) {
    this.#buffer = buffer;
    this.#position = 0;
    this.#limit = buffer.length;
  }

  /** Where the next byte is read, counted from the start of the whole input. */
  get position(): number {
    return this.#position;
  }

  /** Whether the message being read has bytes left. */
  more(): boolean {
    return this.#position < this.#limit;
  }

  /** The next field's tag: field number × 8 + wire type. */
  tag(): number {
    const first = this.#buffer[this.#position] as number;
    if (this.#position < this.#limit && first < 0x80 && first > 7) {
      this.#position++;
      return first;
    }
    return this.#tag(FIELD_NUMBER_MAX);
  }

  #tag(fieldMax: number): number {
    const tag = this.varint();
    const field = Math.floor(tag / 8);
    if (field < 1 || field > fieldMax) throw new MalformedMessageError(`field number ${field}`);
    return tag;
  }

  /** A varint as an unsigned number; values of 2^53 and more are given as `Number.MAX_SAFE_INTEGER`. */
  varint(): number {
    const first = this.#buffer[this.#position] as number;
    if (first < 0x80 && this.#position < this.#limit) {
      this.#position++;
      return first;
    }
    this.#varint64();
    return Math.min(this.#high * TWO_POW_32 + this.#low, Number.MAX_SAFE_INTEGER);
  }

  /**
   * An int64 as a number. Values beyond ±(2^53 − 1) are clamped there, so that they still compare rightly
   * with every revision, version and count that exists.
   */
  int64(): number {
    const first = this.#buffer[this.#position] as number;
    if (first < 0x80 && this.#position < this.#limit) {
      this.#position++;
      return first;
    }
    this.#varint64();
    const value = (this.#high | 0) * TWO_POW_32 + this.#low;
    return Math.max(Math.min(value, Number.MAX_SAFE_INTEGER), Number.MIN_SAFE_INTEGER);
  }

  /** An int64, exact. */
  bigint64(): bigint {
    this.#varint64();
    return (BigInt(this.#high | 0) << 32n) | BigInt(this.#low);
  }

  /** An enum or int32: the low 32 bits, signed. */
  int32(): number {
    this.#varint64();
    return this.#low | 0;
  }

  /** A boolean. */
  bool(): boolean {
    this.#varint64();
    return this.#low !== 0 || this.#high !== 0;
  }

  /** A bytes field, as a view of the input. */
  bytes(): Uint8Array {
    const length = this.#length();
    if (length === 0) return EMPTY_BYTES;
    const start = this.#buffer.byteOffset + this.#position;
    this.#position += length;
    return new Uint8Array(this.#buffer.buffer, start, length);
  }

  /** Begins a nested message: until `leave`, reading ends where it ends. Gives what `leave` needs. */
  enter(): number {
    const length = this.#length();
    const outer = this.#limit;
    this.#limit = this.#position + length;
    return outer;
  }

  /** Ends a nested message that was read to its end. */
  leave(outer: number): void {
    this.#limit = outer;
  }

  /** Skips the value of the field whose `tag` was just read. */
  skip(tag: number): void {
    if ((tag & 7) === WIRE_START_GROUP) this.#skipGroup(tag);
    else this.#skipValue(tag & 7);
  }

  #skipValue(wireType: number): void {
    if (wireType === WIRE_VARINT) this.#varint64();
    else if (wireType === WIRE_BYTES) this.#advance(this.#length());
    else if (wireType === WIRE_FIXED64) this.#advance(8);
    else if (wireType === WIRE_FIXED32) this.#advance(4);
    else throw new MalformedMessageError(`wire type ${wireType}`);
  }

  /** A loop and not a recursion: how deep groups nest is the sender's choice. */
  #skipGroup(startTag: number): void {
    const open = [startTag];
    while (open.length > 0) {
      if (open.length > GROUP_DEPTH_MAX) throw new MalformedMessageError('groups nested too deeply');
      const tag = this.#tag(FIELD_NUMBER_MAX_IN_GROUP);
      const wireType = tag & 7;
      if (wireType === WIRE_START_GROUP) open.push(tag);
      else if (wireType !== WIRE_END_GROUP) this.#skipValue(wireType);
      else if (open.pop() !== tag - 1) throw new MalformedMessageError('end of another group');
    }
  }

  #advance(length: number): void {
    if (length > this.#limit - this.#position) throw new MalformedMessageError('truncated');
    this.#position += length;
  }

  #length(): number {
    const length = this.varint();
    if (length > this.#limit - this.#position) throw new MalformedMessageError('truncated');
    return length;
  }

  #byte(): number {
    if (this.#position >= this.#limit) throw new MalformedMessageError('truncated');
    return this.#buffer[this.#position++] as number;
  }

  /** Reads a varint of at most ten bytes into `#low` and `#high`. */
  #varint64(): void {
    this.#high = 0;
    let low = 0;
    let byte = 0x80;
    for (let shift = 0; byte >= 0x80 && shift < 28; shift += 7) {
      byte = this.#byte();
      low |= (byte & 0x7f) << shift;
    }
    if (byte >= 0x80) {
      byte = this.#byte();
      low |= (byte & 0x0f) << 28;
      this.#high = (byte & 0x7f) >>> 4;
      if (byte >= 0x80) this.#varintHigh();
    }
    this.#low = low >>> 0;
  }

  /** Bytes six to ten, which hold bits 35 to 63. */
  #varintHigh(): void {
    let high = this.#high;
    let byte = 0x80;
    for (let shift = 3; byte >= 0x80 && shift < 31; shift += 7) {
      byte = this.#byte();
      high |= (byte & 0x7f) << shift;
    }
    if (byte >= 0x80) {
      byte = this.#byte();
      if (byte > 1) throw new MalformedMessageError('varint past 64 bits');
      high |= byte << 31;
    }
    this.#high = high >>> 0;
  }
}

/** How many bytes `Writer.varint` writes for an integer in [0, 2^53). */
export function varintSize(value: number): number {
  if (value < 0x80) return 1;
  if (value < 0x4000) return 2;
  if (value < 0x20_0000) return 3;
  let size = 4;
  for (let rest = Math.floor(value / 0x1000_0000); rest > 0; rest = Math.floor(rest / 128)) size++;
  return size;
}

/** How many bytes an int64 takes. */
export function int64Size(value: number): number {
  return value < 0 ? 10 : varintSize(value);
}

/** How many bytes an exact int64 or uint64 takes. */
export function bigint64Size(value: bigint): number {
  const unsigned = BigInt.asUintN(64, value);
  if (unsigned <= Number.MAX_SAFE_INTEGER) return varintSize(Number(unsigned));
  if (unsigned < 1n << 56n) return 8;
  return unsigned < 1n << 63n ? 9 : 10;
}

/** How many bytes `length` bytes take with their length before them. */
export function delimitedSize(length: number): number {
  return varintSize(length) + length;
}

const WRITER_BYTES_MIN = 64;
/** A buffer no larger than this is kept by `finish` for what is written next. */
export const KEPT_BYTES_MAX = 4 * 1024 * 1024;
const NO_BUFFER = new Uint8Array(0);

/**
 * Appends to one buffer, which doubles when it is full. Nested messages are written size first: whoever
 * knows the total gives it to the constructor, and then nothing is copied twice.
 */
export class Writer {
  #buffer: Uint8Array<ArrayBuffer>;
  #length = 0;

  constructor(capacity: number = WRITER_BYTES_MIN) {
    this.#buffer = new Uint8Array(capacity);
  }

  /** How many bytes were written. */
  get length(): number {
    return this.#length;
  }

  /** What was written, as a view that is valid until the next write or `reset`. */
  view(): Uint8Array<ArrayBuffer> {
    return this.#buffer.subarray(0, this.#length);
  }

  /**
   * What was written, in an ArrayBuffer of exactly that length which nobody else refers to (so it may be
   * transferred to another thread). Without a copy if the capacity was met exactly. Empties the writer.
   */
  finish(): Uint8Array<ArrayBuffer> {
    // Nobody may be given the buffer that all empty writers share.
    const exact = this.#length === this.#buffer.length && this.#length > 0;
    const bytes = exact ? this.#buffer : this.#buffer.slice(0, this.#length);
    if (exact || this.#buffer.length > KEPT_BYTES_MAX) this.#buffer = NO_BUFFER;
    this.#length = 0;
    return bytes;
  }

  /** Empties the writer and keeps its buffer. */
  reset(): void {
    this.#length = 0;
  }

  /** An integer in [0, 2^53) as a varint. */
  varint(value: number): void {
    this.#reserve(varintSize(value));
    const buffer = this.#buffer;
    let at = this.#length;
    let rest = value;
    while (rest >= 0x8000_0000) {
      buffer[at++] = (rest & 0x7f) | 0x80;
      rest = Math.floor(rest / 128);
    }
    while (rest >= 0x80) {
      buffer[at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    buffer[at++] = rest;
    this.#length = at;
  }

  /** A safe integer as an int64. */
  int64(value: number): void {
    if (value < 0) this.bigint64(BigInt(value));
    else this.varint(value);
  }

  /** An int64 or uint64, exact. */
  bigint64(value: bigint): void {
    const unsigned = BigInt.asUintN(64, value);
    if (unsigned <= Number.MAX_SAFE_INTEGER) {
      this.varint(Number(unsigned));
      return;
    }
    this.#reserve(4);
    let low = Number(unsigned & 0xfff_ffffn);
    for (let count = 0; count < 4; count++) {
      this.#buffer[this.#length++] = (low & 0x7f) | 0x80;
      low >>>= 7;
    }
    this.varint(Number(unsigned >> 28n));
  }

  /** `bytes` with their length before them. */
  delimited(bytes: Uint8Array): void {
    this.varint(bytes.length);
    this.raw(bytes);
  }

  /** `bytes` as they are. */
  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  #reserve(count: number): void {
    const needed = this.#length + count;
    if (needed > this.#buffer.length) this.#grow(needed);
  }

  #grow(needed: number): void {
    const grown = new Uint8Array(Math.max(needed, this.#buffer.length * 2, WRITER_BYTES_MIN));
    grown.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = grown;
  }
}
