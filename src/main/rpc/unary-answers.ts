import type { Socket } from 'node:net';
import { encodeInteger, encodeString } from '../../shared/base/hpack.ts';
import { freeMemory } from '../../shared/base/own-memory.ts';
import { GrpcCode } from '../../shared/etcd/errors.ts';
import type { AnswerTurns, TurnTaker } from './answer-turns.ts';
import {
  encodeFrame,
  FLAG,
  FRAME_HEADER_BYTES,
  FRAME_PAYLOAD_BYTES_MAX,
  FRAME_TYPE,
} from './http2-frames.ts';
import { PREFIX_BYTES, type SocketCall } from './unary-call.ts';

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
const HEADERS = encodeFrame(FRAME_TYPE.headers, FLAG.endHeaders, 0, FIELDS);
/** A dynamic table size update (RFC 7541, section 6.3). */
const TABLE_SIZE = { prefixBits: 5, pattern: 0x20 } as const;
const ENDS = FLAG.endHeaders | FLAG.endStream;
const OK = Buffer.concat([literal('grpc-status', '0'), literal('grpc-message', 'OK')]);
const TRAILERS = encodeFrame(FRAME_TYPE.headers, ENDS, 0, OK);
/** Of a small answer, beside its headers and the message. */
const FRAMES_BYTES = FRAME_HEADER_BYTES + PREFIX_BYTES + TRAILERS.length;
/** One write of small answers is about so large. */
const WRITE_BYTES = 256 * 1024;
/** How much of one answer goes out before the next on its connection has its turn. */
const RUN_BYTES = 2 * FRAME_PAYLOAD_BYTES_MAX;

/** A failed call's only frames. */
function failureFrames({ stream, failure }: SocketCall, tableSize: Buffer): Buffer {
  const { code, details } = failure ?? { code: GrpcCode.Unknown, details: '' };
  const fields = Buffer.concat([
    tableSize,
    STATUS_200,
    literal('grpc-status', String(code)),
    literal('grpc-message', encodeURI(details)),
    CONTENT_TYPE,
  ]);
  const frames: Buffer[] = [];
  for (let at = 0; at === 0 || at < fields.length; at += FRAME_PAYLOAD_BYTES_MAX) {
    const last = at + FRAME_PAYLOAD_BYTES_MAX >= fields.length;
    const flags = (at === 0 ? FLAG.endStream : 0) | (last ? FLAG.endHeaders : 0);
    const type = at === 0 ? FRAME_TYPE.headers : FRAME_TYPE.continuation;
    frames.push(encodeFrame(type, flags, stream, fields.subarray(at, at + FRAME_PAYLOAD_BYTES_MAX)));
  }
  return frames.length === 1 ? frames[0]! : Buffer.concat(frames);
}

/** The client's window of the whole connection, which node's streams and ours share. */
export interface SendWindow {
  bytes: number;
  /** What we have taken of it and node does not know of yet. */
  owedBytes: number;
}

export interface AnswersEvents {
  /** Whether a frame may be sent: not while a header block of another's is open. */
  maySend(): boolean;
  /** A call's answer is with the socket. */
  sent(call: SocketCall): void;
}

/**
 * Sends answers: small ones many in one write, and at once; large ones when it is the connection's turn, as far as the
 * windows and the socket take them, a run of each after the other. A response is held once, until its last byte is handed
 * to the socket.
 */
export class UnaryAnswers implements TurnTaker {
  readonly #socket: Socket;
  readonly #window: SendWindow;
  readonly #turns: AnswerTurns;
  readonly #on: AnswersEvents;
  #headers: Buffer = HEADERS;
  #tableSize: Buffer = Buffer.alloc(0);
  #ready: SocketCall[] = [];
  /** Those that can't be sent at once. */
  readonly #waiting = new Set<SocketCall>();

  constructor(socket: Socket, window: SendWindow, turns: AnswerTurns, on: AnswersEvents) {
    this.#socket = socket;
    this.#window = window;
    this.#turns = turns;
    this.#on = on;
  }

