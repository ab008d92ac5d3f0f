import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { InvariantError } from '../../shared/base/assert.ts';
import type { Clock } from '../../shared/base/clock.ts';
import type { AnswerRoom } from '../state/answer-rooms.ts';
import { AnswerBlocks } from './answer-frames.ts';
import type { AnswerTurns, TurnTaker } from './answer-turns.ts';
import { ConnectionError, DirectInput, HTTP2_ERROR } from './direct-input.ts';
import { encodeFrame, encodeIntegerFrame, FLAG, FRAME_TYPE, type Frame, PREFACE } from './http2-frames.ts';
import { connectionCredit, NodeStreams } from './node-streams.ts';
import { Peer } from './peer.ts';
import {
  type DirectMethods,
  DirectRequests,
  dataFrame,
  literalHeaders,
  type RequestBlock,
} from './plain-request.ts';
import type { SlowRequests } from './slow-requests.ts';
import { StreamCalls } from './stream-calls.ts';
import type { SendWindow } from './unary-answers.ts';
import { UnaryCalls } from './unary-calls.ts';
import { WINDOW_BYTES_MAX } from './windows.ts';

/**
 * A socket between a client and node's HTTP/2 that serves the client's plain calls itself, for node's streams and
 * grpc-js's calls cost the main thread more than everything else of such a call (docs/decisions/beside-grpc-js.md).
 *
 * node has the connection: it sends and acknowledges SETTINGS, answers pings, keeps alive, says GOAWAY, and it serves
 * every stream that is not plain. The plain ones are with `UnaryCalls` and `StreamCalls`. Of the connection only this is
 * shared, and kept right here:
 * - HPACK's table of requests is read here, and node gets each header block as literals that need no table. The table
 *   of responses is node's: answers from here are literals that enter no table;
 * - the client's window for us (`SendWindow`): see `NodeStreams`; node gets the client's updates less what it does not
 *   know to be spent;
 * - our window for the client: node gives back what it reads, this gives back the rest (`#take`);
 * - stream ids: see `NodeStreams`.
 * A frame that is malformed in what is shared ends the connection here; node judges the rest.
 */

/** So much of the client's DATA is read before the client is told that it may send more. */
const CREDIT_BYTES = 16 * 1024;
/** How long calls may take to end after node has ended its part of the connection. */
const ENDING_MS_MAX = 5_000;
/**
 * What node may leave unread. All DATA that the windows allow, lest WINDOW_UPDATE behind it is not read while node
 * waits for it.
 */
const UNREAD_BYTES_MAX = 10 * 1024 * 1024;
const STREAM_WINDOW_BYTES = 65_535;
const SETTING = { headerTableSize: 1, initialWindowSize: 4 } as const;
const HEADER_TABLE_BYTES = 4096;

export interface DirectSocketOptions {
  readonly clock: Clock;
  /** What is served here, by path. */
  readonly methods: DirectMethods;
  readonly maxConcurrentStreams: number | undefined;
  readonly messageBytesMax: number;
  /** One for all connections. */
  readonly turns: AnswerTurns;
  readonly slowRequests: SlowRequests;
  /** This connection's. */
  readonly room: AnswerRoom;
}

/** What the calls that are served here need of their connection. */
export interface DirectConnection {
  readonly clock: Clock;
  readonly peer: Peer;
  /** Sends a frame that is no part of an answer, in its turn. */
  send(frame: Buffer): void;
  /** So many bytes of DATA need the connection's window no more. */
  read(bytes: number): void;
  /** There is something to send. */
  flushSoon(): void;
  /** There is something for node or for handlers. */
  deliverSoon(): void;
  /** A call is over. */
  streamClosed(): void;
}

type Done = (error?: Error | null) => void;

export class DirectSocket extends Duplex implements TurnTaker {
  readonly #socket: Socket;
  readonly #options: DirectSocketOptions;
  readonly #window: SendWindow = { bytes: STREAM_WINDOW_BYTES, owedBytes: 0 };
  readonly #input: DirectInput;
  readonly #requests: DirectRequests;
  readonly #nodes: NodeStreams;
  readonly #blocks = new AnswerBlocks();
  readonly #unary: UnaryCalls;
  readonly #streams: StreamCalls;
  /** For node, at the end of the bytes at hand. */
  #forNode: Buffer[] = [];
  #streamWindowBytes = STREAM_WINDOW_BYTES;
  #headerTableBytes = HEADER_TABLE_BYTES;
  #lastStream = 0;
  /** DATA read here that the client has no credit for yet. */
  #readBytes = 0;
  /** Every new stream is node's. */
  #allForNode = false;
  /** The connection was malformed. */
  #failed = false;
  #nodeGone = false;
  /** node has sent its SETTINGS, which must be a server's first frame. */
  #begun = false;
  #flushing = false;
  #delivering = false;

