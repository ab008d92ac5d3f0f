import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import type { Clock } from '../../shared/base/clock.ts';
import { GrpcCode } from '../../shared/etcd/errors.ts';
import type { AnswerRoom } from '../state/answer-rooms.ts';
import type { AnswerTurns } from './answer-turns.ts';
import { encodeFrame, encodeIntegerFrame, FLAG, FRAME_TYPE, type Frame, PREFACE } from './http2-frames.ts';
import { connectionCredit, NodeStreams } from './node-streams.ts';
import { Peer } from './peer.ts';
import type { UnaryCall, UnaryMethod } from './service.ts';
import { type SendWindow, UnaryAnswers } from './unary-answers.ts';
import { SocketCall } from './unary-call.ts';
import { ConnectionError, HTTP2_ERROR, UnaryInput } from './unary-input.ts';
import { dataFrame, literalHeaders, type RequestBlock, UnaryRequests } from './unary-request.ts';

/**
 * A socket between a client and node's HTTP/2 that answers the client's plain unary calls itself, for node's streams
 * and grpc-js's calls cost the main thread more than everything else of such a call (docs/decisions/unary-fast-path.md).
 *
 * node has the connection: it sends and acknowledges SETTINGS, answers pings, keeps alive, says GOAWAY, and it serves
 * every stream that is not plain. Of the connection only this is shared, and kept right here:
 * - HPACK's table of requests is read here, and node gets each header block as literals that need no table. The table
 *   of responses is node's: answers from here are literals that enter no table;
 * - the client's window for us (`SendWindow`): see `NodeStreams`; node gets the client's updates less what it does not
 *   know to be spent;
 * - our window for the client: node gives back what it reads, this gives back the rest (`#take`);
 * - stream ids: see `NodeStreams`.
 * A frame that is malformed in what is shared ends the connection here; node judges the rest.
 */

/** Requests that are larger are node's, which has windows for them; less than a stream's window. */
const REQUEST_BYTES_MAX = 32 * 1024;
/** So much of the client's DATA is read before the client is told that it may send more. */
const CREDIT_BYTES = 16 * 1024;
/** Calls that clients have taken back and handlers still work on; beyond, node sees the next, with its own limit. */
const ABANDONED_MAX = 1_000;
/** A request that is not whole after one or two of these is node's, where `SlowRequests` has a limit for it. */
const LATE_MS = 1_000;
/** How long calls may take to end after node has ended its part of the connection. */
const ENDING_MS_MAX = 5_000;
/**
 * What node may leave unread. All DATA that the windows allow, lest WINDOW_UPDATE behind it is not read while node
 * waits for it.
 */
const UNREAD_BYTES_MAX = 10 * 1024 * 1024;
const STREAM_WINDOW_BYTES = 65_535;
const WINDOW_BYTES_MAX = 2 ** 31 - 1;
const SETTING = { headerTableSize: 1, initialWindowSize: 4 } as const;
const HEADER_TABLE_BYTES = 4096;

export interface UnarySocketOptions {
  readonly clock: Clock;
  /** What is answered here, by path. */
  readonly methods: ReadonlyMap<string, UnaryMethod>;
  readonly maxConcurrentStreams: number | undefined;
  /** One for all connections. */
  readonly turns: AnswerTurns;
  /** This connection's. */
  readonly room: AnswerRoom;
}

type Done = (error?: Error | null) => void;

export class UnarySocket extends Duplex {
  readonly #socket: Socket;
  readonly #peer: Peer;
  readonly #options: UnarySocketOptions;
  readonly #window: SendWindow = { bytes: STREAM_WINDOW_BYTES, owedBytes: 0 };
  readonly #calls = new Map<number, SocketCall>();
  readonly #input: UnaryInput;
  readonly #requests: UnaryRequests;
  readonly #nodes: NodeStreams;
  readonly #answers: UnaryAnswers;
  /** For node, at the end of the bytes at hand. */
  #forNode: Buffer[] = [];
  #streamWindowBytes = STREAM_WINDOW_BYTES;
  #headerTableBytes = HEADER_TABLE_BYTES;
  #lastStream = 0;
  /** DATA read here that the client has no credit for yet. */
  #readBytes = 0;
  #abandoned = 0;
  /** Every new stream is node's. */
  #allForNode = false;
  /** The connection was malformed. */
  #failed = false;
  #nodeGone = false;
  /** node has sent its SETTINGS, which must be a server's first frame. */
  #begun = false;
  #flushing = false;
  #looking = false;

