import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  constants,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from 'node:http2';
import { type Duplex, duplexPair } from 'node:stream';
import { asBuffer } from '../../shared/base/bytes.ts';
import { GrpcCode } from '../../shared/etcd/errors.ts';
import { CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES } from './windows.ts';

/**
 * A gRPC client of this process's own gRPC server, on a connection that never leaves the process. The JSON gateway
 * makes its calls through it, as etcd's does: so whatever a service does with a call (metadata, metering, cancelling,
 * flow control, limits) holds for the gateway without a line of its own.
 */

/** How a call ended, when not well; the message is gRPC's. */
export class CallError extends Error {
  override name = 'CallError';
  readonly code: GrpcCode;

  constructor(code: GrpcCode, message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * A write to one end of a pair is done when the other end has room for it. node's HTTP/2 does not read while a write is
 * not done, so both ends would wait for each other when both have much to send: there is always room, and the windows
 * bound what is held.
 */
const PAIR_BYTES_MAX = 2 ** 30;
/** node's own bookkeeping, in MB, would reset streams; the windows bound what is held. */
const SESSION_MEMORY_MB_MAX = Number.MAX_SAFE_INTEGER;
/** Not compressed, and four bytes of length. */
const PREFIX_BYTES = 5;

export class Loopback {
  readonly #inject: (connection: Duplex) => void;
  #session: ClientHttp2Session | undefined;

  /** `inject` gives the server its end of a new connection. */
  constructor(inject: (connection: Duplex) => void) {
    this.#inject = inject;
  }

  /** Begins a call of `/service/method`. */
  call(path: string, metadata: OutgoingHttpHeaders): LoopbackCall {
    const headers = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' };
    return new LoopbackCall(this.#open().request({ ...metadata, ...headers }));
  }

  /** Ends the connection and every call on it. */
  close(): void {
    this.#session?.destroy();
  }

  #open(): ClientHttp2Session {
    const open = this.#session;
    if (open !== undefined && !open.closed && !open.destroyed) return open;
    const [client, server] = duplexPair({ highWaterMark: PAIR_BYTES_MAX });
    const session = connect('http://gateway', {
      createConnection: () => client,
      maxSessionMemory: SESSION_MEMORY_MB_MAX,
      settings: { initialWindowSize: STREAM_WINDOW_BYTES, enablePush: false },
    });
    session.on('error', () => session.destroy());
    session.on('connect', () => session.setLocalWindowSize(CONNECTION_WINDOW_BYTES));
    this.#session = session;
    this.#inject(server);
    return session;
  }
}

export class LoopbackCall {
  readonly #stream: ClientHttp2Stream;
  #status: { readonly code: GrpcCode; readonly message: string } | undefined;
  #cancelled: CallError | undefined;

  constructor(stream: ClientHttp2Stream) {
    this.#stream = stream;
    const learn = (headers: IncomingHttpHeaders): void => {
      this.#status ??= statusIn(headers);
    };
    stream.on('response', learn).on('trailers', learn);
    // Whoever reads the messages is told; until then a failure must not end the process.
    stream.on('error', () => {});
  }

  /** Sends one message, and waits while the server is slow; it does nothing on a call that has ended. */
  async send(message: Uint8Array): Promise<void> {
    const stream = this.#stream;
    if (!stream.writable) return;
    const prefix = Buffer.alloc(PREFIX_BYTES);
    prefix.writeUInt32BE(message.length, 1);
    stream.write(prefix);
    if (stream.write(asBuffer(message))) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        stream.off('drain', done).off('close', done);
        resolve();
      };
      stream.on('drain', done).on('close', done);
    });
  }

  /** Says that no message follows. */
  end(): void {
    if (this.#stream.writable) this.#stream.end();
  }

  /** Takes the call back; `messages` ends with `reason`. Harmless when the call has ended. */
  cancel(reason: CallError): void {
    this.#cancelled ??= reason;
    this.#stream.close(constants.NGHTTP2_CANCEL);
  }

  /** The server's messages, each read when it is asked for. Throws a `CallError` at the end of a call that failed. */
  async *messages(): AsyncGenerator<Buffer, void> {
    const pieces = new MessageCutter();
    try {
      for await (const piece of this.#stream) {
        pieces.push(piece as Buffer);
        for (let message = pieces.next(); message !== undefined; message = pieces.next()) yield message;
      }
    } catch (error) {
      throw this.#failure() ?? new CallError(GrpcCode.Unavailable, (error as Error).message);
    }
    const failure = this.#failure();
    if (failure !== undefined) throw failure;
  }

  #failure(): CallError | undefined {
    if (this.#cancelled !== undefined) return this.#cancelled;
    const status = this.#status ?? { code: GrpcCode.Unavailable, message: 'etcdserver: server stopped' };
    return status.code === GrpcCode.OK ? undefined : new CallError(status.code, status.message);
  }
}

function statusIn(headers: IncomingHttpHeaders): { code: GrpcCode; message: string } | undefined {
  const code = headers['grpc-status'];
  if (code === undefined) return undefined;
  return { code: Number(code) as GrpcCode, message: unescaped(String(headers['grpc-message'] ?? '')) };
}

function unescaped(message: string): string {
  try {
    return decodeURIComponent(message);
  } catch {
    return message;
  }
}

/** Cuts a stream's bytes into gRPC messages. */
class MessageCutter {
  #pieces: Buffer[] = [];
  #length = 0;

  push(piece: Buffer): void {
    this.#pieces.push(piece);
    this.#length += piece.length;
  }

  /** The next whole message, without its prefix. */
  next(): Buffer | undefined {
    if (this.#length < PREFIX_BYTES) return undefined;
    const length = this.#first(PREFIX_BYTES).readUInt32BE(1);
    const end = PREFIX_BYTES + length;
    if (this.#length < end) return undefined;
    const bytes = this.#first(end);
    this.#pieces[0] = bytes.subarray(end);
    this.#length -= end;
    return bytes.subarray(PREFIX_BYTES, end);
  }

  /** The first piece, made to hold at least `length` bytes. */
  #first(length: number): Buffer {
    const [first] = this.#pieces;
    if (first !== undefined && first.length >= length) return first;
    const joined = Buffer.concat(this.#pieces);
    this.#pieces = [joined];
    return joined;
  }
}
