import type { LoadedChunk, LogPosition } from '../../workers/contract/writer.ts';
import { type LogChunk, LogReader } from '../recovery/log-reader.ts';
import type { Bases } from './bases.ts';
import { cutChunk } from './cut.ts';
import { type LogSource, RestoreError, type Wanted } from './wanted.ts';

/** What goes to `load` at once. */
const LOAD_CHUNKS_MAX = 256;
const LOAD_BYTES_MAX = 32 * 1024 * 1024;
/**
 * How far the clocks of a log's writers may be apart. A chunk that was made no later than the time asked for may stand
 * behind one that was made later, by another's clock, but not behind one that was made so much later.
 */
const CLOCKS_APART_MS_MAX = 300_000;

export interface ReachParts extends LogSource {
  readonly wanted: Wanted;
  readonly bases: Bases;
  /** Of a chunk that is cut, which makes it another one. */
  readonly nonce: bigint;
  /** Takes the next chunks of the log; answers where it stands then. */
  load(chunks: LoadedChunk[]): Promise<LogPosition>;
  progress(so: Reached): void;
}

/** How far the way has come. */
export interface Reached {
  readonly position: LogPosition;
  /** When the last chunk was made; undefined if there was none. */
  readonly createdAtMs: number | undefined;
  readonly chunks: number;
  readonly records: number;
  /** Of the chunks' objects. */
  readonly bytes: number;
  /** How much of the way is done, from 0 to 1; undefined when that is not known. */
  readonly part: number | undefined;
  /** The last chunk if it is only a part of the one in the log. */
  readonly cut: Uint8Array | undefined;
}

/** Where the way begins, and when what is there was made. */
export interface Start {
  readonly position: LogPosition;
  readonly createdAtMs: number;
}

/**
 * Goes from a position, where the log is read from a snapshot or from nothing, to the wanted point. Resolves with
 * where that is. Rejects with a RestoreError when the log does not have it.
 */
export async function reach(parts: ReachParts, from: Start): Promise<Reached> {
  const reached = await new Way(parts, from).toItsEnd();
  checkReached(parts, reached);
  return reached;
}

class Way {
  readonly #parts: ReachParts;
  #reached: Reached;
  #group: LoadedChunk[] = [];
  #groupBytes = 0;
  /** By time: chunks up to here belong to it, whenever they say that they were made. */
  #through = 0;
  /** What there is to read, where that is known. */
  #bytesTotal = 0;
  readonly #from: { readonly revision: number; readonly createdAtMs: number };

  constructor(parts: ReachParts, from: Start) {
    const { position } = from;
    this.#parts = parts;
    this.#from = { revision: position.revision, createdAtMs: from.createdAtMs };
    const nothing = {
      createdAtMs: undefined,
      chunks: 0,
      records: 0,
      bytes: 0,
      part: undefined,
      cut: undefined,
    };
    this.#reached = { position, ...nothing };
  }

  async toItsEnd(): Promise<Reached> {
    const { wanted, store, pool } = this.#parts;
    if (wanted.kind === 'end') {
      this.#bytesTotal = await new LogReader({ store, pool }).bytesFrom(this.#reached.position.nextSequence);
    }
    try {
      while (await this.#goesOn());
    } catch (error) {
      if (!(error instanceof Error) || error.name !== 'BrokenLogError') throw error;
      await this.#load();
      throw this.#gap(error.message.split(':', 1)[0]!);
    }
    return this.#reached;
  }

  #gap(what: string): RestoreError {
    const { wanted, store } = this.#parts;
    const { sequence, revision } = this.#reached.position;
    const where =
      wanted.kind === 'end' ? `the log of ${store.url} has a gap` : `that is inside a gap of ${store.url}`;
    return new RestoreError(
      `${where}: ${what}; the last point before it is revision ${revision}, chunk ${sequence}`,
    );
  }

  /** Goes until the point, or the log's end; resolves true when chunks that were passed over belong to it after all. */
  async #goesOn(): Promise<boolean> {
    let isPast = false;
    let again = false;
    for await (const chunk of new LogReader(this.#parts).chunks(this.#reached.position)) {
      const verdict = this.#judge(chunk);
      if (verdict === 'stop') break;
      if (verdict === 'past') isPast = true;
      else if (isPast) {
        this.#through = chunk.sequence;
        again = true;
        break;
      } else if (verdict === 'cut') {
        await this.#takeCut(chunk);
        break;
      } else await this.#take(chunk);
    }
    await this.#load();
    return again;
  }

