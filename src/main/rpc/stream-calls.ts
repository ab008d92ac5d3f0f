import type { Socket } from 'node:net';
import { GrpcCode } from '../../shared/etcd/errors.ts';
import { type AnswerBlocks, dataHead, onStream } from './answer-frames.ts';
import { ConnectionError, HTTP2_ERROR } from './direct-input.ts';
import type { DirectConnection } from './direct-socket.ts';
import {
  encodeIntegerFrame,
  FLAG,
  FRAME_HEADER_BYTES,
  FRAME_PAYLOAD_BYTES_MAX,
  FRAME_TYPE,
  type Frame,
} from './http2-frames.ts';
import type { PlainHead } from './plain-request.ts';
import type { DuplexCall, StreamMethod } from './service.ts';
import type { Follower, SlowRequests } from './slow-requests.ts';
import { StreamCall } from './stream-call.ts';
import type { SendWindow } from './unary-answers.ts';
import { CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES, WINDOW_BYTES_MAX } from './windows.ts';

/** One write of many messages is about so large. */
const WRITE_BYTES = 256 * 1024;
/** So much of a stream's DATA is read before the client is told that it may send more. */
const CREDIT_BYTES = 16 * 1024;

export interface StreamCallsParts {
  readonly socket: Socket;
  readonly window: SendWindow;
  readonly blocks: AnswerBlocks;
  readonly connection: DirectConnection;
  readonly slowRequests: SlowRequests;
  readonly messageBytesMax: number;
}

interface OpenCall {
  readonly call: StreamCall;
  readonly method: StreamMethod;
  readonly follower: Follower;
  /** DATA that the handler has taken and the client has no credit for on this stream. */
  takenBytes: number;
  /** Its handler has it. */
  served: boolean;
}

/**
 * The bidirectional calls that one connection's `DirectSocket` serves: their streams, their messages to and from the
 * handlers. Many messages go out in one write, and those of one stream in as few frames as hold them.
 *
 * A client gets credit for what handlers have taken: one whose call is paused can send `STREAM_WINDOW_BYTES` more.
 */
export class StreamCalls {
  readonly #parts: StreamCallsParts;
  readonly #open = new Map<number, OpenCall>();
  /** Those that may have something to send. */
  readonly #ready = new Set<StreamCall>();
  /** Those whose handlers may take a message. */
  #received = new Set<StreamCall>();
  /** Of all calls. */
  #unreadBytes = 0;

  constructor(parts: StreamCallsParts) {
    this.#parts = parts;
  }

  get count(): number {
    return this.#open.size;
  }

  has(stream: number): boolean {
    return this.#open.has(stream);
  }

