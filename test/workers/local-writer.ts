import { join } from 'node:path';
import { create, type DescMessage, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { NO_BYTES } from '../../src/shared/base/bytes.ts';
import { FrameReader, FrameWriter } from '../../src/shared/base/frames.ts';
import { decodeBody, decodeHeader } from '../../src/shared/format/decode.ts';
import { packChunkRows } from '../../src/workers/contract/chunk-rows.ts';
import type { SnapshotPiece } from '../../src/workers/contract/task.ts';
import type {
  EvaluatedMessage,
  FilledPosition,
  Held,
  LeaseChange,
  LoadedChunk,
  WriteKind,
  WriterReply,
} from '../../src/workers/contract/writer.ts';
import { openToRead } from '../../src/workers/sqlite/database.ts';
import { WriterState } from '../../src/workers/sqlite/state.ts';
import { temporaryDirectory } from '../support/netsy.ts';

export interface Write {
  readonly kind: WriteKind;
  readonly request: Uint8Array;
}

/** A request of that kind, encoded. */
export function write<S extends DescMessage>(
  kind: WriteKind,
  schema: S,
  request: MessageInitShape<S>,
): Write {
  return { kind, request: toBinary(schema, create(schema, request)) };
}

const TABLES = ['log_position', 'history', 'current', 'key_blocks', 'leases', 'system'];

/** The state worker without its thread: a test decides when what it evaluated becomes durable. */
export class LocalWriter {
  readonly file: string;
  /** What was evaluated so far, as the store would hold it. */
  readonly chunks: LoadedChunk[] = [];
  /** Of every batch that was evaluated, and of everything that was followed. */
  readonly evaluatedEvents: Uint8Array[] = [];
  readonly followedEvents: Uint8Array[] = [];
  readonly leaseChanges: LeaseChange[] = [];
  readonly #state: WriterState;
  #evaluated: EvaluatedMessage | undefined;
  #batch = 0;
  #applied = 0;

  constructor(file = join(temporaryDirectory(), 'cache.sqlite'), quotaBytes = 0) {
    this.file = file;
    const data = { cacheFile: file, maxTxnOps: 10_000, memberId: 2n, nodeId: 'test', quotaBytes };
    this.#state = new WriterState(data, (reply) => this.#take(reply));
    this.#state.open();
  }

  /** Recovery: takes what another writer left in the store. */
  load(chunks: LoadedChunk[]): void {
    this.#state.handle({ type: 'load', chunks: chunks.map(everyOtherPacked) });
  }

  /** A standby: takes what the primary appended. */
  follow(chunks: LoadedChunk[]): void {
    this.#state.handle({ type: 'follow', chunks: chunks.map(everyOtherPacked) });
  }

  /** Recovery: throws the cache away, to fill it. */
  beginFill(): void {
    this.#state.handle({ type: 'fillBegin' });
  }

  /** Another thread needs that the writer does none of it. */
  hold(what: Held): void {
    this.#state.handle({ type: 'hold', what });
  }

  resume(what: Held): void {
    this.#state.handle({ type: 'resume', what });
  }

  /** Whether there is work that can wait. */
  get hasIdleWork(): boolean {
    return this.#state.hasIdleWork;
  }

  /** Recovery: a new cache from a snapshot's pieces. */
  fill(pieces: readonly Omit<SnapshotPiece, 'tally'>[], position: FilledPosition): void {
    this.beginFill();
    for (const piece of pieces) this.#state.handle({ type: 'fill', piece });
    this.#state.handle({ type: 'fillEnd', position });
  }

  begin(): void {
    this.#state.handle({ type: 'begin' });
  }

  /** What the next batch begins with, while it gathers. */
  evaluateAhead(writes: readonly Write[]): void {
    const createdAtMs = createdAtMsOf(this.#batch + 1);
    this.#state.handle({ type: 'evaluateAhead', requests: packed(writes), createdAtMs });
  }

  /** One batch, or its rest; answers each request's tag (0: no error) and response. */
  evaluate(writes: readonly Write[]): { tag: number; response: Uint8Array }[] {
    this.#state.handle({
      type: 'evaluate',
      batch: ++this.#batch,
      requests: packed(writes),
      createdAtMs: createdAtMsOf(this.#batch),
      nonce: BigInt(this.#batch),
      compressBytesMin: Number.POSITIVE_INFINITY,
    });
    const { sequence, object, headerLength, replies } = this.#evaluated!;
    if (sequence > 0) {
      const [header, body] = [object.slice(0, headerLength), object.slice(headerLength)];
      const unread = {
        records: 0,
        createdAtMs: 0,
        previousChunkCrc: 0n,
        crc: 0n,
        skipTo: undefined,
        lastRevision: 0,
      };
      this.chunks.push({ sequence, header, body, ...unread });
    }
    const answers: { tag: number; response: Uint8Array }[] = [];
    for (const reader = new FrameReader(replies); reader.next(); ) {
      answers.push({ tag: reader.tag, response: reader.payload });
    }
    return answers;
  }

  /** The packed events of the last batch. */
  get events(): Uint8Array {
    return this.#evaluated!.events;
  }

  /** All that the writer said of the last batch but how long it took. */
  get said(): Omit<EvaluatedMessage, 'evaluateMs' | 'sealMs'> {
    const { evaluateMs: _, sealMs: __, ...said } = this.#evaluated!;
    return said;
  }

  /** Everything up to `sequence` is durable; when it is applied is up to the writer. */
  durable(sequence: number): void {
    this.#state.handle({ type: 'apply', sequence });
  }

  /** Everything up to `sequence` is durable, and applied. */
  apply(sequence: number): void {
    this.durable(sequence);
    const chunks = this.chunks.filter((chunk) => chunk.sequence <= sequence).length;
    // One step applies as many as a batch can wait for.
    for (let step = 0; step < chunks && this.#applied < sequence; step++) this.#state.idle();
  }

  /** Does up to `slices` pieces of the work that can wait; all of it by default. */
  idle(slices = Number.POSITIVE_INFINITY): void {
    for (let done = 0; done < slices && this.#state.hasIdleWork; done++) this.#state.idle();
  }

  /** Every row of every table. */
  dump(): Record<string, unknown[]> {
    const connection = openToRead(this.file);
    try {
      const rowsOf = (table: string): unknown[] =>
        connection.prepare(`SELECT * FROM ${table} ORDER BY 1`).all();
      return Object.fromEntries(TABLES.map((table) => [table, rowsOf(table)]));
    } finally {
      connection.close();
    }
  }

  /** The names of tables and indexes, and whether SQLite finds them in order. */
  indexes(): unknown[] {
    const connection = openToRead(this.file);
    try {
      const names = connection.prepare('SELECT type, name FROM sqlite_schema ORDER BY name').all();
      return [...names, connection.pragma('integrity_check'), connection.pragma('auto_vacuum')];
    } finally {
      connection.close();
    }
  }

  close(): void {
    this.#state.handle({ type: 'close' });
  }

  #take(reply: WriterReply): void {
    if (reply.type === 'evaluated') {
      this.#evaluated = reply;
      this.evaluatedEvents.push(reply.events);
      this.leaseChanges.push(...reply.leases);
    } else if (reply.type === 'applied') this.#applied = Math.max(this.#applied, reply.sequence);
    else if (reply.type === 'followed') {
      this.followedEvents.push(reply.events);
      this.leaseChanges.push(...reply.leases);
    }
  }
}

function packed(writes: readonly Write[]): Uint8Array {
  const frames = new FrameWriter();
  for (const { kind, request } of writes) frames.add(kind, request);
  return frames.finish();
}

function createdAtMsOf(batch: number): number {
  return 1_700_000_000_000 + batch;
}

/** As the pool hands chunks to recovery; commands that look at a log hand on their bytes. */
function everyOtherPacked(chunk: LoadedChunk): LoadedChunk {
  if (chunk.sequence % 2 === 0) return chunk;
  const { header } = decodeHeader(chunk.header, 'a chunk');
  const { records, footer } = decodeBody(chunk.body, header, 'a chunk');
  const { previousChunkCrc } = header;
  const rows = packChunkRows(records);
  return { ...chunk, previousChunkCrc, crc: footer.crc, header: NO_BYTES, body: NO_BYTES, rows };
}
