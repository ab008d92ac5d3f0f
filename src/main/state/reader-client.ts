import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { assert } from '../../shared/base/assert.ts';
import { asBuffer } from '../../shared/base/bytes.ts';
import type { Clock } from '../../shared/base/clock.ts';
import { FrameReader, FrameWriter } from '../../shared/base/frames.ts';
import { ownsMemory } from '../../shared/base/own-memory.ts';
import { EtcdError, etcdErrorById } from '../../shared/etcd/errors.ts';
import { RangeRequestSchema, RangeResponseSchema } from '../../shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { MalformedMessageError } from '../../shared/etcd/wire.ts';
import type {
  HashReply,
  HashRequest,
  RangePieceReply,
  RangePieceRequest,
  ReaderData,
  ReaderReply,
  ReaderRequest,
  ReplayReply,
  ReplayRequest,
} from '../../workers/contract/reader.ts';
import { REPLY_AGAIN, REPLY_LARGE, ReadKind } from '../../workers/contract/reader.ts';
import { REPLY_MALFORMED } from '../../workers/contract/writer.ts';
import type { Wanted } from './answer-rooms.ts';
import type { WorkerPort, Workers } from './workers.ts';

/** Called once with the response or the error. */
export type ReadCallback = (error: Error | undefined, response: Buffer) => void;

/** What the readers' threads run on. */
export interface ReaderParts {
  readonly workers: Pick<Workers, 'reader'>;
  readonly clock: Clock;
  /** The process can't go on. */
  failed(error: Error): void;
}

const NO_RESPONSE = Buffer.alloc(0);

/** All keys, counted. */
const COUNT_KEYS = toBinary(
  RangeRequestSchema,
  create(RangeRequestSchema, { key: Uint8Array.of(0), rangeEnd: Uint8Array.of(0), countOnly: true }),
);

/** Batches under way per reader: one being answered, one that waits, the rest gathers meanwhile. */
const BATCHES_IN_FLIGHT_MAX = 2;
/** One message asks for so many reads at most. Of lists a few are enough to answer with. */
const BATCH_READS_MAX = 2_000;
const BATCH_LISTS_MAX = 8;

/** One that is not answered yet. */
interface Read {
  readonly kind: ReadKind;
  readonly request: Uint8Array;
  readonly callback: ReadCallback;
  /** What it is for; undefined: this process itself, which takes its answer at once. */
  readonly wanted: Wanted | undefined;
}

/** The typed client of one reader's thread. Reads that arrive together travel in one message. */
class ReaderThread {
  readonly #worker: WorkerPort<ReaderRequest, ReaderReply>;
  readonly #exited: Promise<void>;
  readonly #clock: Clock;
  readonly #lists: boolean;
  readonly #onLarge: (read: Read) => void;
  readonly #waiting = new Map<number, (reply: ReaderReply) => void>();
  readonly #frames = new FrameWriter();
  #reads: Read[] = [];
  #nextId = 1;
  #batchesInFlight = 0;
  #flushScheduled = false;
  #closed = false;