  /**
   * The client has made HPACK's table smaller before anything was sent: the first block that comes after must say so,
   * whether it is node's or one from here, and it does no harm to say it in each.
   */
  shrinkTable(bytes: number): void {
    this.#tableSize = encodeInteger(bytes, TABLE_SIZE.prefixBits, TABLE_SIZE.pattern);
    this.#headers = encodeFrame(
      FRAME_TYPE.headers,
      FLAG.endHeaders,
      0,
      Buffer.concat([this.#tableSize, FIELDS]),
    );
  }

  add(call: SocketCall): void {
    this.#ready.push(call);
  }

  /** Forgets a call whose stream is reset. */
  remove(call: SocketCall): void {
    call.over = true;
    this.#waiting.delete(call);
  }

  /** Sends the small answers that can be sent now. Not to be called while `maySend` says no. */
  flush(): void {
    const socket = this.#socket;
    if (socket.destroyed || socket.writableNeedDrain) return;
    while (this.#ready.length > 0 && !socket.writableNeedDrain) this.#flushReady();
    if (this.#waiting.size > 0) this.#turns.add(this);
  }

  takeTurn(bytesMax: number): number {
    const socket = this.#socket;
    if (!this.#on.maySend() || socket.destroyed || socket.writableNeedDrain) return 0;
    let left = bytesMax;
    socket.cork();
    for (const call of this.#waiting) {
      if (left <= 0 || this.#window.bytes <= 0) break;
      const bytes = this.#advance(call, Math.min(left, RUN_BYTES));
      left -= bytes;
      if (bytes === 0 || !this.#waiting.delete(call)) continue;
      // To the end of the line, which this loop goes on to.
      this.#waiting.add(call);
    }
    socket.uncork();
    return bytesMax - left;
  }

  #flushReady(): void {
    const whole: SocketCall[] = [];
    let bytes = 0;
    let taken = 0;
    for (const call of this.#ready) {
      if (bytes >= WRITE_BYTES) break;
      taken++;
      if (call.over) continue;
      if (call.failure === undefined && !this.#takeWindow(call)) {
        this.#waiting.add(call);
        continue;
      }
      whole.push(call);
      if (call.failure !== undefined) call.response = failureFrames(call, this.#tableSize);
      bytes += call.response.length + (call.failure === undefined ? this.#headers.length + FRAMES_BYTES : 0);
    }
    this.#ready = taken === this.#ready.length ? [] : this.#ready.slice(taken);
    if (whole.length > 0) this.#socket.write(encodeWhole(whole, bytes, this.#headers));
    for (const call of whole) this.#on.sent(call);
  }

  /** Takes all that a small response needs, if it is there. */
  #takeWindow(call: SocketCall): boolean {
    const bytes = PREFIX_BYTES + call.response.length;
    if (bytes > FRAME_PAYLOAD_BYTES_MAX || bytes > call.windowBytes || bytes > this.#window.bytes)
      return false;
    this.#spend(call, bytes);
    return true;
  }

  #spend(call: SocketCall, bytes: number): void {
    call.windowBytes -= bytes;
    this.#window.bytes -= bytes;
    this.#window.owedBytes += bytes;
  }

  /** Sends at most so many bytes of an answer; answers how many. */
  #advance(call: SocketCall, bytesMax: number): number {
    const { stream, response } = call;
    const total = PREFIX_BYTES + response.length;
    const end = Math.min(total, call.sentBytes + Math.min(bytesMax, call.windowBytes, this.#window.bytes));
    const start = call.sentBytes;
    while (call.sentBytes < end) {
      const bytes = Math.min(end - call.sentBytes, FRAME_PAYLOAD_BYTES_MAX);
      if (call.sentBytes === 0) this.#socket.write(onStream(this.#headers, stream));
      this.#spend(call, bytes);
      const head = Buffer.allocUnsafe(FRAME_HEADER_BYTES);
      writeFrameHeader(head, 0, bytes, stream);
      this.#socket.write(head);
      this.#socket.write(slice(response, call.sentBytes, call.sentBytes + bytes));
      call.sentBytes += bytes;
    }
    if (call.sentBytes === total) {
      // After an error the socket may still read it.
      this.#socket.write(onStream(TRAILERS, stream), (error) => {
        if (!error) freeMemory(response);
      });
      this.#waiting.delete(call);
      this.#on.sent(call);
    }
    return call.sentBytes - start;
  }
}

function encodeWhole(calls: readonly SocketCall[], bytes: number, headers: Buffer): Buffer {
  const out = Buffer.allocUnsafe(bytes);
  let at = 0;
  for (const { stream, response, failure } of calls) {
    if (failure === undefined) {
      out.set(headers, at);
      out.writeUInt32BE(stream, at + STREAM_AT);
      at += headers.length;
      at = writeFrameHeader(out, at, PREFIX_BYTES + response.length, stream);
      out[at] = 0;
      out.writeUInt32BE(response.length, at + 1);
      at += PREFIX_BYTES;
    }
    out.set(response, at);
    at += response.length;
    if (failure !== undefined) continue;
    out.set(TRAILERS, at);
    out.writeUInt32BE(stream, at + STREAM_AT);
    at += TRAILERS.length;
  }
  return out;
}

const STREAM_AT = 5;

/** Of DATA; returns where its payload begins. */
function writeFrameHeader(out: Buffer, at: number, payloadBytes: number, stream: number): number {
  out.writeUIntBE(payloadBytes, at, 3);
  out[at + 3] = FRAME_TYPE.data;
  out[at + 4] = 0;
  return out.writeUInt32BE(stream, at + STREAM_AT);
}

function onStream(frame: Buffer, stream: number): Buffer {
  const copy = Buffer.from(frame);
  copy.writeUInt32BE(stream, STREAM_AT);
  return copy;
}

/** Bytes of the prefixed response; a view where it has none of the prefix. */
function slice(response: Buffer, start: number, end: number): Buffer {
  if (start >= PREFIX_BYTES) return response.subarray(start - PREFIX_BYTES, end - PREFIX_BYTES);
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.writeUInt32BE(response.length, 1);
  const rest = response.subarray(0, Math.max(0, end - PREFIX_BYTES));
  return Buffer.concat([prefix.subarray(start, end), rest]);
}
