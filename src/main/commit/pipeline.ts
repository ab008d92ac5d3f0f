import { assert } from '../../shared/base/assert.ts';
import { asBuffer, NO_BYTES } from '../../shared/base/bytes.ts';
import type { Clock, Timer } from '../../shared/base/clock.ts';
import { FrameReader, FrameWriter } from '../../shared/base/frames.ts';
import type { Random } from '../../shared/base/random.ts';
import { EtcdError } from '../../shared/etcd/errors.ts';
import { chunkKey } from '../../shared/format/names.ts';
import { PIPELINE_DEPTH_MAX } from '../../shared/model/limits.ts';
import type { EvaluatedMessage, WriteKind } from '../../workers/contract/writer.ts';
import { replyError } from '../state/reader-client.ts';
import type { AppendAttempt } from '../store/append.ts';
import type { PutBudget } from '../store/put-budget.ts';
import { type Batch, ENTERED, newTimes, type PendingWrite, type Stage, type WriteCallback } from './batch.ts';
import { CompressionPolicy } from './compression.ts';
import { Herd } from './herd.ts';
import { PACED_BYTES_TIMES, Pace } from './pace.ts';
import { BatchWindow } from './window.ts';

export interface CommitOptions {
  /** How long a batch gathers requests while others are in flight, at most: see `BatchWindow`. */
  batchWindowMs: number;
  batchBytesMax: number;
  batchRequestsMax: number;
  /** Batches past the last durable one; at most PIPELINE_DEPTH_MAX. */
  pipelineDepth: number;
  requestTimeoutMs: number;
  /** Of requests not yet answered by the store; beyond them a write is refused at once. */
  queueBytesMax: number;
  queueRequestsMax: number;
}

/** What the pipeline drives. */
export interface CommitParts {
  clock: Clock;
  random: Random;
  /** The SQLite writer, for what the next batch begins with. */
  evaluateAhead(requests: Uint8Array, createdAtMs: number): void;
  /** The same, for the rest of a batch; its answers come back through `evaluated`. */
  evaluate(message: {
    batch: number;
    requests: Uint8Array;
    createdAtMs: number;
    nonce: bigint;
    compressBytesMin: number;
  }): void;
  /** The object with all behind its header compressed. `object` is given away. */
  compress(object: Uint8Array, headerLength: number): Promise<Uint8Array>;
  /**
   * Resolves when the store has exactly this object, or another writer's under its name; `writes` wait for it. Adds
   * each request to the store to `attempts` when it is sent.
   */
  append(
    key: string,
    object: Uint8Array,
    writes: number,
    attempts: AppendAttempt[],
  ): Promise<'durable' | 'lost'>;
  /** What a PUT to the store lately took; undefined while that is not known. */
  putMs(): number | undefined;
  /** Calls back as soon as this process may speak for the store; with etcd's error if it may not. */
  lead(go: (error: Error | undefined) => void): void;
  /** A batch's turn has come: it and everything before it is durable. Called before its replies. */
  durable(evaluated: EvaluatedMessage): void;
  /** Called after its replies: watchers may see it. */
  publish(evaluated: EvaluatedMessage): void;
  /** Another writer owns the log. Nothing is acknowledged any more. */
  fenced(sequence: number): void;
  /** The store refused an upload in a way that no retry mends. */
  failed(error: Error): void;
  /** Undefined: PUTs have no limit. */
  putBudget?: PutBudget | undefined;
  meter: CommitMeter;
}

export interface CommitMeter {
  stage(stage: Exclude<Stage, 'done'>, ms: number): void;
  batch(requests: number, bytes: number): void;
  /** All of the batch is answered. */
  finished?(batch: Batch): void;
  /** A batch closes that could have so many milliseconds before, but for the budget of PUTs. */
  held?(ms: number): void;
}

/**
 * So many writes of a herd are evaluated while the others are on their way: enough to be worth a message, and so few that
 * little is left to do when the last one is here.
 */
const AHEAD_WRITES = 16;