  /** `onLarge` gets the reads that are for the thread of lists. */
  constructor(data: ReaderData, { workers, clock, failed }: ReaderParts, onLarge: (read: Read) => void) {
    this.#clock = clock;
    this.#lists = data.lists;
    this.#onLarge = onLarge;
    this.#worker = workers.reader(data);
    this.#exited = new Promise((resolve) => {
      this.#worker.listen({
        message: (reply) => {
          if (reply.type === 'failed') failed(new Error(reply.message));
          else this.#settle(reply);
        },
        error: failed,
        exit: () => {
          if (!this.#closed) failed(new Error('an SQLite reader ended'));
          resolve();
        },
      });
    });
  }

  /** Requests under way or waiting; the pool picks the reader with the fewest. */
  get load(): number {
    return this.#waiting.size + this.#reads.length;
  }

  read(read: Read): void {
    this.#reads.push(read);
    if (this.#flushScheduled || this.#batchesInFlight >= BATCHES_IN_FLIGHT_MAX) return;
    this.#flushScheduled = true;
    this.#clock.soon(() => this.#flush());
  }

  async call<T extends 'piece' | 'replay' | 'leaseKeys' | 'hash'>(
    request: Omit<Extract<ReaderRequest, { type: T }>, 'id'>,
  ): Promise<Extract<ReaderReply, { type: T }>> {
    const reply = await new Promise<ReaderReply>((resolve) => {
      const id = this.#nextId++;
      this.#waiting.set(id, resolve);
      this.#worker.postMessage({ ...request, id } as ReaderRequest);
    });
    if (reply.type === 'error') throw etcdErrorById(reply.errorId);
    return reply as Extract<ReaderReply, { type: T }>;
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#worker.postMessage({ type: 'close' });
    await this.#exited;
  }

  #flush(): void {
    this.#flushScheduled = false;
    const reads = this.#nextReads();
    if (reads.length === 0) return;
    for (const { kind, request } of reads) this.#frames.add(kind, request);
    const requests = this.#frames.finish();
    const id = this.#nextId++;
    this.#batchesInFlight++;
    let answered = 0;
    this.#waiting.set(id, (reply) => {
      if (reply.type !== 'read' && reply.type !== 'response') return;
      if (reply.last) {
        this.#batchesInFlight--;
        this.#flush();
      }
      if (reply.type === 'read') answered = this.#answerNext(reads, answered, reply.replies);
      else {
        ownsMemory(reply.response);
        reads[answered++]!.callback(undefined, asBuffer(reply.response));
      }
      assert(!reply.last || answered === reads.length, 'one reply per read');
    });
    this.#worker.postMessage({ type: 'read', id, requests }, [requests.buffer]);
  }

  /** Takes the next that go; those for whose answer there is no room wait until there is. */
  #nextReads(): readonly Read[] {
    const most = this.#lists ? BATCH_LISTS_MAX : BATCH_READS_MAX;
    const going: Read[] = [];
    let taken = 0;
    while (taken < this.#reads.length && going.length < most) {
      const read = this.#reads[taken++]!;
      if (this.#mayGo(read)) going.push(read);
    }
    this.#reads = taken === this.#reads.length ? [] : this.#reads.slice(taken);
    return going;
  }

  #mayGo(read: Read): boolean {
    const { wanted, callback } = read;
    if (wanted === undefined) return true;
    const drop = (): void => callback(new EtcdError('Canceled'), NO_RESPONSE);
    if (wanted.gone || wanted.room.isClosed) drop();
    else if (wanted.room.isFull(this.#lists))
      wanted.room.wait({ wanted, drop, go: () => this.read(read) }, this.#lists);
    else return true;
    return false;
  }

  #settle(reply: Exclude<ReaderReply, { type: 'failed' }>): void {
    const settle = this.#waiting.get(reply.id);
    const isLast = (reply.type !== 'read' && reply.type !== 'response') || reply.last;
    if (isLast) this.#waiting.delete(reply.id);
    settle?.(reply);
  }

  /** Settles the reads from `first` on whose replies are here; answers which is the next. */
  #answerNext(reads: readonly Read[], first: number, replies: Uint8Array): number {
    const frames = new FrameReader(replies);
    let next = first;
    while (frames.next()) {
      const { tag, payload } = frames;
      const read = reads[next++]!;
      if (tag === 0) read.callback(undefined, asBuffer(payload));
      else if (tag === REPLY_LARGE) this.#onLarge(read);
      else if (tag === REPLY_AGAIN) this.read(read);
      else read.callback(replyError(tag, payload), NO_RESPONSE);
    }
    return next;
  }
}

/** The error that a reply's tag stands for. */
export function replyError(tag: number, payload: Uint8Array): Error {
  if (tag === REPLY_MALFORMED) return new MalformedMessageError(asBuffer(payload).toString());
  return etcdErrorById(tag);
}

