import { BlockJoiner, type Frame, FrameCutter, isBlockFrame, PREFACE } from './http2-frames.ts';

/** Error codes (RFC 9113, section 7). */
export const HTTP2_ERROR = {
  none: 0,
  protocol: 1,
  flowControl: 3,
  frameSize: 6,
  refusedStream: 7,
  compression: 9,
} as const;

/** What ends a connection. */
export class ConnectionError extends Error {
  override name = 'ConnectionError';
  readonly code: number;

  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** A client's bytes as frames; each header block is one HEADERS frame whose payload is the block alone. */
export class DirectInput {
  readonly #take: (frame: Frame) => void;
  readonly #cutter = new FrameCutter();
  readonly #joiner = new BlockJoiner();
  #prefaceRead = false;

  constructor(take: (frame: Frame) => void) {
    this.#take = take;
  }

  /** Takes the next bytes. Throws a `ConnectionError`, and what `take` throws; then it is of no more use. */
  push(bytes: Buffer): void {
    this.#cutter.push(bytes);
    if (!this.#prefaceRead) {
      const preface = this.#cutter.take(PREFACE.length);
      if (preface === undefined) return;
      if (!preface.equals(PREFACE)) throw new ConnectionError(HTTP2_ERROR.protocol, 'no HTTP/2 preface');
      this.#prefaceRead = true;
    }
    for (let frame = this.#cutter.next(); frame !== undefined; frame = this.#cutter.next()) {
      this.#frame(frame);
    }
    if (this.#cutter.tooLarge) throw new ConnectionError(HTTP2_ERROR.frameSize, 'a frame is too large');
  }

  #frame(frame: Frame): void {
    if (!isBlockFrame(frame) && !this.#joiner.open) {
      this.#take(frame);
      return;
    }
    let block: ReturnType<BlockJoiner['take']>;
    try {
      block = this.#joiner.take(frame);
    } catch (error) {
      throw new ConnectionError(HTTP2_ERROR.protocol, (error as Error).message);
    }
    if (block !== undefined) this.#take({ ...block.first, payload: block.fields });
  }
}
