import { int64Bytes, keyAfter } from '../../shared/base/bytes.ts';
import { FrameReader, FrameWriter } from '../../shared/base/frames.ts';
import { EtcdError, etcdErrorId } from '../../shared/etcd/errors.ts';
import { decodeRangeRequest, decodeTxnRequest } from '../../shared/etcd/requests.ts';
import { encodeRangeResponse, HeaderEncoder } from '../../shared/etcd/responses.ts';
import { checkRange, checkTxn } from '../../shared/etcd/validate.ts';
import { MalformedMessageError, Writer } from '../../shared/etcd/wire.ts';
import {
  type RangePieceReply,
  type RangePieceRequest,
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
import { answerKv, executeRange, readRevision, sortStates } from './range.ts';
import { Replayer } from './replay.ts';
import { RowView } from './rows.ts';
import { checkChosen, chooseBranches, executeTxn } from './txn.ts';

/** The tag of RangeResponse.kvs. */
const KVS_TAG = 18;
/** Responses are packed together up to this, so that many large ones never need one buffer for all. */
const REPLIES_BYTES_MAX = 4 * 1024 * 1024;

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
        return { type: 'piece', id, piece: this.#piece(request.piece) };
      case 'replay':
        return { type: 'replay', id, replay: this.#replayer.replay(request.replay) };
      case 'leaseKeys':
        return { type: 'leaseKeys', id, keys: this.#rows.leaseKeys(int64Bytes(request.lease)) };
    }
  }

  #readAll({ id, requests }: Extract<ReaderRequest, { type: 'read' }>, send: Send): void {
    const replies = this.#replies;
    const frames = new FrameReader(requests);
    while (frames.next()) {
      this.#readOne(replies, frames.tag as ReadKind, frames.payload);
      if (replies.length < REPLIES_BYTES_MAX) continue;
      send({ type: 'read', id, replies: replies.finish(), last: false });
    }
    send({ type: 'read', id, replies: replies.finish(), last: true });
  }

  #readOne(replies: FrameWriter, kind: ReadKind, request: Uint8Array): void {
    try {
      const response = kind === ReadKind.Range ? this.#range(request) : this.#txn(request);
      if (response === undefined) replies.add(REPLY_LARGE, NO_RESPONSE);
      else replies.add(0, response);
    } catch (error) {
      if (error instanceof EtcdError) replies.add(etcdErrorId(error.kind), NO_RESPONSE);
      else if (error instanceof MalformedMessageError)
        replies.add(REPLY_MALFORMED, Buffer.from(error.message));
      else throw error;
    }
  }

  /** Undefined when the thread of lists must answer. */
  #range(bytes: Uint8Array): Uint8Array | undefined {
    const request = decodeRangeRequest(bytes);
    checkRange(request);
    if (!this.#data.lists && this.#large.has(request)) return undefined;
    const { kvs, more, count } = executeRange(this.#rows, request);
    return encodeRangeResponse(this.#header(this.#rows.revision), kvs, more, count);
  }

  #txn(bytes: Uint8Array): Uint8Array {
    const request = decodeTxnRequest(bytes);
    checkTxn(request, this.#data.maxTxnOps);
    const chosen = chooseBranches(this.#rows, request);
    checkChosen(this.#rows, () => true, chosen);
    return executeTxn(this.#rows, undefined, chosen, this.#header);
  }

  #piece(request: RangePieceRequest): RangePieceReply {
    const revision = readRevision(this.#rows, request.revision);
    const listed = this.#rows.list(request, revision, request.limit + 1);
    const more = listed.length > request.limit;
    // etcd sorts each piece by itself. Beyond the first that loses keys or repeats them: we keep key order then.
    const alone = request.first && (request.last || !more);
    const states = alone
      ? sortStates(this.#rows, listed, { sortTarget: request.sortTarget, sortOrder: 0 })
      : listed;
    const chosen = more ? states.slice(0, request.limit) : states;
    const nextKey = more ? keyAfter(chosen[chosen.length - 1]!.key) : undefined;
    const out = new Writer();
    for (const state of chosen) {
      out.varint(KVS_TAG);
      out.delimited(answerKv(this.#rows, state, request));
    }
    const remaining =
      nextKey !== undefined && request.last
        ? this.#rows.count({ key: nextKey, rangeEnd: request.rangeEnd }, revision)
        : 0;
    const newestRevision = this.#rows.revision;
    return { kvs: out.finish(), keys: chosen.length, nextKey, newestRevision, remaining };
  }
}