  /** The socket's next bytes must be HTTP/2's preface. */
  constructor(socket: Socket, options: UnarySocketOptions) {
    super({ allowHalfOpen: false, readableHighWaterMark: UNREAD_BYTES_MAX });
    this.#socket = socket;
    this.#peer = new Peer(socket);
    this.#options = options;
    this.#requests = new UnaryRequests(options.methods);
    this.#input = new UnaryInput((frame) => this.#frame(frame));
    this.#nodes = new NodeStreams(this.#window, (bytes) => this.#tellNode(connectionCredit(bytes)));
    this.#answers = new UnaryAnswers(socket, this.#window, options.turns, {
      maySend: () => this.#maySend,
      sent: (call) => this.#close(call),
    });
    this.push(PREFACE);
    socket.on('data', (bytes: Buffer) => this.#take(bytes));
    socket.on('drain', () => this.#onDrain());
    // In HTTP/2 a client that has ended is gone; see `AuthoritySocket`.
    socket.on('end', () => socket.destroy());
    socket.on('close', () => this.#onClose());
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
    if (this.#nodeGone && this.#calls.size === 0) this.#socket.end();
  }

  #onClose(): void {
    for (const call of this.#calls.values()) this.#abandon(call);
    this.#options.room.close();
    this.destroy();
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
      this.#fail(error instanceof ConnectionError ? error.code : HTTP2_ERROR.protocol);
      return;
    }
    if (this.#readBytes >= CREDIT_BYTES) {
      this.#send(encodeIntegerFrame(FRAME_TYPE.windowUpdate, 0, this.#readBytes));
      this.#readBytes = 0;
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
    for (const call of this.#calls.values()) this.#abandon(call);
    this.#calls.clear();
    this.destroy();
  }

  #tellNode(frame: Buffer): void {
    this.#forNode.push(frame);
  }

  /** Hands node what has come for it. */
  #deliver(): void {
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
        for (const call of this.#calls.values()) call.windowBytes += value - this.#streamWindowBytes;
        this.#streamWindowBytes = value;
      }
    }
    this.#flushSoon();
  }

  /** Of the table that answers are not in. Once node may have used it, only node can say how it changes. */
  #headerTable(bytes: number): void {
    if (bytes === this.#headerTableBytes) return;
    if (this.#lastStream === 0 && bytes < this.#headerTableBytes) this.#answers.shrinkTable(bytes);
    else if (Math.min(bytes, this.#headerTableBytes) < HEADER_TABLE_BYTES) this.#allForNode = true;
    this.#headerTableBytes = bytes;
  }

  #windowUpdate(frame: Frame): void {
    const { stream, payload } = frame;
    const bytes = payload.length === 4 ? payload.readUInt32BE(0) & WINDOW_BYTES_MAX : 0;
    if (bytes === 0) throw new ConnectionError(HTTP2_ERROR.protocol, 'WINDOW_UPDATE is malformed');
    if (stream === 0) return this.#connectionWindow(bytes);
    const call = this.#calls.get(stream);
    if (call === undefined) return this.#passToNode(frame);
    call.windowBytes += bytes;
    if (call.windowBytes > WINDOW_BYTES_MAX) this.#reset(call, HTTP2_ERROR.flowControl);
    else this.#flushSoon();
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
    const call = this.#calls.get(frame.stream);
    if (frame.payload.length !== 4)
      throw new ConnectionError(HTTP2_ERROR.protocol, 'RST_STREAM is malformed');
    if (call === undefined) {
      this.#passToNode(frame);
      this.#nodes.reset(frame.stream);
      return;
    }
    if (!call.handed) this.#readBytes += call.pieceBytes;
    this.#abandon(call);
    this.#close(call);
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
    const open = this.#calls.size + this.#nodes.count;
    const full = open >= (this.#options.maxConcurrentStreams ?? Number.POSITIVE_INFINITY);
    if (full || this.#nodeGone || this.#nodes.goingAway) {
      this.#send(encodeIntegerFrame(FRAME_TYPE.resetStream, stream, HTTP2_ERROR.refusedStream));
      return;
    }
    const head = this.#allForNode || this.#abandoned > ABANDONED_MAX ? undefined : request.head;
    if (head === undefined || ends) return this.#open(stream, ends, request);
    const call = new SocketCall(stream, head, this.#streamWindowBytes, {
      peer: this.#peer,
      room: this.#options.room,
    });
    this.#calls.set(stream, call);
    this.#lookLater();
    const { timeoutMs } = head;
    if (timeoutMs !== undefined) {
      call.timer = this.#options.clock.after(timeoutMs, () => this.#deadline(call));
    }
  }

  /** Opens a stream on node. */
  #open(stream: number, ends: boolean, { fields }: Pick<RequestBlock, 'fields'>): void {
    const id = this.#nodes.open(stream);
    this.#tellNode(literalHeaders(id, ends, fields));
    if (ends) this.#nodes.clientEnds(stream);
  }

  #trailers(stream: number, ends: boolean, { fields }: Pick<RequestBlock, 'fields'>): void {
    const call = this.#calls.get(stream);
    if (call !== undefined && !call.handed && !call.answered) this.#handOver(call);
    const id = this.#nodes.idOf(stream);
    if (id === undefined) return;
    this.#tellNode(literalHeaders(id, ends, fields));
    if (ends) this.#nodes.clientEnds(stream);
  }

  #data(frame: Frame): void {
    const { stream, flags, payload } = frame;
    const ends = (flags & FLAG.endStream) !== 0;
    const call = this.#calls.get(stream);
    if (call === undefined) {
      if (this.#nodes.idOf(stream) === undefined) this.#readBytes += payload.length;
      this.#passToNode(frame);
      if (ends) this.#nodes.clientEnds(stream);
      return;
    }
    if (call.answered && !call.handed) {
      this.#readBytes += payload.length;
      call.handed = ends;
      return;
    }
    if (call.handed)
      throw new ConnectionError(HTTP2_ERROR.protocol, 'DATA on a stream that the client has ended');
    if ((flags & FLAG.padded) !== 0 || call.pieceBytes + payload.length > REQUEST_BYTES_MAX) {
      this.#handOver(call);
      this.#data(frame);
      return;
    }
    call.pieceBytes += payload.length;
    call.pieces.push(payload);
    if (ends) this.#handle(call);
  }

  /** The client has ended its request. */
  #handle(call: SocketCall): void {
    const message = call.message();
    if (message === undefined) {
      this.#handOver(call, true);
      return;
    }
    this.#readBytes += call.pieceBytes;
    call.handed = true;
    call.request = message;
    call.pieces = [];
    const { room } = call;
    if (!room.isFull(false)) this.#call(call);
    else room.wait({ wanted: call, go: () => this.#call(call), drop: () => this.#settled(call) }, false);
  }

  #call(call: SocketCall): void {
    call.head.method(call.request, call as unknown as UnaryCall, (failure, response) => {
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

  /** Gives node a request that is not plain after all, with what has come of it. */
  #handOver(call: SocketCall, ends = false): void {
    call.over = true;
    call.timer?.cancel();
    this.#calls.delete(call.stream);
    this.#open(call.stream, false, call.head);
    const id = this.#nodes.idOf(call.stream) ?? 0;
    const last = call.pieces.length - 1;
    call.pieces.forEach((piece, index) => {
      this.#tellNode(dataFrame(id, ends && index === last, piece));
    });
    if (ends) this.#nodes.clientEnds(call.stream);
  }

  #lookLater(): void {
    if (this.#looking) return;
    this.#looking = true;
    this.#options.clock.after(LATE_MS, () => {
      this.#looking = false;
      let waits = false;
      for (const call of this.#calls.values()) {
        if (call.handed || call.answered) continue;
        if (call.late) this.#handOver(call);
        else call.late = waits = true;
      }
      this.#deliver();
      if (waits) this.#lookLater();
    });
  }

  #deadline(call: SocketCall): void {
    if (call.over || call.answered) return;
    call.failure = { code: GrpcCode.DeadlineExceeded, details: 'Deadline exceeded' };
    if (!call.handed) this.#readBytes += call.pieceBytes;
    this.#answer(call);
  }

  #answer(call: SocketCall): void {
    call.timer?.cancel();
    call.answered = true;
    this.#answers.add(call);
    this.#flushSoon();
  }

  /** Nobody waits for the answer any more. */
  #abandon(call: SocketCall): void {
    if (call.handed && !call.answered) {
      call.abandoned = true;
      this.#abandoned++;
    }
    this.#answers.remove(call);
  }

  #reset(call: SocketCall, error: number): void {
    this.#abandon(call);
    this.#send(encodeIntegerFrame(FRAME_TYPE.resetStream, call.stream, error));
    this.#close(call);
  }

  /** The stream is closed. */
  #close(call: SocketCall): void {
    call.timer?.cancel();
    call.over = true;
    if (call.filledBytes !== undefined) call.room.empty(call.filledBytes);
    this.#calls.delete(call.stream);
    // A client that has not ended its request need not (RFC 9113, section 8.1).
    if (!call.handed && call.answered && !this.#failed) {
      this.#send(encodeIntegerFrame(FRAME_TYPE.resetStream, call.stream, HTTP2_ERROR.none));
    }
    this.#endIfIdle();
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
    if (!this.#nodes.blockOpen) this.#answers.flush();
  }
}
