/** HTTP/2 frames (RFC 9113, section 4 and 6), as far as a client that sends unary calls needs them. */

export const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1');

export const frameType = {
  data: 0,
  headers: 1,
  resetStream: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const flags = { ack: 1, endStream: 1, endHeaders: 4, padded: 8, priority: 32 } as const;

/** Writes the nine bytes that stand before a payload of `length` bytes. */
export function frameHeader(
  target: Buffer,
  at: number,
  length: number,
  type: number,
  flag: number,
  stream: number,
): void {
  target.writeUIntBE(length, at, 3);
  target[at + 3] = type;
  target[at + 4] = flag;
  target.writeUInt32BE(stream, at + 5);
}

export function frame(type: number, flag: number, stream: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(9 + payload.length);
  frameHeader(bytes, 0, payload.length, type, flag, stream);
  bytes.set(payload, 9);
  return bytes;
}

/** The payload of a SETTINGS frame from identifiers and values. */
export function settingsPayload(settings: Record<number, number>): Buffer {
  const entries = Object.entries(settings);
  const payload = Buffer.alloc(entries.length * 6);
  entries.forEach(([name, value], index) => {
    payload.writeUInt16BE(Number(name), index * 6);
    payload.writeUInt32BE(value, index * 6 + 2);
  });
  return payload;
}

export type OnFrame = (type: number, flag: number, stream: number, payload: Buffer) => void;

/**
 * Cuts a stream of bytes into frames: padding and priority are taken off, and the pieces of a
 * header block are joined before it is handed on. Payloads are views of the bytes pushed.
 */
export class FrameReader {
  private readonly onFrame: OnFrame;
  private rest: Buffer = Buffer.alloc(0);
  private headers: { flag: number; stream: number; pieces: Buffer[] } | undefined;

  constructor(onFrame: OnFrame) {
    this.onFrame = onFrame;
  }

  push(bytes: Buffer): void {
    let buffer = this.rest.length === 0 ? bytes : Buffer.concat([this.rest, bytes]);
    let at = 0;
    while (buffer.length - at >= 9) {
      const length = buffer.readUIntBE(at, 3);
      if (buffer.length - at < 9 + length) break;
      const stream = buffer.readUInt32BE(at + 5) & 0x7fff_ffff;
      this.emit(buffer[at + 3]!, buffer[at + 4]!, stream, buffer.subarray(at + 9, at + 9 + length));
      at += 9 + length;
    }
    buffer = buffer.subarray(at);
    this.rest = buffer;
  }

  private emit(type: number, flag: number, stream: number, payload: Buffer): void {
    if (type === frameType.continuation) {
      this.continueHeaders(flag, payload);
      return;
    }
    const carriesPadding = type === frameType.data || type === frameType.headers;
    const body = carriesPadding ? withoutPadding(type, flag, payload) : payload;
    if (type === frameType.headers && !(flag & flags.endHeaders)) {
      this.headers = { flag, stream, pieces: [body] };
      return;
    }
    this.onFrame(type, flag, stream, body);
  }

  private continueHeaders(flag: number, payload: Buffer): void {
    if (!this.headers) throw new Error('CONTINUATION without HEADERS');
    this.headers.pieces.push(payload);
    if (!(flag & flags.endHeaders)) return;
    const { flag: firstFlag, stream, pieces } = this.headers;
    this.headers = undefined;
    this.onFrame(frameType.headers, firstFlag, stream, Buffer.concat(pieces));
  }
}

function withoutPadding(type: number, flag: number, payload: Buffer): Buffer {
  const padded = (flag & flags.padded) !== 0;
  const start = (padded ? 1 : 0) + (type === frameType.headers && flag & flags.priority ? 5 : 0);
  return payload.subarray(start, payload.length - (padded ? payload[0]! : 0));
}