  /** The socket's next bytes must be HTTP/2's preface. */
  constructor(socket: Socket, options: DirectSocketOptions) {
    super({ allowHalfOpen: false, readableHighWaterMark: UNREAD_BYTES_MAX });
    this.#socket = socket;
    this.#options = options;
    this.#requests = new DirectRequests(options.methods);
    this.#input = new DirectInput((frame) => this.#frame(frame));
    this.#nodes = new NodeStreams(this.#window, (bytes) => this.#tellNode(connectionCredit(bytes)));
    const connection = this.#connection(new Peer(socket));
    const parts = { ...{ socket, connection }, window: this.#window, blocks: this.#blocks };
    const { room, slowRequests, messageBytesMax } = options;
    this.#unary = new UnaryCalls({ ...parts, room, handOver: (...call) => this.#handOver(...call) });
    this.#streams = new StreamCalls({ ...parts, slowRequests, messageBytesMax });
    this.push(PREFACE);
    socket.on('data', (bytes: Buffer) => this.#take(bytes));
    socket.on('drain', () => this.#onDrain());
    // In HTTP/2 a client that has ended is gone; see `AuthoritySocket`.
    socket.on('end', () => socket.destroy());
    socket.on('close', () => this.#onClose());
  }

  #connection(peer: Peer): DirectConnection {
    return {
      ...{ clock: this.#options.clock, peer },
      send: (frame) => this.#send(frame),
      read: (bytes) => {
        this.#readBytes += bytes;
      },
      flushSoon: () => this.#flushSoon(),
      deliverSoon: () => this.#deliverSoon(),
      streamClosed: () => this.#endIfIdle(),
    };
  }

  override _read(): void {
    if (!this.#socket.writableNeedDrain) this.#socket.resume();
  }

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: Done): void {
    this.#sendOfNode(Buffer.from(bytes), done);
  }

  /** node corks what it has at hand, frame by frame in two pieces: one write for each would cost as much as the frame. */
  override _writev(pieces: readonly { readonly chunk: Buffer }[], done: Done): void {
    this.#sendOfNode(Buffer.concat(pieces.map(({ chunk }) => chunk)), done);
  }

  #sendOfNode(bytes: Buffer, done: Done): void {
    const frames = this.#nodes.take(bytes, this.#lastStream);
    if (frames.length === 0 || this.#failed) done();
    else this.#socket.write(frames, done);
    this.#begun ||= frames.length > 0;
    this.#deliver();
    if (this.#maySend) this.#flushSoon();
  }

  override _final(done: () => void): void {
    this.#endSoon();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#endSoon();
    done(error);
  }

  /** node has ended: so does the connection, when the calls here are answered. */
  #endSoon(): void {
    if (this.#nodeGone) return;
    this.#nodeGone = true;
    this.#options.clock.after(ENDING_MS_MAX, () => this.#socket.destroy());
    this.#socket.resume();
    this.#endIfIdle();
  }

  #endIfIdle(): void {
    if (this.#nodeGone && this.#unary.count + this.#streams.count === 0) this.#socket.end();
  }

  #onClose(): void {
    this.#cancelAll();
    this.#options.room.close();
    this.destroy();
  }

  #cancelAll(): void {
    this.#unary.cancelAll();
    this.#streams.cancelAll();
  }

  #onDrain(): void {
    this.#flush();
    if (this.readableLength < UNREAD_BYTES_MAX || this.#nodeGone) this.#socket.resume();
  }

  #take(bytes: Buffer): void {
    if (this.#failed) return;
    try {
      this.#input.push(bytes);
    } catch (error) {
      if (error instanceof InvariantError) throw error;
      this.#fail(error instanceof ConnectionError ? error.code : HTTP2_ERROR.protocol);
      return;
    }
    this.#deliver();
    // As node: who does not read is not read from.
    if (this.#socket.writableNeedDrain) this.#socket.pause();
  }

  #fail(code: number): void {
    this.#failed = true;
    const payload = Buffer.alloc(8);
    payload.writeUInt32BE(this.#lastStream, 0);
    payload.writeUInt32BE(code, 4);
    this.#socket.end(encodeFrame(FRAME_TYPE.goAway, 0, 0, payload));
    this.#cancelAll();
    this.destroy();
  }

  #tellNode(frame: Buffer): void {
    this.#forNode.push(frame);
  }

  #deliverSoon(): void {
    if (this.#delivering) return;
    this.#delivering = true;
    this.#options.clock.soon(() => {
      this.#delivering = false;
      this.#deliver();
    });
  }

  /** Hands on what has come: to node, to handlers; and lets the client send more. */
  #deliver(): void {
    this.#streams.deliver();
    if (this.#readBytes >= CREDIT_BYTES) {
      this.#send(encodeIntegerFrame(FRAME_TYPE.windowUpdate, 0, this.#readBytes));
      this.#readBytes = 0;
    }
    if (this.#forNode.length === 0) return;
    const frames = this.#forNode;
    this.#forNode = [];
    if (this.#nodeGone || this.destroyed) return;
    if (!this.push(frames.length === 1 ? frames[0] : Buffer.concat(frames))) this.#socket.pause();
  }

  get #maySend(): boolean {
    return this.#begun && !this.#nodes.blockOpen;
  }

  /** Sends a frame that is no part of an answer; in its turn, lest it comes within a header block. */
  #send(frame: Buffer): void {
    if (!this.#socket.writable || (this.#nodeGone && !this.#maySend)) return;
    if (this.#maySend) this.#socket.write(frame);
    else this.#options.clock.soon(() => this.#send(frame));
  }

  /** Throws a `ConnectionError`. */
  #frame(frame: Frame): void {
    const { type, stream, payload } = frame;
    if (type === FRAME_TYPE.headers) this.#headers(frame);
    else if (type === FRAME_TYPE.data) this.#data(frame);
    else if (type === FRAME_TYPE.windowUpdate) this.#windowUpdate(frame);
    else if (type === FRAME_TYPE.resetStream) this.#resetStream(frame);
    else if (type === FRAME_TYPE.priority) {
      if (stream === 0 || payload.length !== 5)
        throw new ConnectionError(HTTP2_ERROR.protocol, 'PRIORITY is malformed');
    } else {
      if (type === FRAME_TYPE.settings) this.#settings(frame);
      this.#tellNode(frame.bytes);
    }
  }

  #settings({ flags, payload }: Frame): void {
    if ((flags & FLAG.ack) !== 0) return;
    for (let at = 0; at + 6 <= payload.length; at += 6) {
      const value = payload.readUInt32BE(at + 2);
      const setting = payload.readUInt16BE(at);
      if (setting === SETTING.headerTableSize) this.#headerTable(value);
      if (setting === SETTING.initialWindowSize) {
        if (value > WINDOW_BYTES_MAX)
          throw new ConnectionError(HTTP2_ERROR.flowControl, 'a window is too large');
        this.#unary.windowsChanged(value - this.#streamWindowBytes);
        this.#streams.windowsChanged(value - this.#streamWindowBytes);
        this.#streamWindowBytes = value;
      }
    }
    this.#flushSoon();
  }

