import {
  encodeIntegerFrame,
  FLAG,
  FRAME_HEADER_BYTES,
  FRAME_TYPE,
  type Frame,
  FrameCutter,
} from './http2-frames.ts';
import { dataFrame } from './plain-request.ts';
import type { SendWindow } from './unary-answers.ts';

/**
 * The streams of a connection that node's HTTP/2 serves, and the frames that it sends. node has ids of its own for
 * them, in the order in which it got the streams: one may be handed to it late.
 *
 * node does not know that others send on the connection, so it may send DATA for which the client's window has no
 * room left: that is held here, and what the same stream sends after it. It is no more than what others have sent of the
 * client's own window.
 */

interface NodeStream {
  readonly client: number;
  readonly node: number;
  clientEnded: boolean;
  nodeEnded: boolean;
  /** Frames held. */
  held: number;
}

/** DATA that the window has no room for, or what comes behind it; without padding, which node does not send. */
interface HeldFrame {
  readonly stream: NodeStream;
  bytes: Buffer;
}

const GOAWAY_ANY = 0x7fff_ffff;
const STREAM_AT = 5;

export class NodeStreams {
  readonly #window: SendWindow;
  readonly #credit: (bytes: number) => void;
  readonly #cutter = new FrameCutter();
  readonly #ofClient = new Map<number, NodeStream>();
  readonly #ofNode = new Map<number, NodeStream>();
  #held: HeldFrame[] = [];
  #nextNode = 1;
  #blockOpen = false;
  #goingAway = false;

  /** `credit` gives node back what it has spent on DATA that nobody gets. */
  constructor(window: SendWindow, credit: (bytes: number) => void) {
    this.#window = window;
    this.#credit = credit;
  }

  get count(): number {
    return this.#ofClient.size;
  }

  /** A header block is begun: nothing may come between it and its CONTINUATION. */
  get blockOpen(): boolean {
    return this.#blockOpen;
  }

  /** node has told the client to go elsewhere. */
  get goingAway(): boolean {
    return this.#goingAway;
  }

  /** Begins a stream; returns node's id of it. */
  open(client: number): number {
    const node = this.#nextNode;
    this.#nextNode += 2;
    const stream = { client, node, clientEnded: false, nodeEnded: false, held: 0 };
    this.#ofClient.set(client, stream);
    this.#ofNode.set(node, stream);
    return node;
  }

  /** node's id of a client's stream; undefined when node does not serve it. */
  idOf(client: number): number | undefined {
    return this.#ofClient.get(client)?.node;
  }

  /** The client sends nothing more on the stream. */
  clientEnds(client: number): void {
    const stream = this.#ofClient.get(client);
    if (stream === undefined) return;
    stream.clientEnded = true;
    if (stream.nodeEnded) this.#forget(stream);
  }

  /** The client has reset the stream. */
  reset(client: number): void {
    const stream = this.#ofClient.get(client);
    if (stream !== undefined) this.#forget(stream);
  }

  /**
   * Takes what node sends, and changes it; returns what is to go to the client now. `lastStream` is the last that the
   * client began.
   */
  take(bytes: Buffer, lastStream: number): Buffer {
    this.#cutter.push(bytes);
    const out: Buffer[] = [];
    for (let frame = this.#cutter.next(); frame !== undefined; frame = this.#cutter.next()) {
      const sent = this.#frame(frame, lastStream);
      if (sent !== undefined) out.push(sent);
    }
    return out.length === 1 ? out[0]! : Buffer.concat(out);
  }

  /** What was held and fits the window now. */
  release(): Buffer {
    const out: Buffer[] = [];
    let released = 0;
    for (const held of this.#held) {
      const { stream, bytes } = held;
      if (bytes[3] === FRAME_TYPE.data && !this.#spend(bytes.length - FRAME_HEADER_BYTES)) {
        if (this.#window.bytes > 0) out.push(this.#cut(held));
        break;
      }
      released++;
      stream.held--;
      out.push(bytes);
      this.#passed(stream, bytes);
    }
    if (released > 0) this.#held = this.#held.slice(released);
    return Buffer.concat(out);
  }

  /** The beginning of a DATA frame, as much as the window takes: else answers would take it, each time it opens a little. */
  #cut(held: HeldFrame): Buffer {
    const { bytes } = held;
    const end = FRAME_HEADER_BYTES + this.#window.bytes;
    const first = dataFrame(held.stream.client, false, bytes.subarray(FRAME_HEADER_BYTES, end));
    const ends = (bytes.readUInt8(4) & FLAG.endStream) !== 0;
    held.bytes = dataFrame(held.stream.client, ends, bytes.subarray(end));
    this.#spend(this.#window.bytes);
    return first;
  }

  #frame({ type, stream: id, bytes, payload }: Frame, lastStream: number): Buffer | undefined {
    if (id === 0) {
      if (type === FRAME_TYPE.goAway) this.#goAway(payload, lastStream);
      return bytes;
    }
    const stream = this.#ofNode.get(id);
    if (stream === undefined) {
      if (type === FRAME_TYPE.data) this.#credit(payload.length);
      return undefined;
    }
    bytes.writeUInt32BE(stream.client, STREAM_AT);
    const isData = type === FRAME_TYPE.data;
    if (type !== FRAME_TYPE.resetStream && type !== FRAME_TYPE.windowUpdate) {
      if (stream.held > 0 || (isData && !this.#spend(payload.length))) {
        stream.held++;
        this.#held.push({ stream, bytes });
        return undefined;
      }
    }
    this.#passed(stream, bytes);
    return bytes;
  }

  #passed(stream: NodeStream, bytes: Buffer): void {
    const type = bytes.readUInt8(3);
    const flags = bytes.readUInt8(4);
    if (type === FRAME_TYPE.resetStream) return this.#forget(stream);
    if (type === FRAME_TYPE.headers || type === FRAME_TYPE.continuation) {
      this.#blockOpen = (flags & FLAG.endHeaders) === 0;
    }
    const mayEnd = type === FRAME_TYPE.headers || type === FRAME_TYPE.data;
    if (mayEnd && (flags & FLAG.endStream) !== 0) {
      stream.nodeEnded = true;
      if (stream.clientEnded && !this.#blockOpen) this.#forget(stream);
    } else if (type === FRAME_TYPE.continuation && stream.nodeEnded && stream.clientEnded) {
      if (!this.#blockOpen) this.#forget(stream);
    }
  }

  /** Streams that node has not got are being served too: their client must not take them for not begun. */
  #goAway(payload: Buffer, lastStream: number): void {
    this.#goingAway = true;
    if (payload.length >= 4 && (payload.readUInt32BE(0) & GOAWAY_ANY) !== GOAWAY_ANY) {
      payload.writeUInt32BE(lastStream, 0);
    }
  }

  #spend(bytes: number): boolean {
    if (bytes > 0 && bytes > this.#window.bytes) return false;
    this.#window.bytes -= bytes;
    return true;
  }

  #forget(stream: NodeStream): void {
    this.#ofClient.delete(stream.client);
    this.#ofNode.delete(stream.node);
    if (stream.held === 0) return;
    for (const { stream: of, bytes } of this.#held) {
      if (of === stream && bytes[3] === FRAME_TYPE.data) this.#credit(bytes.length - FRAME_HEADER_BYTES);
    }
    this.#held = this.#held.filter(({ stream: of }) => of !== stream);
  }
}

/** For node: so many bytes more of the connection's window. */
export function connectionCredit(bytes: number): Buffer {
  return encodeIntegerFrame(FRAME_TYPE.windowUpdate, 0, bytes);
}
