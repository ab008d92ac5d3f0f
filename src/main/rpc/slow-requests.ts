import { constants, type Http2Server, type IncomingHttpHeaders, type ServerHttp2Stream } from 'node:http2';
import type { Clock, Timer } from '../../shared/base/clock.ts';
import type { Log } from '../../shared/base/log.ts';

/**
 * Closes HTTP/2 streams whose request does not arrive whole in time: a client that sends a byte now and then would
 * keep what it has sent in our memory for ever. grpc-js has no limit of its own, and a call's deadline is the client's
 * choice.
 *
 * Made for calls that are whole at once, as nearly all are: a stream is looked at when the turn of the event loop that
 * brought its headers is over, and forgotten if its end has come by then. Only the others are kept in mind.
 *
 * A bidirectional stream has no end while it lives, so there each message must be whole in time.
 */

/** Of the time that a request has. */
const LOOKS_PER_TIMEOUT = 4;

/** gRPC's length-prefixed messages: one byte of flags, four of length. */
const PREFIX_BYTES = 5;
const LENGTH_AT = 1;

interface Waiting {
  readonly sinceMs: number;
}

/** A bidirectional stream, node's or one beside it. */
export interface FollowedStream {
  isPaused(): boolean;
  close(code: number): void;
}

/** Told of a followed stream's bytes, all of them, and of its end. */
export interface Follower {
  push(bytes: Buffer): void;
  ended(): void;
}

export interface SlowRequestsParts {
  readonly timeoutMs: number;
  /** Whether a path is one of a bidirectional stream. */
  readonly isDuplex: (path: string) => boolean;
  readonly clock: Clock;
  readonly log: Log;
}

export class SlowRequests {
  readonly #parts: SlowRequestsParts;
  /** Begun in this turn of the event loop. */
  #young: ServerHttp2Stream[] = [];
  readonly #waiting = new Map<ServerHttp2Stream, Waiting>();
  /** Bidirectional streams with a message that is not whole. */
  readonly #partial = new Map<FollowedStream, Waiting>();
  #timer: Timer | undefined;

  constructor(parts: SlowRequestsParts) {
    this.#parts = parts;
  }

  /** To be called after the listeners that serve its streams are there. */
  watch(server: Http2Server): void {
    server.on('stream', this.#onStream);
  }

  readonly #onStream = (stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void => {
    if (this.#parts.isDuplex(headers[':path'] ?? '')) return this.#followMessages(stream);
    if (this.#young.push(stream) === 1) this.#parts.clock.soon(this.#sift);
  };

  readonly #sift = (): void => {
    const young = this.#young;
    this.#young = [];
    for (const stream of young) {
      if (!isWhole(stream)) this.#remember(this.#waiting, stream);
    }
  };

  #followMessages(stream: ServerHttp2Stream): void {
    const follower = this.follow(stream);
    stream.on('data', (bytes: Buffer) => follower.push(bytes));
    stream.once('close', () => follower.ended());
  }

  /** Closes a bidirectional stream when a message of its client does not arrive whole in time. */
  follow(stream: FollowedStream): Follower {
    const reader = new MessageEnds();
    return {
      push: (bytes) => {
        reader.push(bytes);
        if (!reader.partial) this.#partial.delete(stream);
        else if (!this.#partial.has(stream)) this.#remember(this.#partial, stream);
      },
      ended: () => void this.#partial.delete(stream),
    };
  }

  #remember<S>(where: Map<S, Waiting>, stream: S): void {
    const { clock, timeoutMs } = this.#parts;
    where.set(stream, { sinceMs: clock.monotonicMs() });
    this.#timer ??= clock.after(timeoutMs / LOOKS_PER_TIMEOUT, this.#look);
  }

  readonly #look = (): void => {
    const { clock, timeoutMs, log } = this.#parts;
    this.#timer = undefined;
    const now = clock.monotonicMs();
    const late = now - timeoutMs;
    for (const stream of this.#waiting.keys()) if (isWhole(stream)) this.#waiting.delete(stream);
    for (const stream of this.#partial.keys()) {
      // We let it wait, not its client.
      if (stream.isPaused()) this.#partial.set(stream, { sinceMs: now });
    }
    const closed = closeLate(this.#waiting, late) + closeLate(this.#partial, late);
    if (closed > 0) log.warn('requests closed that did not arrive in time', { count: closed, timeoutMs });
    if (this.#waiting.size + this.#partial.size > 0) {
      this.#timer = clock.after(timeoutMs / LOOKS_PER_TIMEOUT, this.#look);
    }
  };
}

/** Closes the streams that wait since `lateMs` or longer; answers how many. */
function closeLate(where: Map<FollowedStream, Waiting>, lateMs: number): number {
  let closed = 0;
  for (const [stream, { sinceMs }] of where) {
    if (sinceMs > lateMs) continue;
    where.delete(stream);
    stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    closed++;
  }
  return closed;
}

/**
 * Whether nothing of the request is to come. node's own mark of that is looked at first, because it costs nothing; it
 * is not documented, so where it says no, or is gone, HTTP/2's state of the stream decides.
 */
function isWhole(stream: ServerHttp2Stream): boolean {
  if (stream.destroyed || stream.closed || stream.readableEnded) return true;
  const { _readableState: state } = stream as { _readableState?: { ended?: boolean } };
  if (state?.ended === true) return true;
  return stream.state.state === constants.NGHTTP2_STREAM_STATE_HALF_CLOSED_REMOTE;
}

/** Tells, of a stream's bytes, whether they end within a message. */
class MessageEnds {
  #prefix = Buffer.alloc(PREFIX_BYTES);
  #prefixBytes = 0;
  #bodyBytesLeft = 0;

  get partial(): boolean {
    return this.#prefixBytes > 0;
  }

  push(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.#prefixBytes < PREFIX_BYTES) {
        const copied = bytes.copy(this.#prefix, this.#prefixBytes, at);
        this.#prefixBytes += copied;
        at += copied;
        if (this.#prefixBytes < PREFIX_BYTES) return;
        this.#bodyBytesLeft = this.#prefix.readUInt32BE(LENGTH_AT);
      }
      const taken = Math.min(this.#bodyBytesLeft, bytes.length - at);
      this.#bodyBytesLeft -= taken;
      at += taken;
      if (this.#bodyBytesLeft === 0) this.#prefixBytes = 0;
    }
  }
}
