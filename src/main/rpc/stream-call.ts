import { EventEmitter } from 'node:events';
import type { Metadata } from '@grpc/grpc-js';
import { StreamDecoder } from '@grpc/grpc-js/build/src/stream-decoder.js';
import type { Timer } from '../../shared/base/clock.ts';
import { errorMessage } from '../../shared/base/errors.ts';
import { GrpcCode } from '../../shared/etcd/errors.ts';
import type { Peer } from './peer.ts';
import { metadataOf, type PlainHead } from './plain-request.ts';
import type { CallMeter, DuplexCall } from './service.ts';
import type { CallFailure } from './status.ts';
import { PREFIX_BYTES } from './unary-call.ts';

/** What a call's stream needs of its connection. */
export interface StreamCallParts {
  readonly stream: number;
  readonly peer: Peer;
  readonly head: PlainHead;
  /** What the client lets us send on this stream. */
  readonly windowBytes: number;
  /** The most bytes that a message of the client's may have. */
  readonly messageBytesMax: number;
  /** There is something to send. */
  sendSoon(call: StreamCall): void;
  /** A message of so many bytes is written. */
  written(bytes: number): void;
  /** Its handler takes messages again. */
  resumed(call: StreamCall): void;
}

interface Piece {
  readonly bytes: Buffer;
  /** Of a message's last piece: it has been handed to the socket. */
  readonly sent?: () => void;
}

/**
 * One call of a bidirectional method that `DirectSocket` serves. To its handler it is a grpc-js `DuplexCall`, as far as
 * handlers of watches use one: `data`, `end`, `cancelled`, `close`, and `error` to end it with a failure; `write` with its
 * callback, `end`, `pause`, `resume`. Messages wait until there is a listener for them. No more is written to one
 * that the client has cancelled, and its callbacks do not come.
 */
export class StreamCall extends EventEmitter {
  readonly stream: number;
  windowBytes: number;
  /** The response's headers are sent. */
  begun = false;
  cancelled = false;
  /** The client sends nothing more. */
  clientEnded = false;
  /** How the call ends when everything that was written is sent. */
  ending: CallFailure | undefined;
  timer: Timer | undefined;
  /** DATA that came and that the client has no credit for. */
  unreadBytes = 0;
  readonly #parts: StreamCallParts;
  readonly #decoder: StreamDecoder;
  /** Whole messages that the handler has not got. */
  #messages: Buffer[] = [];
  /** What is wrong with what comes after them. */
  #broken: CallFailure | undefined;
  #endDelivered = false;
  #metadata: Metadata | undefined;
  #paused = true;
  #pieces: Piece[] = [];
  /** How much of the first piece is sent. */
  #sentBytes = 0;
  #pendingBytes = 0;

  constructor(parts: StreamCallParts) {
    super();
    this.#parts = parts;
    this.stream = parts.stream;
    this.windowBytes = parts.windowBytes;
    this.#decoder = new StreamDecoder(parts.messageBytesMax);
    this.on('error', (error: Partial<CallFailure>) => {
      this.finish({ code: error.code ?? GrpcCode.Unknown, details: error.details ?? 'Unknown Error' });
    });
  }

  override on(event: string, listener: (...values: never[]) => void): this {
    super.on(event, listener as () => void);
    if (event === 'data') this.resume();
    return this;
  }

  /** Made when asked for. */
  get metadata(): Metadata {
    this.#metadata ??= metadataOf(this.#parts.head);
    return this.#metadata;
  }

  getPeer(): string {
    return this.#parts.peer.address;
  }

  getAuthContext(): ReturnType<DuplexCall['getAuthContext']> {
    return this.#parts.peer.authContext;
  }

  write(message: Buffer, sent?: () => void): void {
    if (this.cancelled || this.ending !== undefined) return;
    const prefix = Buffer.allocUnsafe(PREFIX_BYTES);
    prefix[0] = 0;
    prefix.writeUInt32BE(message.length, 1);
    if (message.length === 0) this.#pieces.push({ bytes: prefix, ...(sent && { sent }) });
    else this.#pieces.push({ bytes: prefix }, { bytes: message, ...(sent && { sent }) });
    this.#pendingBytes += PREFIX_BYTES + message.length;
    this.#parts.written(message.length);
    this.#parts.sendSoon(this);
  }

  end(): void {
    this.finish({ code: GrpcCode.OK, details: 'OK' });
  }

  /** The call ends so when what was written is sent. */
  finish(ending: CallFailure): void {
    if (this.cancelled || this.ending !== undefined) return;
    this.ending = ending;
    this.#parts.sendSoon(this);
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#parts.resumed(this);
  }

  isPaused(): boolean {
    return this.#paused;
  }

  /** Takes what the client has sent, for `deliver`. */
  push(payload: Buffer): void {
    if (this.ending !== undefined || this.#broken !== undefined) return;
    try {
      // Without `grpc-encoding` grpc-js takes a message for what it is, whatever its flag says.
      for (const message of this.#decoder.write(payload)) this.#messages.push(message.subarray(PREFIX_BYTES));
    } catch (error) {
      this.#broken = { code: GrpcCode.ResourceExhausted, details: errorMessage(error) };
    }
  }

  /** Gives the handler what has come, as long as it takes messages; answers whether it has all. */
  deliver(meter: Pick<CallMeter, 'received'>): boolean {
    for (;;) {
      if (this.#paused || this.cancelled) return this.#messages.length === 0;
      const message = this.#messages.shift();
      if (message === undefined) break;
      meter.received(message.length);
      this.emit('data', message);
    }
    if (this.#broken !== undefined) this.finish(this.#broken);
    else if (this.clientEnded && !this.#endDelivered) {
      this.#endDelivered = true;
      this.emit('end');
    }
    return true;
  }

  /** The client has gone, or its time is over, of which it is told `ending`. Nothing is sent of what was written. */
  cancel(ending?: CallFailure): void {
    if (this.cancelled) return;
    this.#messages = [];
    this.#pieces = [];
    this.#pendingBytes = 0;
    if (ending !== undefined) this.finish(ending);
    this.cancelled = true;
    this.emit('cancelled', 'cancelled');
  }

  /** Bytes that were written and are not sent, with their prefixes. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Puts the next so many of the pending bytes on `out`, and on `sent` what is to be called when they are with the socket. */
  take(bytes: number, out: Buffer[], sent: (() => void)[]): void {
    this.#pendingBytes -= bytes;
    let left = bytes;
    let whole = 0;
    while (left > 0) {
      const piece = this.#pieces[whole]!;
      const end = Math.min(piece.bytes.length, this.#sentBytes + left);
      out.push(piece.bytes.subarray(this.#sentBytes, end));
      left -= end - this.#sentBytes;
      this.#sentBytes = end;
      if (end < piece.bytes.length) break;
      this.#sentBytes = 0;
      if (piece.sent !== undefined) sent.push(piece.sent);
      whole++;
    }
    if (whole > 0) this.#pieces = this.#pieces.slice(whole);
  }
}
