import type { Socket } from 'node:net';
import { GrpcCode } from '../../shared/etcd/errors.ts';
import type { AnswerRoom } from '../state/answer-rooms.ts';
import type { AnswerBlocks } from './answer-frames.ts';
import { ConnectionError, HTTP2_ERROR } from './direct-input.ts';
import type { DirectConnection } from './direct-socket.ts';
import { encodeIntegerFrame, FLAG, FRAME_TYPE, type Frame } from './http2-frames.ts';
import type { PlainHead } from './plain-request.ts';
import type { UnaryCall, UnaryMethod } from './service.ts';
import { type SendWindow, UnaryAnswers } from './unary-answers.ts';
import { SocketCall } from './unary-call.ts';
import { WINDOW_BYTES_MAX } from './windows.ts';

/** Requests that are larger are node's, which has windows for them; less than a stream's window. */
const REQUEST_BYTES_MAX = 32 * 1024;
/** Calls that clients have taken back and handlers still work on; beyond, node sees the next, with its own limit. */
const ABANDONED_MAX = 1_000;
/** A request that is not whole after one or two of these is node's, where `SlowRequests` has a limit for it. */
const LATE_MS = 1_000;

export interface UnaryCallsParts {
  readonly socket: Socket;
  readonly window: SendWindow;
  readonly blocks: AnswerBlocks;
  readonly connection: DirectConnection;
  readonly room: AnswerRoom;
  /** Gives node a request that is not plain after all: its head, the pieces of it that have come, whether it is whole. */
  handOver(stream: number, head: PlainHead, pieces: readonly Buffer[], ends: boolean): void;
}

/** The unary calls that one connection's `DirectSocket` answers. */
export class UnaryCalls {
  readonly #parts: UnaryCallsParts;
  readonly #calls = new Map<number, SocketCall>();
  readonly #answers: UnaryAnswers;
  #abandoned = 0;
  #looking = false;

  constructor(parts: UnaryCallsParts) {
    this.#parts = parts;
    const { socket, window, blocks } = parts;
    this.#answers = new UnaryAnswers({ socket, window, blocks, sent: (call) => this.#close(call) });
  }

  get count(): number {
    return this.#calls.size;
  }

  /** Too many calls were taken back: node is to see the next. */
  get tooManyAbandoned(): boolean {
    return this.#abandoned > ABANDONED_MAX;
  }

  get answers(): UnaryAnswers {
    return this.#answers;
  }

  has(stream: number): boolean {
    return this.#calls.has(stream);
  }

