import { connect as connectSocket, type Socket } from 'node:net';
import { FrameReader, flags, frame, frameHeader, frameType, preface, settingsPayload } from './frames.ts';
import { literalFields, requestBlock } from './hpack.ts';
import { MessageReader } from './message-reader.ts';

/**
 * gRPC calls over h2c (unary, and streams for watches), made for a load generator: frames are written by hand on a plain
 * socket, so that a call costs far less here than in the server that is measured. Facts from RFC
 * 9113 (HTTP/2) and gRPC's "gRPC over HTTP2".
 *
 * Invariants: a call is in exactly one of `waiting` and `streams` until it is done, and it is done
 * exactly once. `sendWindow` never goes below 0. Calls start in the order in which they were made.
 */

/** An answer that is not a message; `code` is the gRPC status, -1 when the connection broke. */
export class CallError extends Error {
  readonly code: number;
  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** `message` is the answer without gRPC's prefix; it must be used or copied at once. */
export type Done = (error: CallError | undefined, message: Uint8Array) => void;

interface Call {
  readonly method: string;
  readonly message: Uint8Array;
  readonly done: Done;
  readonly pieces: Uint8Array[];
  /** Of a call whose answer is many messages: takes its data instead of `pieces`. */
  readonly messages?: MessageReader;
}

/** A call that goes on: a watch. */
export interface MessageStream {
  /** At most some kilobytes, which must fit the windows of the connection at this moment. */
  send(message: Uint8Array): void;
}

const nothing = new Uint8Array(0);
const largestWindow = 2 ** 31 - 1;
/** The window is filled up again when this many bytes were taken from it. */
const windowStep = 2 ** 24;
const frameBytesMax = 16_384;

export class Connection {
  private readonly socket: Socket;
  private readonly authority: string;
  private readonly requestBlocks = new Map<string, Buffer>();
  private readonly statusByBlock = new Map<string, CallError | undefined>();
  private readonly streams = new Map<number, Call>();
  private waiting: Call[] = [];
  private outgoing: Uint8Array[] = [];
  private flushPlanned = false;
  private nextStream = 1;
  private sendWindow = 65_535;
  private streamWindow = 65_535;
  private streamsMax = Number.POSITIVE_INFINITY;
  private received = 0;
  private broken: CallError | undefined;
  private onSettings: () => void = () => {};

  private constructor(socket: Socket, authority: string) {
    this.socket = socket;
    this.authority = authority;
    const reader = new FrameReader((type, flag, stream, payload) =>
      this.onFrame(type, flag, stream, payload),
    );
    socket.setNoDelay(true);
    socket.on('data', (bytes: Buffer) => {
      try {
        reader.push(bytes);
      } catch (error) {
        this.fail(String(error));
      }
    });
    socket.on('error', (error) => this.fail(error.message));
    socket.on('close', () => this.fail('the connection was closed'));
    // Header table 0 keeps blocks self-contained; no pushes; windows as large as they can be.
    const settings = settingsPayload({ 1: 0, 2: 0, 4: largestWindow });
    socket.write(
      Buffer.concat([
        preface,
        frame(frameType.settings, 0, 0, settings),
        windowUpdate(0, largestWindow - 65_535),
      ]),
    );
  }

