/** HTTP/2 frames (RFC 9113, sections 4 and 6), as far as a connection is read before it is handed over. */

/** What a client sends first (section 3.4). */
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

export const FRAME_TYPE = {
  data: 0,
  headers: 1,
  priority: 2,
  resetStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const FLAG = { ack: 0x1, endStream: 0x1, endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const;

/** SETTINGS_MAX_FRAME_SIZE's initial value, which node's servers leave as it is. */
export const FRAME_PAYLOAD_BYTES_MAX = 16_384;
export const FRAME_HEADER_BYTES = 9;

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
  /** Header and payload as they came. */
  readonly bytes: Buffer;
}

/** Encodes one frame; the payload is at most `FRAME_PAYLOAD_BYTES_MAX` bytes. */
export function encodeFrame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(FRAME_HEADER_BYTES + payload.length);
  bytes.writeUIntBE(payload.length, 0, 3);
  bytes[3] = type;
  bytes[4] = flags;
  bytes.writeUInt32BE(stream, 5);
  bytes.set(payload, FRAME_HEADER_BYTES);
  return bytes;
}

/** A SETTINGS frame of identifiers and values (section 6.5.1). */
export function encodeSettings(settings: readonly (readonly [identifier: number, value: number])[]): Buffer {
  const payload = Buffer.alloc(settings.length * 6);
  settings.forEach(([identifier, value], index) => {
    payload.writeUInt16BE(identifier, index * 6);
    payload.writeUInt32BE(value, index * 6 + 2);
  });
  return encodeFrame(FRAME_TYPE.settings, 0, 0, payload);
}

/**
 * Cuts a stream of bytes into frames. It keeps less than one frame, or, when a frame is larger than allowed, all
 * that came since: then `tooLarge` is true, there are no more frames, and `rest` has it all.
 */
export class FrameCutter {
  #rest: Buffer = Buffer.alloc(0);
  #tooLarge = false;

  /** What is not part of a frame that was returned. */
  get rest(): Buffer {
    return this.#rest;
  }

  get tooLarge(): boolean {
    return this.#tooLarge;
  }

  push(bytes: Buffer): void {
    this.#rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
  }

  /** So many bytes that are no frame, when all of them are there. */
  take(length: number): Buffer | undefined {
    if (this.#rest.length < length) return undefined;
    const taken = this.#rest.subarray(0, length);
    this.#rest = this.#rest.subarray(length);
    return taken;
  }

  /** The next whole frame; views of the bytes pushed. */
  next(): Frame | undefined {
    const bytes = this.#rest;
    if (bytes.length < FRAME_HEADER_BYTES) return undefined;
    const length = bytes.readUIntBE(0, 3);
    this.#tooLarge = length > FRAME_PAYLOAD_BYTES_MAX;
    const end = FRAME_HEADER_BYTES + length;
    if (this.#tooLarge || bytes.length < end) return undefined;
    this.#rest = bytes.subarray(end);
    return {
      type: bytes.readUInt8(3),
      flags: bytes.readUInt8(4),
      stream: bytes.readUInt32BE(5) & 0x7fff_ffff,
      payload: bytes.subarray(FRAME_HEADER_BYTES, end),
      bytes: bytes.subarray(0, end),
    };
  }
}

/** A frame whose payload is one integer of 32 bits: RST_STREAM's error code, WINDOW_UPDATE's increment. */
export function encodeIntegerFrame(type: number, stream: number, value: number): Buffer {
  const payload = Buffer.allocUnsafe(4);
  payload.writeUInt32BE(value);
  return encodeFrame(type, 0, stream, payload);
}

/** Whether a frame carries a part of a header block. */
export function isBlockFrame({ type }: Frame): boolean {
  return type === FRAME_TYPE.headers || type === FRAME_TYPE.continuation;
}

/**
 * Joins HEADERS and its CONTINUATIONs (section 6.10) to one header block. After it has thrown, what was not part of
 * a whole block is in `bytes`, and it takes nothing more.
 */
export class BlockJoiner {
  #frames: Frame[] = [];

  /** True while a block is begun and not whole: then only a CONTINUATION may follow. */
  get open(): boolean {
    return this.#frames.length > 0;
  }

  /** The frames taken of a block that is not whole, and the one that `take` threw on. */
  get bytes(): Buffer {
    return Buffer.concat(this.#frames.map((frame) => frame.bytes));
  }

  /** Takes the next frame of a block; the block when this frame ends it. Throws on what section 6 forbids. */
  take(frame: Frame): HeaderBlock | undefined {
    const expected = this.open ? FRAME_TYPE.continuation : FRAME_TYPE.headers;
    this.#frames.push(frame);
    const [first = frame, ...rest] = this.#frames;
    if (frame.type !== expected || frame.stream !== first.stream)
      throw new Error('frames of a block are mixed');
    if (this.#frames.length > BLOCK_FRAMES_MAX) throw new Error('a header block of too many frames');
    if ((frame.flags & FLAG.endHeaders) === 0) return undefined;
    const { priority, fragment } = headersPayload(first);
    const fields = Buffer.concat([fragment, ...rest.map(({ payload }) => payload)]);
    const block = { first, priority, fields, bytes: this.bytes };
    this.#frames = [];
    return block;
  }
}

/** node takes 64 KiB of header block, which is 4 full frames; clients that cut smaller pieces are odd. */
const BLOCK_FRAMES_MAX = 64;
const PRIORITY_BYTES = 5;

export interface HeaderBlock {
  readonly first: Frame;
  /** The deprecated priority fields of HEADERS, empty when there are none. */
  readonly priority: Buffer;
  /** The HPACK block. */
  readonly fields: Buffer;
  /** The frames as they came. */
  readonly bytes: Buffer;
}

function headersPayload({ flags, payload }: Frame): { priority: Buffer; fragment: Buffer } {
  const padded = (flags & FLAG.padded) !== 0;
  const start = padded ? 1 : 0;
  const end = payload.length - (padded ? (payload[0] ?? 0) : 0);
  const fieldsAt = start + ((flags & FLAG.priority) === 0 ? 0 : PRIORITY_BYTES);
  if (fieldsAt > end) throw new Error('HEADERS is shorter than its padding and priority');
  return { priority: payload.subarray(start, fieldsAt), fragment: payload.subarray(fieldsAt, end) };
}

/** A header block as one HEADERS, and CONTINUATIONs when it is too long for one; without padding. */
export function encodeHeaders({ first, priority, fields }: Omit<HeaderBlock, 'bytes'>): Buffer {
  const payload = Buffer.concat([priority, fields]);
  const frames: Buffer[] = [];
  for (let at = 0; at === 0 || at < payload.length; at += FRAME_PAYLOAD_BYTES_MAX) {
    const last = at + FRAME_PAYLOAD_BYTES_MAX >= payload.length;
    const ends = last ? FLAG.endHeaders : 0;
    const type = at === 0 ? FRAME_TYPE.headers : FRAME_TYPE.continuation;
    const kept = at === 0 ? first.flags & ~FLAG.padded & ~FLAG.endHeaders : 0;
    frames.push(
      encodeFrame(type, kept | ends, first.stream, payload.subarray(at, at + FRAME_PAYLOAD_BYTES_MAX)),
    );
  }
  return Buffer.concat(frames);
}