  /** Begins a call. */
  open(stream: number, head: PlainHead, method: UnaryMethod, windowBytes: number): void {
    const { connection, room } = this.#parts;
    const call = new SocketCall(stream, windowBytes, { head, method, room, peer: connection.peer });
    this.#calls.set(stream, call);
    this.#lookLater();
    const { timeoutMs } = head;
    if (timeoutMs !== undefined) call.timer = connection.clock.after(timeoutMs, () => this.#deadline(call));
  }

  /** Takes DATA of a call; false when the call is node's now, and this frame, too. Throws a `ConnectionError`. */
  data({ stream, flags, payload }: Frame): boolean {
    const call = this.#calls.get(stream);
    if (call === undefined) return false;
    const ends = (flags & FLAG.endStream) !== 0;
    if (call.answered && !call.handed) {
      this.#parts.connection.read(payload.length);
      call.handed = ends;
      return true;
    }
    if (call.handed)
      throw new ConnectionError(HTTP2_ERROR.protocol, 'DATA on a stream that the client has ended');
    if ((flags & FLAG.padded) !== 0 || call.pieceBytes + payload.length > REQUEST_BYTES_MAX) {
      this.#handOver(call);
      return false;
    }
    call.pieceBytes += payload.length;
    call.pieces.push(payload);
    if (ends) this.#handle(call);
    return true;
  }

  /** A second header block has come, which makes a call node's whose request is not whole. */
  trailers(stream: number): void {
    const call = this.#calls.get(stream);
    if (call !== undefined && !call.handed && !call.answered) this.#handOver(call);
  }

  windowUpdate(stream: number, bytes: number): void {
    const call = this.#calls.get(stream);
    if (call === undefined) return;
    call.windowBytes += bytes;
    if (call.windowBytes <= WINDOW_BYTES_MAX) return this.#parts.connection.flushSoon();
    this.#abandon(call);
    this.#sendReset(call, HTTP2_ERROR.flowControl);
    this.#close(call);
  }

  /** The client has changed the window that every stream of its begins with. */
  windowsChanged(bytes: number): void {
    for (const call of this.#calls.values()) call.windowBytes += bytes;
  }

  /** The client has reset the stream. */
  cancel(stream: number): void {
    const call = this.#calls.get(stream);
    if (call === undefined) return;
    if (!call.handed) this.#parts.connection.read(call.pieceBytes);
    this.#abandon(call);
    this.#close(call);
  }

  /** The connection is gone. */
  cancelAll(): void {
    for (const call of this.#calls.values()) this.#abandon(call);
    this.#calls.clear();
  }

  /** The client has ended its request. */
  #handle(call: SocketCall): void {
    const message = call.message();
    if (message === undefined) {
      this.#handOver(call, true);
      return;
    }
    this.#parts.connection.read(call.pieceBytes);
    call.handed = true;
    call.request = message;
    call.pieces = [];
    const { room } = call;
    if (!room.isFull(false)) this.#call(call);
    else room.wait({ wanted: call, go: () => this.#call(call), drop: () => this.#settled(call) }, false);
  }

  #call(call: SocketCall): void {
    call.method(call.request, call as unknown as UnaryCall, (failure, response) => {
      this.#settled(call);
      if (call.gone) return;
      if (failure !== null) call.failure = failure;
      else if (response !== undefined) call.response = response;
      call.filledBytes = call.response.length;
      call.room.fill(call.filledBytes);
      this.#answer(call);
    });
  }

  /** The handler has done with a call, or will never see it. */
  #settled(call: SocketCall): void {
    if (call.abandoned) this.#abandoned--;
  }

  #handOver(call: SocketCall, ends = false): void {
    call.over = true;
    call.timer?.cancel();
    this.#calls.delete(call.stream);
    this.#parts.handOver(call.stream, call.head, call.pieces, ends);
  }

  #lookLater(): void {
    if (this.#looking) return;
    this.#looking = true;
    const { connection } = this.#parts;
    connection.clock.after(LATE_MS, () => {
      this.#looking = false;
      let waits = false;
      for (const call of this.#calls.values()) {
        if (call.handed || call.answered) continue;
        if (call.late) this.#handOver(call);
        else call.late = waits = true;
      }
      connection.deliverSoon();
      if (waits) this.#lookLater();
    });
  }

  #deadline(call: SocketCall): void {
    if (call.over || call.answered) return;
    call.failure = { code: GrpcCode.DeadlineExceeded, details: 'Deadline exceeded' };
    if (!call.handed) this.#parts.connection.read(call.pieceBytes);
    this.#answer(call);
  }

  #answer(call: SocketCall): void {
    call.timer?.cancel();
    call.answered = true;
    this.#answers.add(call);
    this.#parts.connection.flushSoon();
  }

  /** Nobody waits for the answer any more. */
  #abandon(call: SocketCall): void {
    if (call.handed && !call.answered) {
      call.abandoned = true;
      this.#abandoned++;
    }
    this.#answers.remove(call);
  }

  #sendReset({ stream }: SocketCall, error: number): void {
    this.#parts.connection.send(encodeIntegerFrame(FRAME_TYPE.resetStream, stream, error));
  }

  /** The stream is closed. A client that has not ended its request need not (RFC 9113, section 8.1). */
  #close(call: SocketCall): void {
    call.timer?.cancel();
    call.over = true;
    if (call.filledBytes !== undefined) call.room.empty(call.filledBytes);
    this.#calls.delete(call.stream);
    if (!call.handed && call.answered) this.#sendReset(call, HTTP2_ERROR.none);
    this.#parts.connection.streamClosed();
  }
}
