import type { Metadata } from '@grpc/grpc-js';
import type { Timer } from '../../shared/base/clock.ts';
import type { AnswerRoom, Wanted } from '../state/answer-rooms.ts';
import type { Peer } from './peer.ts';
import { metadataOf, type PlainHead } from './plain-request.ts';
import type { UnaryCall, UnaryMethod } from './service.ts';
import type { CallFailure } from './status.ts';

/** Not compressed, and four bytes of length. */
export const PREFIX_BYTES = 5;

const NOTHING: Buffer = Buffer.alloc(0);

export interface SocketCallParts {
  readonly head: PlainHead;
  readonly method: UnaryMethod;
  readonly peer: Peer;
  readonly room: AnswerRoom;
}

/** One call that `UnaryCalls` answers: its stream's state, and to its handler the caller. */
export class SocketCall implements Wanted {
  readonly stream: number;
  readonly head: PlainHead;
  readonly method: UnaryMethod;
  /** The request's message, when it is whole. */
  request: Buffer = NOTHING;
  /** What the client lets us send on this stream. */
  windowBytes: number;
  timer: Timer | undefined;
  /** DATA's payloads that have come, while the request is not whole. */
  pieces: Buffer[] = [];
  pieceBytes = 0;
  /** The stream is closed, or node's: no answer goes out from here. */
  over = false;
  /** It was not whole at the last look at such requests. */
  late = false;
  /** The request is whole and its handler has it. */
  handed = false;
  /** The answer is decided. */
  answered = false;
  /** Over, but its handler still works on it. */
  abandoned = false;
  failure: CallFailure | undefined;
  response: Buffer = NOTHING;
  /** What its answer fills of the connection's room. */
  filledBytes: number | undefined;
  /** How much of prefix and response was sent. */
  sentBytes = 0;
  #metadata: Metadata | undefined;

  readonly room: AnswerRoom;
  readonly #peer: Peer;

  constructor(stream: number, windowBytes: number, { head, method, peer, room }: SocketCallParts) {
    this.stream = stream;
    this.room = room;
    this.#peer = peer;
    this.head = head;
    this.method = method;
    this.windowBytes = windowBytes;
  }

  get gone(): boolean {
    return this.over || this.answered;
  }

  /** As from grpc-js. Made when asked for: only auth and a missing leader do. */
  get metadata(): Metadata {
    this.#metadata ??= metadataOf(this.head);
    return this.#metadata;
  }

  getPeer(): string {
    return this.#peer.address;
  }

  getAuthContext(): ReturnType<UnaryCall['getAuthContext']> {
    return this.#peer.authContext;
  }

  /** The request's one message, or undefined unless that is what has come, whole and not compressed. */
  message(): Buffer | undefined {
    const [first = NOTHING] = this.pieces;
    const bytes = this.pieces.length > 1 ? Buffer.concat(this.pieces) : first;
    if (bytes.length < PREFIX_BYTES || bytes[0] !== 0) return undefined;
    if (bytes.readUInt32BE(1) !== bytes.length - PREFIX_BYTES) return undefined;
    return bytes.subarray(PREFIX_BYTES);
  }
}