  /** Of the table that answers are not in. Once node may have used it, only node can say how it changes. */
  #headerTable(bytes: number): void {
    if (bytes === this.#headerTableBytes) return;
    if (this.#lastStream === 0 && bytes < this.#headerTableBytes) this.#blocks.shrinkTable(bytes);
    else if (Math.min(bytes, this.#headerTableBytes) < HEADER_TABLE_BYTES) this.#allForNode = true;
    this.#headerTableBytes = bytes;
  }

  #windowUpdate(frame: Frame): void {
    const { stream, payload } = frame;
    const bytes = payload.length === 4 ? payload.readUInt32BE(0) & WINDOW_BYTES_MAX : 0;
    if (bytes === 0) throw new ConnectionError(HTTP2_ERROR.protocol, 'WINDOW_UPDATE is malformed');
    if (stream === 0) return this.#connectionWindow(bytes);
    if (this.#unary.has(stream)) this.#unary.windowUpdate(stream, bytes);
    else if (this.#streams.has(stream)) this.#streams.windowUpdate(stream, bytes);
    else this.#passToNode(frame);
  }

  #connectionWindow(bytes: number): void {
    const window = this.#window;
    if (window.bytes + bytes > WINDOW_BYTES_MAX)
      throw new ConnectionError(HTTP2_ERROR.flowControl, 'the window is too large');
    window.bytes += bytes;
    const ours = Math.min(bytes, window.owedBytes);
    window.owedBytes -= ours;
    if (bytes > ours) this.#tellNode(connectionCredit(bytes - ours));
    this.#flushSoon();
  }

  #resetStream(frame: Frame): void {
    const { stream, payload } = frame;
    if (payload.length !== 4) throw new ConnectionError(HTTP2_ERROR.protocol, 'RST_STREAM is malformed');
    if (this.#unary.has(stream)) return this.#unary.cancel(stream);
    if (this.#streams.has(stream)) return this.#streams.cancel(stream);
    this.#passToNode(frame);
    this.#nodes.reset(stream);
  }

  /** A frame of a stream that is node's, or of one that was closed, which is dropped. */
  #passToNode({ stream, bytes }: Frame): void {
    if (stream > this.#lastStream || stream % 2 === 0)
      throw new ConnectionError(HTTP2_ERROR.protocol, 'a frame of a stream that is not open');
    const id = this.#nodes.idOf(stream);
    if (id === undefined) return;
    bytes.writeUInt32BE(id, 5);
    this.#tellNode(bytes);
  }

  #headers({ stream, flags, payload }: Frame): void {
    const request = this.#requests.read(payload);
    const ends = (flags & FLAG.endStream) !== 0;
    if (stream <= this.#lastStream) return this.#trailers(stream, ends, request);
    if (stream % 2 === 0)
      throw new ConnectionError(HTTP2_ERROR.protocol, 'a client has opened a stream of a server');
    this.#lastStream = stream;
    if (this.#isFull || this.#nodeGone || this.#nodes.goingAway) {
      this.#send(encodeIntegerFrame(FRAME_TYPE.resetStream, stream, HTTP2_ERROR.refusedStream));
      return;
    }
    const head = this.#allForNode || ends ? undefined : request.head;
    if (head === undefined) this.#open(stream, ends, request);
    else if ('stream' in head.method) {
      this.#streams.open(stream, head, head.method.stream, this.#streamWindowBytes);
    } else if (this.#unary.tooManyAbandoned) this.#open(stream, ends, request);
    else this.#unary.open(stream, head, head.method.unary, this.#streamWindowBytes);
  }

  get #isFull(): boolean {
    const open = this.#unary.count + this.#streams.count + this.#nodes.count;
    return open >= (this.#options.maxConcurrentStreams ?? Number.POSITIVE_INFINITY);
  }

  /** Opens a stream on node. */
  #open(stream: number, ends: boolean, { fields }: Pick<RequestBlock, 'fields'>): void {
    const id = this.#nodes.open(stream);
    this.#tellNode(literalHeaders(id, ends, fields));
    if (ends) this.#nodes.clientEnds(stream);
  }

  #trailers(stream: number, ends: boolean, { fields }: Pick<RequestBlock, 'fields'>): void {
    if (this.#streams.has(stream)) return this.#streams.trailers(stream, ends);
    this.#unary.trailers(stream);
    const id = this.#nodes.idOf(stream);
    if (id === undefined) return;
    this.#tellNode(literalHeaders(id, ends, fields));
    if (ends) this.#nodes.clientEnds(stream);
  }

  #data(frame: Frame): void {
    const { stream, flags, payload } = frame;
    if (this.#unary.data(frame)) return;
    if (this.#streams.has(stream)) return this.#streams.data(frame);
    if (this.#nodes.idOf(stream) === undefined) this.#readBytes += payload.length;
    this.#passToNode(frame);
    if ((flags & FLAG.endStream) !== 0) this.#nodes.clientEnds(stream);
  }

  #handOver(
    stream: number,
    head: Pick<RequestBlock, 'fields'>,
    pieces: readonly Buffer[],
    ends: boolean,
  ): void {
    this.#open(stream, false, head);
    const id = this.#nodes.idOf(stream) ?? 0;
    const last = pieces.length - 1;
    pieces.forEach((piece, index) => {
      this.#tellNode(dataFrame(id, ends && index === last, piece));
    });
    if (ends) this.#nodes.clientEnds(stream);
  }

  /** Many answers go out in one write. */
  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    this.#options.clock.soon(() => {
      this.#flushing = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (!this.#maySend || !this.#socket.writable) return;
    const released = this.#nodes.release();
    if (released.length > 0) this.#socket.write(released);
    if (this.#nodes.blockOpen || this.#socket.writableNeedDrain) return;
    this.#unary.answers.sendSmall();
    if (this.#unary.answers.waiting) this.#options.turns.add(this);
    else this.#streams.send();
  }

  /** Large answers and streams have equal shares. */
  takeTurn(bytesMax: number): number {
    const socket = this.#socket;
    if (!this.#maySend || !socket.writable || socket.writableNeedDrain) return 0;
    return this.#unary.answers.sendWaiting(bytesMax) + this.#streams.sendSome(bytesMax);
  }
}