  /** Resolves once the server's settings are here. Rejects when it can't be reached. */
  static open(host: string, port: number): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const socket = connectSocket({ host, port });
      socket.once('error', reject);
      socket.once('connect', () => {
        const connection = new Connection(socket, `${host}:${port}`);
        connection.onSettings = () => {
          socket.off('error', reject);
          resolve(connection);
        };
        socket.once('close', () => reject(new Error('closed before HTTP/2 settings')));
      });
    });
  }

  /** Calls that are not done. */
  get pending(): number {
    return this.streams.size + this.waiting.length;
  }

  /** Calls `/service/method` with an encoded message of at most 16,379 bytes, and `done` once. */
  unary(method: string, message: Uint8Array, done: Done): void {
    const bytes = message.length + 5;
    if (bytes > Math.min(frameBytesMax, this.streamWindow)) throw new Error(`message too large: ${bytes}`);
    if (this.broken) {
      done(this.broken, nothing);
      return;
    }
    const call = { method, message, done, pieces: [] };
    if (this.waiting.length > 0 || !this.mayStart(bytes)) this.waiting.push(call);
    else this.start(call);
  }

  /**
   * Opens a stream of messages both ways. `onMessage` gets each message as `Done` does; `onEnd` is called once,
   * however the stream ends.
   */
  stream(
    method: string,
    onMessage: (message: Uint8Array) => void,
    onEnd: (error: CallError) => void,
  ): MessageStream {
    const stream = this.nextStream;
    this.nextStream += 2;
    const done: Done = (error) => onEnd(error ?? new CallError(-1, 'the stream ended'));
    const messages = new MessageReader(onMessage);
    this.streams.set(stream, { method, message: nothing, done, pieces: [], messages });
    const block = requestBlock(method, this.authority);
    this.write(frame(frameType.headers, flags.endHeaders, stream, block));
    return {
      send: (message) => {
        const bytes = message.length + 5;
        if (bytes > Math.min(this.sendWindow, this.streamWindow)) throw new Error('no room in the windows');
        this.sendWindow -= bytes;
        const prefixed = Buffer.alloc(bytes);
        prefixed.writeUInt32BE(message.length, 1);
        prefixed.set(message, 5);
        this.write(frame(frameType.data, 0, stream, prefixed));
      },
    };
  }

  /** Ends the connection; calls that are not done fail. */
  close(): void {
    this.fail('closed by the load generator');
    this.socket.destroy();
  }

  private mayStart(bytes: number): boolean {
    return this.sendWindow >= bytes && this.streams.size < this.streamsMax;
  }

  private start(call: Call): void {
    let block = this.requestBlocks.get(call.method);
    if (!block) {
      block = requestBlock(call.method, this.authority);
      this.requestBlocks.set(call.method, block);
    }
    const stream = this.nextStream;
    this.nextStream += 2;
    this.streams.set(stream, call);
    const bytes = call.message.length + 5;
    this.sendWindow -= bytes;
    const head = Buffer.allocUnsafe(9 + block.length + 9 + 5);
    frameHeader(head, 0, block.length, frameType.headers, flags.endHeaders, stream);
    head.set(block, 9);
    frameHeader(head, 9 + block.length, bytes, frameType.data, flags.endStream, stream);
    head[18 + block.length] = 0; // not compressed
    head.writeUInt32BE(call.message.length, 19 + block.length);
    this.write(head, call.message);
  }

  /** Gathers what is written in one turn of the event loop into one system call. */
  private write(...pieces: Uint8Array[]): void {
    this.outgoing.push(...pieces);
    if (this.flushPlanned) return;
    this.flushPlanned = true;
    process.nextTick(() => {
      this.flushPlanned = false;
      const bytes = this.outgoing.length === 1 ? this.outgoing[0]! : Buffer.concat(this.outgoing);
      this.outgoing = [];
      if (!this.broken) this.socket.write(bytes);
    });
  }

  private onFrame(type: number, flag: number, stream: number, payload: Buffer): void {
    switch (type) {
      case frameType.data:
        this.onData(flag, stream, payload);
        break;
      case frameType.headers:
        if (flag & flags.endStream) this.onTrailers(stream, payload);
        break;
      case frameType.resetStream:
        this.finish(stream, new CallError(-1, `stream reset, HTTP/2 code ${payload.readUInt32BE(0)}`));
        break;
      case frameType.settings:
        if (!(flag & flags.ack)) this.onPeerSettings(payload);
        break;
      case frameType.ping:
        if (!(flag & flags.ack)) this.write(frame(frameType.ping, flags.ack, 0, payload));
        break;
      case frameType.goAway:
        this.fail(`the server sent GOAWAY, HTTP/2 code ${payload.readUInt32BE(4)}`);
        break;
      case frameType.windowUpdate:
        if (stream === 0) this.sendWindow += payload.readUInt32BE(0);
        this.startWaiting();
        break;
    }
  }

  private onData(flag: number, stream: number, payload: Buffer): void {
    this.received += payload.length;
    if (this.received >= windowStep) {
      this.write(windowUpdate(0, this.received));
      this.received = 0;
    }
    const call = this.streams.get(stream);
    if (call?.messages) this.onStreamData(stream, call.messages, payload);
    else call?.pieces.push(payload);
    if (flag & flags.endStream) this.finish(stream, new CallError(-1, 'the answer has no trailers'));
  }

  private onStreamData(stream: number, messages: MessageReader, payload: Buffer): void {
    messages.push(payload);
    const taken = messages.takeReceived(windowStep);
    if (taken > 0) this.write(windowUpdate(stream, taken));
  }

  private onTrailers(stream: number, block: Buffer): void {
    const bytes = block.toString('latin1');
    let known = this.statusByBlock.get(bytes);
    if (known === undefined && !this.statusByBlock.has(bytes)) {
      known = statusOf(block);
      if (this.statusByBlock.size < 1000) this.statusByBlock.set(bytes, known);
    }
    this.finish(stream, known);
  }

  private finish(stream: number, error: CallError | undefined): void {
    const call = this.streams.get(stream);
    if (!call) return;
    this.streams.delete(stream);
    if (call.messages) {
      call.done(error, nothing);
      return;
    }
    const [first = nothing] = call.pieces;
    const body = call.pieces.length <= 1 ? first : Buffer.concat(call.pieces);
    if (error) call.done(error, nothing);
    else if (body.length < 5 || body[0] !== 0)
      call.done(new CallError(-1, 'the answer is no gRPC message'), nothing);
    else call.done(undefined, body.subarray(5));
    this.startWaiting();
  }

  private onPeerSettings(payload: Buffer): void {
    for (let at = 0; at + 6 <= payload.length; at += 6) {
      const value = payload.readUInt32BE(at + 2);
      const name = payload.readUInt16BE(at);
      if (name === 3) this.streamsMax = value;
      if (name === 4) this.streamWindow = value;
    }
    this.write(frame(frameType.settings, flags.ack, 0, nothing));
    this.onSettings();
  }

  private startWaiting(): void {
    if (this.waiting.length === 0) return;
    let started = 0;
    for (const call of this.waiting) {
      if (!this.mayStart(call.message.length + 5)) break;
      this.start(call);
      started++;
    }
    if (started > 0) this.waiting = this.waiting.slice(started);
  }

  private fail(reason: string): void {
    if (this.broken) return;
    this.broken = new CallError(-1, reason);
    const calls = [...this.streams.values(), ...this.waiting];
    this.streams.clear();
    this.waiting = [];
    for (const call of calls) call.done(this.broken, nothing);
    this.socket.destroy();
  }
}

/** Stream 0 is the connection. */
function windowUpdate(stream: number, bytes: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(bytes);
  return frame(frameType.windowUpdate, 0, stream, payload);
}

/** The error that a block of trailers tells, undefined when it says that all went well. */
function statusOf(block: Uint8Array): CallError | undefined {
  const fields = literalFields(block);
  const status = fields.get('grpc-status');
  if (status === '0') return undefined;
  if (status === undefined) return new CallError(-1, 'the answer has no grpc-status');
  return new CallError(Number(status), decodeURIComponent(fields.get('grpc-message') ?? ''));
}