/**
 * The one place that orders a write: gather → evaluate → upload → wait turn → reply and publish. Many batches
 * are in flight; they are evaluated in order, uploaded at the same time, and answered in order.
 *
 * Invariants: a batch is answered only when its chunk and every chunk before it is in the store (1, 2); at most
 * `pipelineDepth` batches are past the last durable one, so that a takeover knows which sequences may still
 * be filled; after a lost sequence nothing is answered but errors (5). A batch that made no record (a transaction whose
 * compare failed, a delete of nothing) is answered in its turn too, and only under the primary's lease, as a read is.
 */
export class CommitPipeline {
  readonly #options: CommitOptions;
  readonly #parts: CommitParts;
  readonly #compression = new CompressionPolicy();
  readonly #pace: Pace | undefined;
  /** What may share a chunk. Where batches are paced it is more than what fills one, so that waiting costs no more PUTs. */
  readonly #chunkMax: { readonly requests: number; readonly bytes: number };
  /** Closed batches in log order; the first one is the next to be answered. */
  readonly #inFlight: Batch[] = [];
  readonly #batchWindow: BatchWindow;
  /** Undefined where batches are paced: they wait for more than answers. */
  readonly #herd: Herd | undefined;
  readonly #frames = new FrameWriter();
  #open: Batch;
  /** Runs while the open batch gathers, until `#windowDueMs`. */
  #window: Timer | undefined;
  #windowDueMs = 0;
  #closeScheduled = false;
  #nextId = 1;
  #pendingRequests = 0;
  #pendingBytes = 0;
  #stopped: Error | undefined;
  #aborted = false;
  /** Writes that were answered without the store's answer: they took too long, or another process took over. */
  failedRequests = 0;
  /** Writes that were refused because the queue was full. */
  refusedRequests = 0;
  /** Of the last chunk that was evaluated; 0 before the first. */
  evaluatedSequence = 0;
  /** Refuses new writes while set: the disk under the cache is full, for instance. */
  refusal: Error | undefined;
  /** Refuses new writes on a standby. */
  standby: Error | undefined;

  constructor(options: CommitOptions, parts: CommitParts) {
    assert(options.pipelineDepth <= PIPELINE_DEPTH_MAX, 'the pipeline is deeper than the log allows');
    this.#options = options;
    this.#parts = parts;
    this.#batchWindow = new BatchWindow(options.batchWindowMs, () => parts.putMs());
    if (parts.putBudget === undefined) this.#herd = new Herd(() => parts.putMs());
    this.#open = this.#newBatch();
    const { batchRequestsMax, batchBytesMax, queueRequestsMax, queueBytesMax } = options;
    const { clock, meter, putBudget: budget } = parts;
    this.#chunkMax = { requests: batchRequestsMax, bytes: batchBytesMax };
    if (budget === undefined) return;
    const again = (): void => this.#closeIfAllowed();
    this.#pace = new Pace({ clock, budget, again, held: (ms) => meter.held?.(ms) });
    const bytes = Math.min(queueBytesMax, batchBytesMax * PACED_BYTES_TIMES);
    this.#chunkMax = { requests: queueRequestsMax, bytes };
  }

  get pendingRequests(): number {
    return this.#pendingRequests;
  }

  /** Of the requests that are not answered yet. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  get batchesInFlight(): number {
    return this.#inFlight.length;
  }

  /** Milliseconds since the oldest write under way arrived; 0 when there is none. */
  get oldestMs(): number {
    const oldest = this.#inFlight[0]?.requests[0];
    return oldest === undefined ? 0 : this.#parts.clock.monotonicMs() - oldest.arrivedMs;
  }

