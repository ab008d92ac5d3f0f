import type { PendingWrite } from '../../src/main/commit/batch.ts';
import { type CommitOptions, type CommitParts, CommitPipeline } from '../../src/main/commit/pipeline.ts';
import type { PutBudget } from '../../src/main/store/put-budget.ts';
import { FrameReader, FrameWriter } from '../../src/shared/base/frames.ts';
import { parseChunkKey } from '../../src/shared/format/names.ts';
import { type EvaluatedMessage, WriteKind } from '../../src/workers/contract/writer.ts';
import { ManualClock } from '../support/clock.ts';

export const WINDOW_MS = 10;
export const TIMEOUT_MS = 1000;

interface Upload {
  readonly sequence: number;
  resolve(outcome: 'durable' | 'lost'): void;
  reject(error: Error): void;
}

/** A pipeline whose uploads end when a test says so, on a clock of its own. Each request echoes its own bytes. */
export class HeldPipeline {
  readonly clock = new ManualClock();
  readonly budget: PutBudget | undefined;
  /** How long batches waited for the budget. */
  readonly held: number[] = [];
  readonly uploads: Upload[] = [];
  /** How many requests of each batch the writer got at a time; the last ones when it closed. */
  readonly told: number[][] = [];
  /** What the next batch begins with. */
  #ahead: Uint8Array[] = [];
  /** Requests of each batch that closed, as text. */
  readonly batches: string[][] = [];
  /** What happened, in order: `durable 1`, `reply a`, `publish 1`, `fenced 2`. */
  readonly events: string[] = [];
  readonly failures: Error[] = [];
  /** The most uploads that were ever past the last durable sequence. */
  depthSeen = 0;
  readonly pipeline: CommitPipeline;
  /** What a PUT lately took. */
  putMs: number | undefined;
  /** Whether this process may speak for the store; it may. */
  lead: (go: (error: Error | undefined) => void) => void = (go) => go(undefined);
  /** What the writer takes to answer: half of it evaluates, a quarter encodes. */
  writerMs = 0;
  /** Whether chunks are to be compressed. */
  compresses = false;
  #sequence = 0;

  /** `parts` are instead of those that a test holds. */
  constructor(
    options: Partial<CommitOptions> = {},
    parts: (clock: ManualClock) => Partial<CommitParts> = () => ({}),
  ) {
    const own = parts(this.clock);
    this.budget = own.putBudget;
    this.pipeline = new CommitPipeline(
      {
        batchWindowMs: WINDOW_MS,
        batchBytesMax: 1000,
        batchRequestsMax: 4,
        pipelineDepth: 3,
        requestTimeoutMs: TIMEOUT_MS,
        queueBytesMax: 10_000,
        queueRequestsMax: 100,
        ...options,
      },
      {
        clock: this.clock,
        random: { fraction: () => 0, bytes: (length) => new Uint8Array(length) },
        evaluateAhead: (requests) => this.#ahead.push(requests),
        evaluate: ({ batch, requests }) => this.#evaluate(batch, requests),
        compress: async (body) => body,
        append: (key) => this.#append(key),
        putMs: () => this.putMs,
        lead: (go) => this.lead(go),
        durable: ({ sequence }) => this.events.push(`durable ${sequence}`),
        publish: ({ sequence }) => this.events.push(`publish ${sequence}`),
        fenced: (sequence) => {
          this.events.push(`fenced ${sequence}`);
          this.pipeline.abort(new Error('fenced'));
        },
        failed: (error) => this.failures.push(error),
        meter: { stage: () => {}, batch: () => {}, held: (ms) => this.held.push(ms) },
        ...own,
      },
    );
  }

  /** Submits a request; its answer becomes an event: `reply NAME` or `NAME: ERROR`. */
  submit(name: string): PendingWrite | undefined {
    return this.pipeline.submit(WriteKind.Put, Buffer.from(name), (error, response) => {
      const label = name.slice(0, 8);
      this.events.push(
        error === undefined ? `reply ${text(response).slice(0, 8)}` : `${label}: ${error.message}`,
      );
    });
  }

  /** Ends the upload of a sequence and lets what follows from it happen. */
  async finish(sequence: number, outcome: 'durable' | 'lost' = 'durable'): Promise<void> {
    const index = this.uploads.findIndex((upload) => upload.sequence === sequence);
    const [upload] = this.uploads.splice(index, 1);
    upload!.resolve(outcome);
    await this.settle();
  }

  /** Time passes; promises run. */
  async advance(durationMs = 0): Promise<void> {
    this.clock.advance(durationMs);
    await this.settle();
  }

  async settle(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
  }

  #evaluate(batch: number, requests: Uint8Array): void {
    const replies = new FrameWriter();
    const names: string[] = [];
    const told: number[] = [];
    for (const part of [...this.#ahead.splice(0), requests]) {
      const before = names.length;
      for (const frames = new FrameReader(part); frames.next(); ) {
        names.push(text(frames.payload).slice(0, 8));
        replies.add(0, frames.payload);
      }
      told.push(names.length - before);
    }
    this.told.push(told);
    this.batches.push(names);
    const readsOnly = names.every((name) => name.startsWith('no-op'));
    const message: EvaluatedMessage = {
      type: 'evaluated',
      batch,
      sequence: readsOnly ? 0 : ++this.#sequence,
      object: new Uint8Array(10),
      headerLength: 2,
      contentBytes: 10,
      compress: this.compresses && !readsOnly,
      replies: replies.finish(),
      events: new Uint8Array(),
      leases: [],
      system: [],
      revision: 1,
      compactRevision: -1,
      records: readsOnly ? 0 : names.length,
      operations: { puts: names.length, deletes: 0, ranges: 0, txns: 0, putBytes: 0 },
      evaluateMs: this.writerMs / 2,
      sealMs: this.writerMs / 4,
    };
    // As from another thread: later than the call.
    this.clock.after(this.writerMs, () => this.pipeline.evaluated(message));
  }

  #append(key: string): Promise<'durable' | 'lost'> {
    return new Promise((resolve, reject) => {
      this.budget?.sent(1);
      this.uploads.push({ sequence: parseChunkKey(key)!, resolve, reject });
      const durable = this.events.filter((event) => event.startsWith('durable')).length;
      this.depthSeen = Math.max(this.depthSeen, this.#sequence - durable);
    });
  }
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString();
}
