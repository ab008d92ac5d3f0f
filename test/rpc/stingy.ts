import { once } from 'node:events';
import { connect } from 'node:net';
import {
  encodeFrame,
  encodeIntegerFrame,
  encodeSettings,
  FLAG,
  FRAME_TYPE,
  FrameCutter,
  PREFACE,
} from '../../src/main/rpc/http2-frames.ts';
import { data, headers, message } from './raw-http2.ts';

const MANY_BYTES = 2 ** 30;
/** Of a connection, at first. */
const WINDOW_BYTES = 65_535;

/** A client that gives the server no more of its connection's window than it says. */
export class Stingy {
  readonly #socket;
  readonly #cutter = new FrameCutter();
  readonly #received = new Map<number, number>();
  /** Streams that the server has ended, in that order. */
  readonly ended: number[] = [];
  #bytes = 0;
  #windowBytes = WINDOW_BYTES;
  #pings = 0;

  constructor(port: number) {
    this.#socket = connect({ port, host: '127.0.0.1' });
    const initialWindowSize = 4;
    this.#socket.write(Buffer.concat([PREFACE, encodeSettings([[initialWindowSize, MANY_BYTES]])]));
    this.#socket.on('data', (bytes: Buffer) => {
      this.#cutter.push(bytes);
      for (let frame = this.#cutter.next(); frame !== undefined; frame = this.#cutter.next()) {
        const { type, flags, stream, payload } = frame;
        if (type === FRAME_TYPE.settings && (flags & FLAG.ack) === 0) {
          this.#socket.write(encodeFrame(FRAME_TYPE.settings, FLAG.ack, 0, Buffer.alloc(0)));
        }
        if (type === FRAME_TYPE.ping) this.#pings++;
        if (type === FRAME_TYPE.data) {
          this.#bytes += payload.length;
          this.#received.set(stream, this.received(stream) + payload.length);
        }
        const mayEnd = type === FRAME_TYPE.headers || type === FRAME_TYPE.data;
        if (mayEnd && (flags & FLAG.endStream) !== 0) this.ended.push(stream);
      }
    });
  }

  received(stream: number): number {
    return this.#received.get(stream) ?? 0;
  }

  open(stream: number, path: string): void {
    this.#socket.write(
      headers(stream, [
        ...([[':method', 'POST']] as const),
        ...([[':scheme', 'http']] as const),
        ...([[':path', path]] as const),
        ...([[':authority', 'a:1']] as const),
        ...([['content-type', 'application/grpc']] as const),
        ...([['te', 'trailers']] as const),
      ]),
    );
  }

  send(stream: number, text: string | Uint8Array, ends = true): void {
    this.#socket.write(data(stream, message(Buffer.from(text)), ends ? FLAG.endStream : 0));
  }

  cancel(stream: number): void {
    const cancelled = 8;
    this.#socket.write(encodeIntegerFrame(FRAME_TYPE.resetStream, stream, cancelled));
  }

  end(stream: number): void {
    this.#socket.write(data(stream, Buffer.alloc(0)));
  }

  /** How much more than the connection's window allowed has come; negative while there is room. */
  get overdrawnBytes(): number {
    return this.#bytes - this.#windowBytes;
  }

  /** With padding, by which a call is no plain one. */
  sendPadded(stream: number, bytes: Uint8Array): void {
    const padded = Buffer.concat([Buffer.of(1), message(bytes), Buffer.alloc(1)]);
    this.#socket.write(data(stream, padded, FLAG.endStream | FLAG.padded));
  }

  /** Resolves when so much DATA has come, of all streams. */
  async until(bytes: number): Promise<void> {
    while (this.#bytes < bytes) await once(this.#socket, 'data');
  }

  /** Resolves when the server has taken what was sent. */
  async ping(): Promise<void> {
    const before = this.#pings;
    this.#socket.write(encodeFrame(FRAME_TYPE.ping, 0, 0, Buffer.alloc(8)));
    while (this.#pings === before) await once(this.#socket, 'data');
  }

  /** Opens the window a little and waits until that is used up; again and again, until `enough`. */
  async giveUntil(stepBytes: number, enough: () => boolean): Promise<void> {
    while (!enough()) {
      const used = this.#bytes + stepBytes;
      this.#windowBytes += stepBytes;
      this.#socket.write(encodeIntegerFrame(FRAME_TYPE.windowUpdate, 0, stepBytes));
      while (this.#bytes < used && !enough()) await once(this.#socket, 'data');
    }
  }

  /** Takes whatever comes from now on. */
  takeAll(): void {
    this.#socket.write(encodeIntegerFrame(FRAME_TYPE.windowUpdate, 0, MANY_BYTES));
  }

  close(): void {
    this.#socket.destroy();
  }
}