  /** Takes a write. The answer comes through `callback`, once; `cancel` on the result forgets it. */
  submit(kind: WriteKind, request: Uint8Array, callback: WriteCallback): PendingWrite | undefined {
    const refusal = this.#stopped ?? this.standby ?? this.refusal ?? this.#overload(request.length);
    if (refusal !== undefined) {
      callback(refusal, NO_BYTES);
      return undefined;
    }
    const write: PendingWrite = { kind, request, callback, arrivedMs: this.#parts.clock.monotonicMs() };
    if (this.#open.requests.length > 0 && this.#open.bytes + request.length > this.#options.batchBytesMax) {
      this.#closeIfAllowed();
    }
    this.#pendingRequests++;
    this.#pendingBytes += request.length;
    this.#batchWindow.arrived(write.arrivedMs);
    this.#herd?.arrived(write.arrivedMs);
    if (this.#open.requests.length === 0) this.#open.stageSinceMs = write.arrivedMs;
    addTo(this.#open, write);
    this.#considerClosing();
    return write;
  }

  /** The writer's answer to the oldest batch that is with it. */
  evaluated(message: EvaluatedMessage): void {
    if (this.#aborted) return;
    const batch = this.#inFlight.find((candidate) => candidate.stage === 'evaluate');
    assert(batch?.id === message.batch, 'the writer answers in order');
    batch.evaluated = message;
    if (message.sequence > 0) this.evaluatedSequence = message.sequence;
    this.#enter(batch, 'upload');
    if (message.sequence === 0) this.#answerWithoutChunk(batch);
    else void this.#upload(batch, message);
  }

  /** Answers what has waited longer than the request timeout; the uploads go on. Called from time to time. */
  sweep(): void {
    const expired = this.#parts.clock.monotonicMs() - this.#options.requestTimeoutMs;
    for (const batch of [...this.#inFlight, this.#open]) {
      for (const write of batch.requests) {
        if (write.arrivedMs <= expired) this.#fail(write, new EtcdError('Timeout'));
      }
    }
  }

  /**
   * Refuses new writes and resolves when everything taken is answered, if only by its time-out: uploads may still
   * be under way then, while the store is away.
   */
  async drain(): Promise<void> {
    this.#stopped = new EtcdError('Stopped');
    while (this.#hasUnanswered()) {
      this.#closeIfAllowed();
      await this.#parts.clock.sleep(5);
    }
  }

  /** Ends everything at once: what is under way is answered with `error`. */
  abort(error: Error): void {
    this.#stopped = error;
    this.#aborted = true;
    this.#window?.cancel();
    this.#pace?.cancel();
    for (const batch of [...this.#inFlight, this.#open]) {
      for (const write of batch.requests) this.#fail(write, error);
    }
  }

  #fail(write: PendingWrite, error: Error): void {
    if (write.callback !== undefined) this.failedRequests++;
    answer(write, error, NO_BYTES);
  }

  #hasUnanswered(): boolean {
    return [...this.#inFlight, this.#open].some(({ requests }) =>
      requests.some(({ callback }) => callback !== undefined),
    );
  }

  #overload(bytes: number): Error | undefined {
    const { queueRequestsMax, queueBytesMax } = this.#options;
    const full = this.#pendingRequests >= queueRequestsMax || this.#pendingBytes + bytes > queueBytesMax;
    if (!full) return undefined;
    this.refusedRequests++;
    return new EtcdError('RequestTooManyRequests');
  }

  #newBatch(): Batch {
    const stageSinceMs = this.#parts.clock.monotonicMs();
    return {
      id: this.#nextId++,
      stage: 'gather',
      requests: [],
      bytes: 0,
      ahead: 0,
      stageSinceMs,
      evaluated: undefined,
      times: newTimes(),
      attempts: [],
      waitedFor: undefined,
    };
  }

  /**
   * A batch closes when it is full, when its window ends, or at once when nothing is in flight and no writers of a herd
   * are on their way back; and its PUT may be sent.
   */
  #considerClosing(): void {
    const { requests, bytes } = this.#open;
    if (requests.length === 0 || this.#pace?.isHolding) return;
    if (requests.length >= this.#options.batchRequestsMax || bytes >= this.#options.batchBytesMax) {
      this.#closeIfAllowed();
    } else if (this.#inFlight.length === 0 && this.#herdDueMs() === undefined) {
      this.#closeSoon();
    } else {
      this.#gather();
      if (this.#inFlight.length === 0) this.#evaluateAhead();
    }
  }

  /**
   * A batch that gathers while nothing is in flight waits for the rest of a herd, and the writer has nothing else to do. What
   * is evaluated can't be taken back, so whoever gives up from here on may find that it happened.
   */
  #evaluateAhead(): void {
    const batch = this.#open;
    if (batch.requests.length - batch.ahead < AHEAD_WRITES) return;
    this.#parts.evaluateAhead(this.#pack(batch), this.#parts.clock.wallMs());
  }

  /** Closes the open batch when it is due, which writes that come meanwhile may put off. */
  #gather(): void {
    const now = this.#parts.clock.monotonicMs();
    const dueMs = this.#dueMs();
    if (dueMs <= now) return this.#closeIfAllowed();
    if (this.#window !== undefined && dueMs >= this.#windowDueMs) return;
    this.#window?.cancel();
    this.#windowDueMs = dueMs;
    this.#window = this.#parts.clock.after(dueMs - now, () => {
      this.#window = undefined;
      if (this.#open.requests.length > 0) this.#gather();
    });
  }

  /** When the open batch need not gather any more. */
  #dueMs(): number {
    return this.#herdDueMs() ?? this.#batchWindow.dueMs(this.#open.stageSinceMs);
  }