  #judge({ sequence, lastRevision, createdAtMs }: LoadedChunk): 'take' | 'cut' | 'past' | 'stop' {
    const { wanted } = this.#parts;
    if (wanted.kind === 'revision') return lastRevision > wanted.revision ? 'cut' : 'take';
    if (wanted.kind === 'sequence') return sequence <= wanted.sequence ? 'take' : 'stop';
    if (wanted.kind === 'end' || sequence <= this.#through || createdAtMs <= wanted.timeMs) return 'take';
    return createdAtMs - wanted.timeMs > CLOCKS_APART_MS_MAX ? 'stop' : 'past';
  }

  #part(): number | undefined {
    const { wanted } = this.#parts;
    const { position, createdAtMs, bytes } = this.#reached;
    if (wanted.kind === 'end') return ratio(bytes, this.#bytesTotal);
    const { revision: from, createdAtMs: fromMs } = this.#from;
    if (wanted.kind === 'sequence') return ratio(position.sequence, wanted.sequence);
    if (wanted.kind === 'revision') return ratio(position.revision - from, wanted.revision - from);
    return ratio((createdAtMs ?? fromMs) - fromMs, wanted.timeMs - fromMs);
  }

  async #take({ storedBytes, ...chunk }: LogChunk, cut?: Uint8Array): Promise<void> {
    const { chunks, records, bytes, position } = this.#reached;
    this.#reached = {
      position,
      createdAtMs: chunk.createdAtMs,
      chunks: chunks + 1,
      records: records + chunk.records,
      bytes: bytes + storedBytes,
      part: undefined,
      cut,
    };
    this.#group.push(chunk);
    this.#groupBytes += chunk.body.length;
    if (this.#group.length === LOAD_CHUNKS_MAX || this.#groupBytes >= LOAD_BYTES_MAX) await this.#load();
  }

  async #takeCut(chunk: LogChunk): Promise<void> {
    const { wanted, nonce } = this.#parts;
    if (wanted.kind !== 'revision') return;
    const cut = cutChunk(chunk, wanted.revision, nonce);
    if (cut !== undefined) await this.#take({ ...cut.chunk, storedBytes: chunk.storedBytes }, cut.object);
  }

  async #load(): Promise<void> {
    if (this.#group.length === 0) return;
    const position = await this.#parts.load(this.#group);
    this.#reached = { ...this.#reached, position };
    const part = this.#part();
    this.#reached = { ...this.#reached, part };
    this.#group = [];
    this.#groupBytes = 0;
    this.#parts.progress(this.#reached);
  }
}

function ratio(done: number, whole: number): number | undefined {
  return whole > 0 ? Math.min(1, Math.max(0, done / whole)) : undefined;
}

function checkReached({ wanted, bases, store }: ReachParts, { position }: Reached): void {
  const { sequence, epoch, revision } = position;
  if (sequence > 0 && epoch === 0) {
    throw new RestoreError(
      wanted.kind === 'end'
        ? `${store.url} holds an import that did not end: there is nothing to go back to yet`
        : `that is inside what netsy import brought into ${store.url}, which has no restore point before its end`,
    );
  }
  if (wanted.kind === 'revision' && revision < wanted.revision) {
    const next = bases.after(sequence);
    if (next === undefined) {
      throw new RestoreError(
        `revision ${wanted.revision} is in the future: the log of ${store.url} ends at revision ${revision}`,
      );
    }
    throw new RestoreError(
      `revision ${wanted.revision} is inside a gap of ${store.url}: after chunk ${sequence} (revision ${revision}) ` +
        `the log goes on at chunk ${next.sequence} (revision ${next.snapshot.revision})`,
    );
  }
  if (wanted.kind === 'end' && sequence < bases.newestSequence) {
    throw new RestoreError(
      `the log of ${store.url} ends at chunk ${sequence} but it has a snapshot of ${bases.newestSequence}: ` +
        'it has lost chunks; choose a point with --to-revision or --to-time',
    );
  }
}
