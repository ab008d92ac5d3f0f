import { encodeInteger, encodeString } from '../../shared/base/hpack.ts';
import {
  encodeFrame,
  FLAG,
  FRAME_HEADER_BYTES,
  FRAME_PAYLOAD_BYTES_MAX,
  FRAME_TYPE,
} from './http2-frames.ts';
import type { CallFailure } from './status.ts';

/**
 * Frames of answers. Their header blocks hold literals that enter no table, so HPACK's table of this direction is
 * node's alone. The fields are grpc-js's.
 */

const STATUS_200 = Buffer.of(0x88);

function literal(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.of(0), encodeString(name), encodeString(value)]);
}

const CONTENT_TYPE = literal('content-type', 'application/grpc+proto');
const FIELDS = Buffer.concat([
  STATUS_200,
  CONTENT_TYPE,
  literal('grpc-accept-encoding', 'identity,deflate,gzip'),
  literal('grpc-encoding', 'identity'),
]);
/** A dynamic table size update (RFC 7541, section 6.3). */
const TABLE_SIZE = { prefixBits: 5, pattern: 0x20 } as const;
const NOTHING = Buffer.alloc(0);
const STREAM_AT = 5;

const ENDS = FLAG.endHeaders | FLAG.endStream;
const OK = Buffer.concat([literal('grpc-status', '0'), literal('grpc-message', 'OK')]);
/** What ends an answer that is no failure; `onStream` says which. */
export const TRAILERS = encodeFrame(FRAME_TYPE.headers, ENDS, 0, OK);

/** The header blocks that one connection's answers begin and end with. */
export class AnswerBlocks {
  #tableSize: Buffer = NOTHING;
  /** What an answer begins with; `onStream` says which. */
  headers: Buffer = encodeFrame(FRAME_TYPE.headers, FLAG.endHeaders, 0, FIELDS);

  /**
   * The client has made HPACK's table smaller before anything was sent: the first block that comes after must say so,
   * whether it is node's or one from here, and it does no harm to say it in each.
   */
  shrinkTable(bytes: number): void {
    this.#tableSize = encodeInteger(bytes, TABLE_SIZE.prefixBits, TABLE_SIZE.pattern);
    const fields = Buffer.concat([this.#tableSize, FIELDS]);
    this.headers = encodeFrame(FRAME_TYPE.headers, FLAG.endHeaders, 0, fields);
  }

  /** The last frames of a call with that status, or its only ones when it has not `begun` an answer. */
  status(stream: number, { code, details }: CallFailure, begun: boolean): Buffer {
    const fields = [literal('grpc-status', String(code)), literal('grpc-message', encodeURI(details))];
    const block = begun ? fields : [this.#tableSize, STATUS_200, ...fields, CONTENT_TYPE];
    return endingBlock(stream, Buffer.concat(block));
  }
}

function endingBlock(stream: number, fields: Buffer): Buffer {
  const frames: Buffer[] = [];
  for (let at = 0; at === 0 || at < fields.length; at += FRAME_PAYLOAD_BYTES_MAX) {
    const last = at + FRAME_PAYLOAD_BYTES_MAX >= fields.length;
    const flags = (at === 0 ? FLAG.endStream : 0) | (last ? FLAG.endHeaders : 0);
    const type = at === 0 ? FRAME_TYPE.headers : FRAME_TYPE.continuation;
    frames.push(encodeFrame(type, flags, stream, fields.subarray(at, at + FRAME_PAYLOAD_BYTES_MAX)));
  }
  return frames.length === 1 ? frames[0]! : Buffer.concat(frames);
}

/** A copy of a frame, on that stream. */
export function onStream(frame: Buffer, stream: number): Buffer {
  const copy = Buffer.from(frame);
  copy.writeUInt32BE(stream, STREAM_AT);
  return copy;
}

/** Writes a frame to `out`, on that stream; returns where it ends. */
export function writeOnStream(out: Buffer, at: number, frame: Buffer, stream: number): number {
  out.set(frame, at);
  out.writeUInt32BE(stream, at + STREAM_AT);
  return at + frame.length;
}

/** Writes the head of a DATA frame; returns where its payload begins. */
export function writeDataHead(out: Buffer, at: number, payloadBytes: number, stream: number): number {
  out.writeUIntBE(payloadBytes, at, 3);
  out[at + 3] = FRAME_TYPE.data;
  out[at + 4] = 0;
  return out.writeUInt32BE(stream, at + STREAM_AT);
}

/** The head of a DATA frame. */
export function dataHead(payloadBytes: number, stream: number): Buffer {
  const head = Buffer.allocUnsafe(FRAME_HEADER_BYTES);
  writeDataHead(head, 0, payloadBytes, stream);
  return head;
}