  #herdDueMs(): number | undefined {
    const now = this.#parts.clock.monotonicMs();
    return this.#herd?.dueMs(this.#pendingRequests, this.#inFlight[0]?.times.closed, now);
  }

  /** Closes after the requests that this turn of the event loop brings, so that they share the chunk. */
  #closeSoon(): void {
    if (this.#closeScheduled) return;
    this.#closeScheduled = true;
    this.#parts.clock.soon(() => {
      this.#closeScheduled = false;
      this.#closeIfAllowed();
    });
  }

  #mayClose(): boolean {
    if (this.#inFlight.length >= this.#options.pipelineDepth) return false;
    // What ends the process waits for nothing.
    return this.#stopped !== undefined || this.#pace?.allows() !== false;
  }

  #closeIfAllowed(): void {
    if (this.#open.requests.length === 0) return;
    if (!this.#mayClose()) {
      const { times } = this.#open;
      times.held = Math.min(times.held, this.#parts.clock.monotonicMs());
      return;
    }
    const batch = this.#open;
    this.#window?.cancel();
    this.#window = undefined;
    this.#open = this.#newBatch();
    this.#splitFull(batch);
    if (batch.requests.length === 0 || this.#aborted) return;
    this.#pace?.closed();
    this.#inFlight.push(batch);
    this.#enter(batch, 'evaluate');
    this.#evaluate(batch);
    // What did not fit has waited long enough.
    this.#closeIfAllowed();
  }

  /** Leaves in `batch` what may share a chunk and moves the rest, which came while nothing could close, on. */
  #splitFull(batch: Batch): void {
    const gathered = batch.requests;
    batch.requests = [];
    batch.bytes = 0;
    for (const [index, write] of gathered.entries()) {
      // Whoever gave up before the writer was told never happens.
      if (write.callback === undefined && index >= batch.ahead) this.#forget(write);
      else addTo(this.#open.requests.length > 0 || this.#isFullFor(batch, write) ? this.#open : batch, write);
    }
    if (this.#open.requests.length === 0) return;
    this.#open.stageSinceMs = batch.stageSinceMs;
    this.#open.times.held = batch.times.held;
  }

  #isFullFor(batch: Batch, write: PendingWrite): boolean {
    const { requests, bytes } = this.#chunkMax;
    if (batch.requests.length === 0) return false;
    return batch.requests.length >= requests || batch.bytes + write.request.length > bytes;
  }

  /** What the writer was not given yet. */
  #pack(batch: Batch): Uint8Array {
    const { requests, ahead } = batch;
    for (let index = ahead; index < requests.length; index++) {
      const { kind, request } = requests[index]!;
      this.#frames.add(kind, request);
    }
    batch.ahead = requests.length;
    return this.#frames.finish();
  }

  #evaluate(batch: Batch): void {
    this.#parts.meter.batch(batch.requests.length, batch.bytes);
    this.#parts.evaluate({
      batch: batch.id,
      requests: this.#pack(batch),
      createdAtMs: this.#parts.clock.wallMs(),
      nonce: asBuffer(this.#parts.random.bytes(8)).readBigUInt64LE(),
      compressBytesMin: this.#compression.bytesMin(),
    });
  }

  /** What the store does not vouch for is a read: only who leads may answer it. */
  #answerWithoutChunk(batch: Batch): void {
    this.#pace?.giveBack();
    this.#parts.lead((error) => {
      if (error !== undefined) for (const write of batch.requests) answer(write, error, NO_BYTES);
      this.#uploaded(batch, 'durable');
    });
  }

  async #upload(batch: Batch, message: EvaluatedMessage): Promise<void> {
    try {
      const object = await this.#object(message);
      message.object = object;
      batch.times.sealed = this.#parts.clock.monotonicMs();
      const { requests, attempts } = batch;
      const key = chunkKey(message.sequence);
      this.#uploaded(batch, await this.#parts.append(key, object, requests.length, attempts));
    } catch (error) {
      if (!this.#aborted) this.#parts.failed(error as Error);
    }
  }

  async #object(message: EvaluatedMessage): Promise<Uint8Array> {
    const { object, headerLength, compress } = message;
    if (!compress) return object;
    const plainBytes = object.length;
    const compressed = await this.#parts.compress(object, headerLength);
    this.#compression.record(plainBytes - headerLength, compressed.length - headerLength);
    return compressed;
  }

  #uploaded(batch: Batch, outcome: 'durable' | 'lost'): void {
    if (this.#aborted) return;
    if (outcome === 'lost') {
      this.#parts.fenced(batch.evaluated!.sequence);
      return;
    }
    this.#enter(batch, 'wait turn');
    while (this.#inFlight[0]?.stage === 'wait turn') {
      const next = this.#inFlight.shift()!;
      if (next !== batch) next.waitedFor = batch.evaluated!.sequence;
      this.#finish(next);
    }
    if (this.#dueMs() <= this.#parts.clock.monotonicMs()) this.#closeIfAllowed();
    else this.#considerClosing();
  }

  /** The batch and every batch before it are durable: answer it, in this order and in one go. */
  #finish(batch: Batch): void {
    const evaluated = batch.evaluated!;
    this.#enter(batch, 'reply');
    this.#parts.durable(evaluated);
    const replies = new FrameReader(evaluated.replies);
    for (const write of batch.requests) {
      assert(replies.next(), 'one reply per request');
      this.#forget(write);
      if (replies.tag === 0) answer(write, undefined, replies.payload);
      else answer(write, replyError(replies.tag, replies.payload), NO_BYTES);
    }
    this.#enter(batch, 'done');
    const { answered } = batch.times;
    this.#herd?.answered(batch.requests.length, answered, this.#batchWindow.isDry(answered));
    this.#parts.publish(evaluated);
    this.#parts.meter.finished?.(batch);
  }

  #forget(write: PendingWrite): void {
    this.#pendingRequests--;
    this.#pendingBytes -= write.request.length;
  }

  #enter(batch: Batch, stage: Exclude<Stage, 'gather'>): void {
    const now = this.#parts.clock.monotonicMs();
    if (batch.stage !== 'done') this.#parts.meter.stage(batch.stage, now - batch.stageSinceMs);
    batch.stage = stage;
    batch.stageSinceMs = now;
    batch.times[ENTERED[stage]] = now;
  }
}

function addTo(batch: Batch, write: PendingWrite): void {
  batch.requests.push(write);
  batch.bytes += write.request.length;
}

function answer(write: PendingWrite, error: Error | undefined, response: Uint8Array): void {
  const { callback } = write;
  write.callback = undefined;
  callback?.(error, response);
}
