import type { Socket } from 'node:net';
import { freeMemory } from '../../shared/base/own-memory.ts';
import {
  type AnswerBlocks,
  dataHead,
  onStream,
  TRAILERS,
  writeDataHead,
  writeOnStream,
} from './answer-frames.ts';
import { FRAME_HEADER_BYTES, FRAME_PAYLOAD_BYTES_MAX } from './http2-frames.ts';
import { PREFIX_BYTES, type SocketCall } from './unary-call.ts';

/** Of a small answer, beside its headers and the message. */
const FRAMES_BYTES = FRAME_HEADER_BYTES + PREFIX_BYTES + TRAILERS.length;
/** One write of small answers is about so large. */
const WRITE_BYTES = 256 * 1024;
/** How much of one answer goes out before the next on its connection has its turn. */
const RUN_BYTES = 2 * FRAME_PAYLOAD_BYTES_MAX;

/** The client's window of the whole connection, which node's streams and ours share. */
export interface SendWindow {
  bytes: number;
  /** What we have taken of it and node does not know of yet. */
  owedBytes: number;
}

export interface AnswersParts {
  readonly socket: Socket;
  readonly window: SendWindow;
  readonly blocks: AnswerBlocks;
  /** A call's answer is with the socket. */
  sent(call: SocketCall): void;
}

/**
 * Sends answers: small ones many in one write, and at once; large ones when it is the connection's turn, as far as the
 * windows take them, a run of each after the other. A response is held once, until its last byte is handed
 * to the socket.
 */
export class UnaryAnswers {
  readonly #socket: Socket;
  readonly #window: SendWindow;
  readonly #blocks: AnswerBlocks;
  readonly #sent: (call: SocketCall) => void;
  #ready: SocketCall[] = [];
  /** Those that can't be sent at once. */
  readonly #waiting = new Set<SocketCall>();

  constructor({ socket, window, blocks, sent }: AnswersParts) {
    this.#socket = socket;
    this.#window = window;
    this.#blocks = blocks;
    this.#sent = sent;
  }

  /** Some answers are too large to be sent at once. */
  get waiting(): boolean {
    return this.#waiting.size > 0;
  }

  add(call: SocketCall): void {
    this.#ready.push(call);
  }

  /** Forgets a call whose stream is reset. */
  remove(call: SocketCall): void {
    call.over = true;
    this.#waiting.delete(call);
  }

  /** Sends the small answers that can be sent now. The rest is `waiting`. */
  sendSmall(): void {
    const socket = this.#socket;
    while (this.#ready.length > 0 && !socket.writableNeedDrain) this.#sendReady();
  }

  /** Sends about so many bytes at most of those that are waiting, whatever the socket holds; answers how many. */
  sendWaiting(bytesMax: number): number {
    const socket = this.#socket;
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

  #sendReady(): void {
    const { headers } = this.#blocks;
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
      const { failure } = call;
      if (failure !== undefined) call.response = this.#blocks.status(call.stream, failure, false);
      bytes += call.response.length + (failure === undefined ? headers.length + FRAMES_BYTES : 0);
    }
    this.#ready = taken === this.#ready.length ? [] : this.#ready.slice(taken);
    if (whole.length > 0) this.#socket.write(encodeWhole(whole, bytes, headers));
    for (const call of whole) this.#sent(call);
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
      if (call.sentBytes === 0) this.#socket.write(onStream(this.#blocks.headers, stream));
      this.#spend(call, bytes);
      this.#socket.write(dataHead(bytes, stream));
      this.#socket.write(slice(response, call.sentBytes, call.sentBytes + bytes));
      call.sentBytes += bytes;
    }
    if (call.sentBytes === total) {
      // After an error the socket may still read it.
      this.#socket.write(onStream(TRAILERS, stream), (error) => {
        if (!error) freeMemory(response);
      });
      this.#waiting.delete(call);
      this.#sent(call);
    }
    return call.sentBytes - start;
  }
}

function encodeWhole(calls: readonly SocketCall[], bytes: number, headers: Buffer): Buffer {
  const out = Buffer.allocUnsafe(bytes);
  let at = 0;
  for (const { stream, response, failure } of calls) {
    if (failure === undefined) {
      at = writeOnStream(out, at, headers, stream);
      at = writeDataHead(out, at, PREFIX_BYTES + response.length, stream);
      out[at] = 0;
      out.writeUInt32BE(response.length, at + 1);
      at += PREFIX_BYTES;
    }
    out.set(response, at);
    at += response.length;
    if (failure === undefined) at = writeOnStream(out, at, TRAILERS, stream);
  }
  return out;
}

/** Bytes of the prefixed response; a view where it has none of the prefix. */
function slice(response: Buffer, start: number, end: number): Buffer {
  if (start >= PREFIX_BYTES) return response.subarray(start - PREFIX_BYTES, end - PREFIX_BYTES);
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.writeUInt32BE(response.length, 1);
  const rest = response.subarray(0, Math.max(0, end - PREFIX_BYTES));
  return Buffer.concat([prefix.subarray(start, end), rest]);
}