  /** Begins a call, whose handler gets it with the next `deliver`. */
  open(stream: number, head: PlainHead, method: StreamMethod, windowBytes: number): void {
    const { connection, slowRequests, messageBytesMax } = this.#parts;
    const call = new StreamCall({
      ...{ stream, head, windowBytes, messageBytesMax, peer: connection.peer },
      sendSoon: (ready) => {
        this.#ready.add(ready);
        connection.flushSoon();
      },
      resumed: (resumed) => {
        this.#received.add(resumed);
        connection.deliverSoon();
      },
      written: (bytes) => method.meter.sent(bytes),
    });
    const follower = slowRequests.follow({
      isPaused: () => call.isPaused(),
      close: (code) => this.#reset(call, code),
    });
    this.#open.set(stream, { call, method, follower, takenBytes: 0, served: false });
    if (head.timeoutMs !== undefined) {
      call.timer = connection.clock.after(head.timeoutMs, () => this.#deadline(call));
    }
    this.#received.add(call);
  }

  /** Throws a `ConnectionError`. */
  data({ stream, flags, payload }: Frame): void {
    const opened = this.#open.get(stream);
    if (opened === undefined) return;
    const { call, follower } = opened;
    if (call.clientEnded)
      throw new ConnectionError(HTTP2_ERROR.protocol, 'DATA on a stream that the client has ended');
    call.unreadBytes += payload.length;
    this.#unreadBytes += payload.length;
    if (this.#unreadBytes > CONNECTION_WINDOW_BYTES)
      throw new ConnectionError(HTTP2_ERROR.flowControl, 'more DATA than the window allows');
    if (call.unreadBytes > STREAM_WINDOW_BYTES) return this.#reset(call, HTTP2_ERROR.flowControl);
    const bytes = withoutPadding(flags, payload);
    follower.push(bytes);
    call.push(bytes);
    if ((flags & FLAG.endStream) !== 0) call.clientEnded = true;
    this.#received.add(call);
  }

  /** A second header block, which is the end of what the client sends, or malformed. */
  trailers(stream: number, ends: boolean): void {
    const call = this.#open.get(stream)?.call;
    if (call === undefined) return;
    if (!ends || call.clientEnded) return this.#reset(call, HTTP2_ERROR.protocol);
    call.clientEnded = true;
    this.#received.add(call);
  }

  /** Gives handlers what has come for them. */
  deliver(): void {
    if (this.#received.size === 0) return;
    const received = this.#received;
    this.#received = new Set();
    for (const call of received) {
      const opened = this.#open.get(call.stream);
      if (opened?.call !== call) continue;
      if (!opened.served) {
        opened.served = true;
        opened.method.serve(call as unknown as DuplexCall);
      }
      if (call.deliver(opened.method.meter)) this.#giveCredit(opened);
    }
  }

  windowUpdate(stream: number, bytes: number): void {
    const call = this.#open.get(stream)?.call;
    if (call === undefined) return;
    call.windowBytes += bytes;
    if (call.windowBytes > WINDOW_BYTES_MAX) return this.#reset(call, HTTP2_ERROR.flowControl);
    this.#ready.add(call);
    this.#parts.connection.flushSoon();
  }

  /** The client has changed the window that every stream of its begins with. */
  windowsChanged(bytes: number): void {
    for (const { call } of this.#open.values()) {
      call.windowBytes += bytes;
      this.#ready.add(call);
    }
  }

  /** The client has reset the stream. */
  cancel(stream: number): void {
    const opened = this.#open.get(stream);
    if (opened === undefined) return;
    opened.call.cancel();
    this.#close(opened);
  }

  /** The connection is gone. */
  cancelAll(): void {
    for (const stream of [...this.#open.keys()]) this.cancel(stream);
  }

  /** Sends what the windows and the socket take. */
  send(): void {
    const { socket } = this.#parts;
    while (!socket.writableNeedDrain && this.sendSome(WRITE_BYTES) > 0);
  }

  /** Sends about so many bytes at most, whatever the socket holds; answers how many. */
  sendSome(bytesMax: number): number {
    const { blocks } = this.#parts;
    const out: Buffer[] = [];
    const sent: (() => void)[] = [];
    const ended: StreamCall[] = [];
    let left = bytesMax;
    for (const call of this.#ready) {
      if (left <= 0) break;
      const bytes = this.#sendRun(call, out, sent);
      left -= bytes;
      if (call.pendingBytes === 0 && call.ending !== undefined) {
        out.push(blocks.status(call.stream, call.ending, call.begun));
        ended.push(call);
      }
      // The connection's window is used up; others may have an end to send, which needs none.
      if (bytes === 0 && call.pendingBytes > 0 && call.windowBytes > 0) continue;
      this.#ready.delete(call);
      // To the end of the line, which this loop goes on to.
      if (call.pendingBytes > 0 && call.windowBytes > 0) this.#ready.add(call);
    }
    if (out.length > 0) this.#parts.socket.write(out.length === 1 ? out[0]! : Buffer.concat(out));
    for (const call of ended) this.#closed(call);
    for (const done of sent) done();
    return out.length === 0 ? 0 : Math.max(1, bytesMax - left);
  }

  /** Puts one DATA frame on `out`, as large as the windows allow; answers how many bytes it has. */
  #sendRun(call: StreamCall, out: Buffer[], sent: (() => void)[]): number {
    const { window, blocks } = this.#parts;
    const bytes = Math.min(call.pendingBytes, call.windowBytes, window.bytes, FRAME_PAYLOAD_BYTES_MAX);
    if (bytes <= 0) return 0;
    if (!call.begun) out.push(onStream(blocks.headers, call.stream));
    call.begun = true;
    call.windowBytes -= bytes;
    window.bytes -= bytes;
    window.owedBytes += bytes;
    out.push(dataHead(bytes, call.stream));
    call.take(bytes, out, sent);
    return FRAME_HEADER_BYTES + bytes;
  }

  /** The call's end is with the socket. A client that has not ended its stream need not (RFC 9113, section 8.1). */
  #closed(call: StreamCall): void {
    const opened = this.#open.get(call.stream);
    if (opened?.call !== call) return;
    if (!call.clientEnded) this.#sendReset(call, HTTP2_ERROR.none);
    this.#close(opened);
  }

  #deadline(call: StreamCall): void {
    if (call.ending === undefined)
      call.cancel({ code: GrpcCode.DeadlineExceeded, details: 'Deadline exceeded' });
  }

  #reset(call: StreamCall, error: number): void {
    this.#sendReset(call, error);
    this.cancel(call.stream);
  }

  #sendReset({ stream }: StreamCall, error: number): void {
    this.#parts.connection.send(encodeIntegerFrame(FRAME_TYPE.resetStream, stream, error));
  }

  #close({ call, follower }: OpenCall): void {
    call.timer?.cancel();
    follower.ended();
    this.#open.delete(call.stream);
    this.#ready.delete(call);
    this.#read(call);
    call.emit('close');
    this.#parts.connection.streamClosed();
  }

  #giveCredit(opened: OpenCall): void {
    const { call } = opened;
    opened.takenBytes += this.#read(call);
    if (opened.takenBytes < CREDIT_BYTES || call.clientEnded) return;
    this.#parts.connection.send(encodeIntegerFrame(FRAME_TYPE.windowUpdate, call.stream, opened.takenBytes));
    opened.takenBytes = 0;
  }

  /** What came of a call needs the connection's window no more; answers how much that was. */
  #read(call: StreamCall): number {
    const bytes = call.unreadBytes;
    call.unreadBytes = 0;
    this.#unreadBytes -= bytes;
    this.#parts.connection.read(bytes);
    return bytes;
  }
}

/** Of a DATA frame. Throws a `ConnectionError`. */
function withoutPadding(flags: number, payload: Buffer): Buffer {
  if ((flags & FLAG.padded) === 0) return payload;
  const end = payload.length - (payload[0] ?? 0);
  if (end < 1) throw new ConnectionError(HTTP2_ERROR.protocol, 'DATA is shorter than its padding');
  return payload.subarray(1, end);
}