/**
 * All reader threads: reads go to the least busy. What takes long is the work of other threads, at most as many, which
 * begin when they are needed and leave the processor to the others where there is not enough for all: large lists, the
 * pieces of a RangeStream after the first, hashes. So a get never waits for a list.
 */
export class ReaderPool {
  readonly #threads: ReaderThread[];
  readonly #listThreads: ReaderThread[] = [];
  readonly #data: Omit<ReaderData, 'lists'>;
  readonly #parts: ReaderParts;
  #closing = false;
  /** Reads since the start, for metrics. */
  readonly counts = { ranges: 0, txns: 0 };

  constructor(data: Omit<ReaderData, 'lists'>, threads: number, parts: ReaderParts) {
    this.#data = data;
    this.#parts = parts;
    const toLists = (read: Read): void => {
      if (this.#closing) read.callback(new EtcdError('Stopped'), NO_RESPONSE);
      else this.#lists().read(read);
    };
    this.#threads = Array.from(
      { length: threads },
      () => new ReaderThread({ ...data, lists: false }, parts, toLists),
    );
  }

  /** Answers an encoded Range or read-only Txn from one snapshot; when there is room for what it is wanted for. */
  read(kind: ReadKind, request: Uint8Array, callback: ReadCallback, wanted?: Wanted): void {
    if (kind === ReadKind.Range) this.counts.ranges++;
    else this.counts.txns++;
    this.#leastBusy().read({ kind, request, callback, wanted });
  }

  /** How many keys live, which costs little however many there are; no read of a client's. Rejects once it is closed. */
  countKeys(): Promise<number> {
    return new Promise((resolve, reject) => {
      if (this.#closing) return reject(new EtcdError('Stopped'));
      const callback = (error: Error | undefined, response: Buffer): void => {
        if (error !== undefined) reject(error);
        else resolve(Number(fromBinary(RangeResponseSchema, response).count));
      };
      this.#leastBusy().read({ kind: ReadKind.Range, request: COUNT_KEYS, callback, wanted: undefined });
    });
  }

  /** One piece of a RangeStream. Rejects with an EtcdError. */
  async piece(piece: RangePieceRequest): Promise<RangePieceReply> {
    const thread = piece.first ? this.#leastBusy() : this.#lists();
    return (await thread.call<'piece'>({ type: 'piece', piece })).piece;
  }

  /** One step of a watch's replay. */
  async replay(replay: ReplayRequest): Promise<ReplayReply> {
    return (await this.#leastBusy().call<'replay'>({ type: 'replay', replay })).replay;
  }

  /** The keys attached to a lease, in key order. */
  async leaseKeys(lease: bigint): Promise<Uint8Array[]> {
    return (await this.#leastBusy().call<'leaseKeys'>({ type: 'leaseKeys', lease })).keys;
  }

  /** Hashes the history, in pieces between reads. Rejects with an EtcdError. */
  async hash(request: HashRequest): Promise<HashReply> {
    return (await this.#lists().call<'hash'>({ type: 'hash', request })).hash;
  }

  async close(): Promise<void> {
    this.#closing = true;
    await Promise.all([...this.#threads, ...this.#listThreads].map((thread) => thread.close()));
  }

  /** One that is idle or may be made, else the one with the least to do. */
  #lists(): ReaderThread {
    const best = leastBusy(this.#listThreads);
    if (best !== undefined && (best.load === 0 || this.#listThreads.length === this.#threads.length))
      return best;
    const made = new ReaderThread({ ...this.#data, lists: true }, this.#parts, () =>
      assert(false, 'a thread of lists answers them'),
    );
    this.#listThreads.push(made);
    return made;
  }

  #leastBusy(): ReaderThread {
    return leastBusy(this.#threads)!;
  }
}

function leastBusy(threads: readonly ReaderThread[]): ReaderThread | undefined {
  return threads.reduce<ReaderThread | undefined>(
    (best, thread) => (best !== undefined && best.load <= thread.load ? best : thread),
    undefined,
  );
}
