import { int64Bytes } from '../../shared/base/bytes.ts';
import { FrameReader, FrameWriter } from '../../shared/base/frames.ts';
import { EtcdError, etcdErrorId } from '../../shared/etcd/errors.ts';
import { decodeRangeRequest, decodeTxnRequest } from '../../shared/etcd/requests.ts';
import { HeaderEncoder } from '../../shared/etcd/responses.ts';
import { checkRange, checkTxn } from '../../shared/etcd/validate.ts';
import { MalformedMessageError } from '../../shared/etcd/wire.ts';
import {
  REPLY_AGAIN,
  REPLY_LARGE,
  type ReaderData,
  type ReaderReply,
  type ReaderRequest,
  ReadKind,
} from '../contract/reader.ts';
import { REPLY_MALFORMED } from '../contract/writer.ts';
import { type Connection, openToRead } from './database.ts';
import { HashJob } from './hash.ts';
import { LargeRanges } from './large-ranges.ts';
import { executeRange, rangeResponse } from './range.ts';
import { readPiece } from './range-piece.ts';
import { Replayer } from './replay.ts';
import { RowView } from './rows.ts';
import { checkChosen, chooseBranches, executeTxn } from './txn.ts';

/** Responses are packed together up to this, so that many large ones never need one buffer for all. */
const REPLIES_BYTES_MAX = 4 * 1024 * 1024;
/** Of one message's answers; what comes after them is to be asked again. */
const ANSWERS_BYTES_MAX = 4 * 1024 * 1024;
/** A response of so many bytes is handed over as it is: a message of its own costs less than the copy. */
const RESPONSE_BYTES_LARGE = 64 * 1024;

const NO_RESPONSE = new Uint8Array(0);

type Send = (reply: ReaderReply) => void;
type WaitingHash = Extract<ReaderRequest, { type: 'hash' }> & { send: Send; job: HashJob | undefined };

/**
 * A reader's state: a read-only SQLite connection. Every message is answered from one snapshot, and a
 * response's header revision is that snapshot's. A thread runs it in production; a simulation calls it.
 */
export class ReaderState {
  readonly #connection: Connection;
  readonly #rows: RowView;
  readonly #replayer: Replayer;
  readonly #large: LargeRanges;
  readonly #data: ReaderData;
  readonly #header: (revision: number) => Uint8Array;
  /** One after the other; the first is under way. */
  readonly #hashes: WaitingHash[] = [];
  readonly #replies = new FrameWriter();

  constructor(data: ReaderData) {
    this.#data = data;
    this.#connection = openToRead(data.cacheFile);
    this.#rows = new RowView(this.#connection);
    this.#large = new LargeRanges(this.#connection);
    this.#replayer = new Replayer(this.#connection, this.#rows);
    const header = new HeaderEncoder(data.clusterId, data.memberId);
    this.#header = (revision) => header.encode(revision, this.#rows.epoch);
  }

  /** Answers one message through `send`; an EtcdError becomes the reply. */
  handle(request: Exclude<ReaderRequest, { type: 'close' }>, send: Send): void {
    if (request.type === 'hash') {
      this.#hashes.push({ ...request, send, job: undefined });
      return;
    }
    this.#connection.exec('BEGIN');
    try {
      this.#rows.refresh();
      if (request.type === 'read') this.#readAll(request, send);
      else send(this.#answer(request));
    } catch (error) {
      if (!(error instanceof EtcdError)) throw error;
      send({ type: 'error', id: request.id, errorId: error.id, message: error.message });
    } finally {
      this.#connection.exec('COMMIT');
    }
  }

  /** Whether `idle` has work to do. */
  get hasIdleWork(): boolean {
    return this.#hashes.length > 0;
  }

  /** One piece of the work that takes long. */
  idle(): void {
    const [waiting] = this.#hashes;
    if (waiting === undefined) return;
    const { id, send, request } = waiting;
    try {
      waiting.job ??= new HashJob(this.#data.cacheFile, request);
      const hash = waiting.job.step();
      if (hash === undefined) return;
      this.#hashes.shift();
      send({ type: 'hash', id, hash });
    } catch (error) {
      if (!(error instanceof EtcdError)) throw error;
      this.#hashes.shift();
      send({ type: 'error', id, errorId: error.id, message: error.message });
    }
  }

  close(): void {
    for (const { job } of this.#hashes.splice(0)) job?.close();
    this.#connection.close();
  }

  #answer(request: Exclude<ReaderRequest, { type: 'close' | 'read' | 'hash' }>): ReaderReply {
    const { id } = request;
    switch (request.type) {
      case 'piece':
        return { type: 'piece', id, piece: readPiece(this.#rows, request.piece) };
      case 'replay':
        return { type: 'replay', id, replay: this.#replayer.replay(request.replay) };
      case 'leaseKeys':
        return { type: 'leaseKeys', id, keys: this.#rows.leaseKeys(int64Bytes(request.lease)) };
    }
  }

  #readAll({ id, requests }: Extract<ReaderRequest, { type: 'read' }>, send: Send): void {
    const replies = this.#replies;
    const flush = (last: boolean): void => send({ type: 'read', id, replies: replies.finish(), last });
    const frames = new FrameReader(requests);
    let answered = 0;
    while (frames.next()) {
      if (answered >= ANSWERS_BYTES_MAX) {
        replies.add(REPLY_AGAIN, NO_RESPONSE);
        continue;
      }
      const before = replies.length;
      const response = this.#readOne(replies, frames.tag as ReadKind, frames.payload);
      answered += response?.length ?? replies.length - before;
      if (response === undefined) {
        if (replies.length >= REPLIES_BYTES_MAX && frames.more) flush(false);
      } else {
        if (replies.length > 0) flush(false);
        send({ type: 'response', id, response, last: !frames.more });
      }
    }
    if (replies.length > 0) flush(true);
  }

  /** Adds the reply to a request; a large response is given back instead, to be sent by itself. */
  #readOne(replies: FrameWriter, kind: ReadKind, request: Uint8Array): Uint8Array | undefined {
    try {
      const response = kind === ReadKind.Range ? this.#range(request) : this.#txn(request);
      if (response === undefined) replies.add(REPLY_LARGE, NO_RESPONSE);
      else if (response.length >= RESPONSE_BYTES_LARGE) return response;
      else replies.add(0, response);
    } catch (error) {
      if (error instanceof EtcdError) replies.add(etcdErrorId(error.kind), NO_RESPONSE);
      else if (error instanceof MalformedMessageError)
        replies.add(REPLY_MALFORMED, Buffer.from(error.message));
      else throw error;
    }
    return undefined;
  }

  /** Undefined when the thread of lists must answer. */
  #range(bytes: Uint8Array): Uint8Array | undefined {
    const request = decodeRangeRequest(bytes);
    checkRange(request);
    if (!this.#data.lists && this.#large.has(request)) return undefined;
    return rangeResponse(this.#header(this.#rows.revision), executeRange(this.#rows, request));
  }

  #txn(bytes: Uint8Array): Uint8Array {
    const request = decodeTxnRequest(bytes);
    checkTxn(request, this.#data.maxTxnOps);
    const chosen = chooseBranches(this.#rows, request);
    checkChosen(this.#rows, () => true, chosen);
    return executeTxn(this.#rows, undefined, chosen, this.#header);
  }
}
