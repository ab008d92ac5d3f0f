import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock, Timer } from '../../shared/base/clock.ts';
import { withoutUrl } from './authority.ts';
import { AuthoritySocket } from './authority-socket.ts';
import {
  BlockJoiner,
  encodeFrame,
  encodeSettings,
  FLAG,
  FRAME_TYPE,
  type Frame,
  FrameCutter,
  isBlockFrame,
  PREFACE,
} from './http2-frames.ts';

/**
 * Looks at an HTTP/2 connection until its first request's headers are there, to tell whether the client sends URLs as
 * `:authority` (see `withoutUrl`). Then node's HTTP/2 gets the connection with all that has come, as if nothing
 * had been read: on the socket's own handle, or over an `AuthoritySocket` for the clients that need it.
 *
 * grpc-go and gRPC's C core send no request before the server's SETTINGS. So when a client has said nothing but its
 * own SETTINGS, one is sent from here. node will send another, which is legal; but node takes an acknowledgement that
 * it did not ask for as an error. Hence the invariant: node gets the connection when the acknowledgement of our
 * SETTINGS has come, and without it. Pings are answered meanwhile, not passed on.
 *
 * What is malformed, too large or late goes to node as it is, which answers as ever.
 */

/** A client that has no request for so long is handed over unseen: it gets gRPC's keepalive. */
const FIRST_REQUEST_MS_MAX = 10_000;
/**
 * How much may come before the acknowledgement. Clients may send 65,535 bytes of DATA before the window is opened;
 * the rest is for headers.
 */
const KEPT_BYTES_MAX = 256 * 1024;
/** How many pings are answered here; node has its own defence against more. */
const PINGS_MAX = 100;

const NOTHING = Buffer.alloc(0);

export interface OpeningOptions {
  readonly clock: Clock;
  /** SETTINGS_MAX_CONCURRENT_STREAMS, as the server behind will say it; undefined is no limit. */
  readonly maxConcurrentStreams: number | undefined;
  /** By then the SETTINGS must be acknowledged, and what the client has begun to say must be said. */
  readonly timeoutMs: number;
  /** Takes the connection; called at most once, with no listener of this class left on the socket. */
  readonly handOver: (connection: Duplex) => void;
}

export class Opening {
  readonly #socket: Socket;
  readonly #options: OpeningOptions;
  readonly #cutter = new FrameCutter();
  readonly #joiner = new BlockJoiner();
  #timers: Timer[] = [];
  /** Somebody else has the socket. */
  #over = false;
  /** What node is to get: whole frames, without those that were answered here. */
  #kept: Buffer[] = [];
  #keptBytes = 0;
  #prefaceRead = false;
  #clientSettingsRead = false;
  #settings: 'not sent' | 'sent' | 'acknowledged' = 'not sent';
  /** What the first request's headers said. */
  #authority: 'unknown' | 'plain' | 'url' = 'unknown';
  #pings = 0;
  /** Nothing more is to be learnt; node gets it as it is. */
  #givenUp = false;
  /** Writes on their way. A TLS handle can't have two at a time, so node may get it only when there is none. */
  #writing = 0;

  /** The socket's next bytes must be those of the preface. */
  constructor(socket: Socket, options: OpeningOptions) {
    this.#socket = socket;
    this.#options = options;
  }

  /** Begins; it may hand over at once. */
  start(): void {
    const { clock, timeoutMs } = this.#options;
    this.#timers = [
      clock.after(Math.min(FIRST_REQUEST_MS_MAX, timeoutMs), () => this.#giveUp()),
      clock.after(timeoutMs, () => this.#socket.destroy()),
    ];
    this.#socket.on('readable', this.#onReadable).on('end', this.#onEnd).on('close', this.#release);
    this.#onReadable();
  }

  /** Tells the client to go elsewhere: no request of its was begun. Does nothing after the hand-over. */
  close(): void {
    if (this.#over) return;
    this.#release();
    const settings = this.#settings === 'not sent' ? this.#ownSettings() : NOTHING;
    // Last stream 0, NO_ERROR (RFC 9113, section 6.8).
    const goAway = encodeFrame(FRAME_TYPE.goAway, 0, 0, Buffer.alloc(8));
    this.#socket.end(Buffer.concat([settings, goAway]));
    this.#socket.resume();
  }

  readonly #onReadable = (): void => {
    for (let piece = this.#read(); piece !== null; piece = this.#read()) this.#cutter.push(piece);
    this.#advance();
  };

  readonly #onEnd = (): void => {
    this.#socket.destroy();
  };

  readonly #release = (): void => {
    this.#over = true;
    for (const timer of this.#timers) timer.cancel();
    this.#socket.off('readable', this.#onReadable).off('end', this.#onEnd).off('close', this.#release);
  };

  #read(): Buffer | null {
    return this.#socket.read() as Buffer | null;
  }

