import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { AuthorityStream } from './authority.ts';
import { PREFACE } from './http2-frames.ts';

/**
 * A socket whose client sends URLs as `:authority`, as HTTP/2 servers take it. node runs HTTP/2 over it in JavaScript
 * and not on the socket's own handle: slower, and without the peer's address, for these connections alone.
 *
 * The socket's next bytes must be those after HTTP/2's preface.
 */
export class AuthoritySocket extends Duplex {
  readonly #socket: Socket;
  readonly #stream = new AuthorityStream();

  constructor(socket: Socket) {
    super({ allowHalfOpen: false });
    this.#socket = socket;
    this.push(PREFACE);
    socket.on('data', (bytes: Buffer) => this.#take(bytes));
    // In HTTP/2 a client that has ended is gone. Passing its end on instead makes node shut this stream down while a
    // stream's RST_STREAM may still be written, which ends the process by an assertion in node's JSStreamSocket.
    socket.on('end', () => this.destroy());
    socket.on('close', () => this.destroy());
  }

  #take(bytes: Buffer): void {
    const rewritten = this.#stream.push(bytes);
    if (rewritten.length > 0 && !this.push(rewritten)) this.#socket.pause();
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.write(bytes, done);
  }

  override _final(done: () => void): void {
    this.#socket.end(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }
}