  /** A client that is silent is handed over; one that has stopped in the middle is not waited for. */
  #giveUp(): void {
    const begun = !this.#prefaceRead || this.#joiner.open || this.#cutter.rest.length > 0;
    if (begun) this.#socket.destroy();
    this.#givenUp = true;
    if (!begun) this.#advance();
  }

  /** Goes as far as the bytes at hand allow. */
  #advance(): void {
    if (!this.#prefaceRead) this.#readPreface();
    if (this.#prefaceRead) this.#readFrames();
    if (this.#decided()) {
      if (this.#writing === 0) this.#handOver();
      else if (this.#overfull()) this.#socket.destroy();
    } else if (this.#clientSettingsRead) {
      this.#sendSettings();
    }
  }

  #decided(): boolean {
    if (this.#cutter.tooLarge || this.#overfull()) return true;
    return this.#settings !== 'sent' && (this.#givenUp || this.#authority !== 'unknown');
  }

  #overfull(): boolean {
    return this.#keptBytes + this.#cutter.rest.length > KEPT_BYTES_MAX;
  }

  #readPreface(): void {
    const bytes = this.#cutter.take(PREFACE.length);
    if (bytes === undefined) return;
    this.#prefaceRead = true;
    this.#keep(bytes);
    if (!bytes.equals(PREFACE)) this.#givenUp = true;
  }

  #readFrames(): void {
    while (!this.#decided()) {
      const frame = this.#cutter.next();
      if (frame === undefined) return;
      this.#frame(frame);
    }
  }

  #frame(frame: Frame): void {
    const acknowledges = (frame.flags & FLAG.ack) !== 0;
    if (frame.type === FRAME_TYPE.settings && acknowledges && this.#settings === 'sent') {
      this.#settings = 'acknowledged';
    } else if (frame.type === FRAME_TYPE.ping && !acknowledges && this.#mayAnswer(frame)) {
      this.#answerPing(frame);
    } else {
      this.#keep(frame.bytes);
      if (!this.#clientSettingsRead) this.#readClientSettings(frame, acknowledges);
      else if (this.#authority === 'unknown' && !this.#givenUp) this.#readHeaders(frame);
    }
  }

  #mayAnswer({ stream, payload }: Frame): boolean {
    const wellFormed = stream === 0 && payload.length === 8;
    return wellFormed && this.#clientSettingsRead && !this.#joiner.open && !this.#givenUp;
  }

  /** RFC 9113, section 3.4: a client's first frame. */
  #readClientSettings({ type }: Frame, acknowledges: boolean): void {
    this.#clientSettingsRead = true;
    if (type !== FRAME_TYPE.settings || acknowledges) this.#givenUp = true;
  }

  #readHeaders(frame: Frame): void {
    if (!isBlockFrame(frame) && !this.#joiner.open) return;
    try {
      const block = this.#joiner.take(frame);
      if (block === undefined) return;
      this.#authority = withoutUrl(block.fields) === block.fields ? 'plain' : 'url';
    } catch {
      this.#givenUp = true;
    }
  }

  #keep(bytes: Buffer): void {
    this.#kept.push(bytes);
    this.#keptBytes += bytes.length;
  }

  #answerPing({ payload }: Frame): void {
    this.#sendSettings();
    if (++this.#pings === PINGS_MAX) this.#givenUp = true;
    this.#write(encodeFrame(FRAME_TYPE.ping, FLAG.ack, 0, payload));
  }

  #sendSettings(): void {
    if (this.#settings !== 'not sent') return;
    this.#settings = 'sent';
    this.#write(this.#ownSettings());
  }

  /**
   * The limit of streams must be in it, lest a client opens more at once than node takes. The window must not: node
   * holds its clients to the initial one until its own SETTINGS are acknowledged.
   */
  #ownSettings(): Buffer {
    const { maxConcurrentStreams } = this.#options;
    const settings = maxConcurrentStreams === undefined ? [] : [[3, maxConcurrentStreams] as const];
    return encodeSettings(settings);
  }

  #write(bytes: Buffer): void {
    this.#writing++;
    this.#socket.write(bytes, () => {
      this.#writing--;
      if (!this.#over) this.#advance();
    });
  }

  #handOver(): void {
    this.#release();
    const bytes = Buffer.concat([...this.#kept, this.#cutter.rest]);
    this.#kept = [];
    if (this.#authority === 'url') {
      this.#socket.unshift(bytes.subarray(PREFACE.length));
      this.#options.handOver(new AuthoritySocket(this.#socket));
    } else {
      this.#socket.unshift(bytes);
      this.#options.handOver(this.#socket);
    }
  }
}
