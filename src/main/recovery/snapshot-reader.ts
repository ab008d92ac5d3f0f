import { CorruptFileError } from '../../shared/format/corrupt.ts';
import type { FileFooter } from '../../shared/format/file.ts';
import { decodeSnapshotHeader, type SnapshotHeader, SnapshotTally } from '../../shared/format/snapshot.ts';
import { zstdFrameAt } from '../../shared/format/zstd-frame.ts';
import { READS_MAX } from '../../shared/model/limits.ts';
import type { SnapshotPiece } from '../../workers/contract/task.ts';
import type { TaskPool } from '../pool/pool.ts';
import type { ObjectStore } from '../store/store.ts';
import type { StoredSnapshot } from './snapshot-list.ts';

/** What is fetched at a time, and how many of those are under way: what a read holds at most, with the pieces. */
const RANGE_BYTES = 4 * 1024 * 1024;
const RANGES_AHEAD = 4;
/** Pieces that the pool has, or that wait for their turn. */
const PIECES_AHEAD = 4;

export interface SnapshotReaderParts {
  store: Pick<ObjectStore, 'getRange'>;
  pool: Pick<TaskPool, 'openPiece' | 'inflate'>;
  /** Ends the reading; it rejects with the signal's reason then. */
  signal?: AbortSignal | undefined;
}

/** What is done with a snapshot while it is read. */
export interface SnapshotTaker {
  /** Its header is good; whether the rest is will show. */
  begin(header: SnapshotHeader): Promise<void>;
  /** The next piece, whose CRCs hold. `records` and `bytes` are so far, this one included. */
  take(piece: SnapshotPiece, records: number, bytes: number): Promise<void>;
}

interface Frame {
  readonly offset: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly isLast: boolean;
}

/**
 * Reads a whole snapshot, in pieces and several at a time, and checks all that it says of itself. Without a
 * `taker` it is only checked. Resolves when everything holds; rejects with an error that names the object when
 * something does not, and with a `StoreError` when the store fails. Memory does not grow with the snapshot.
 */
export async function readSnapshot(
  parts: SnapshotReaderParts,
  snapshot: StoredSnapshot,
  taker?: SnapshotTaker,
): Promise<{ header: SnapshotHeader; footer: FileFooter }> {
  const { key } = snapshot;
  const frames = new FrameSource(parts, snapshot);
  const header = await frames.header();
  await taker?.begin(header);
  const tally = new SnapshotTally(header, key);
  const underWay: { frame: Frame; piece: Promise<SnapshotPiece> }[] = [];
  const takeFirst = async (): Promise<void> => {
    const { frame, piece } = underWay.shift()!;
    const opened = await piece;
    tally.add(opened.tally, frame.offset);
    await taker?.take(opened, tally.records, frame.offset);
  };
  for await (const frame of frames.all(header.byteLength)) {
    if (frame.isLast) {
      while (underWay.length > 0) await takeFirst();
      const footer = tally.end(await parts.pool.inflate(frame.bytes, key, frame.offset), frame.offset);
      return { header, footer };
    }
    const { offset, bytes } = frame;
    const piece = parts.pool.openPiece({ name: key, offset, frame: bytes, keep: taker !== undefined });
    // Its failure is met when its turn comes.
    piece.catch(() => undefined);
    underWay.push({ frame, piece });
    if (underWay.length >= PIECES_AHEAD) await takeFirst();
  }
  throw truncated(snapshot, 'a footer');
}

/** The zstd frames of an object, which is fetched in ranges. */
class FrameSource {
  readonly #parts: SnapshotReaderParts;
  readonly #snapshot: StoredSnapshot;
  readonly #underWay: Promise<Uint8Array>[] = [];
  #nextRange = 0;
  /** What was fetched and not yet given, and where it begins. */
  #rest: Uint8Array = new Uint8Array(0);
  #restOffset = 0;

  constructor(parts: SnapshotReaderParts, snapshot: StoredSnapshot) {
    this.#parts = parts;
    this.#snapshot = snapshot;
  }

  async header(): Promise<SnapshotHeader> {
    await this.#fetchMore();
    return decodeSnapshotHeader(this.#rest, this.#snapshot.key, this.#snapshot.sequence);
  }

  /** Every frame from `start` on. */
  async *all(start: number): AsyncGenerator<Frame> {
    const { key, size } = this.#snapshot;
    for (let offset = start; offset < size; ) {
      const at = offset - this.#restOffset;
      const found = zstdFrameAt(this.#rest, at, key, offset);
      if (found === undefined) {
        if (!(await this.#fetchMore())) throw truncated(this.#snapshot, 'a whole zstd frame');
        continue;
      }
      const end = this.#restOffset + found.end;
      // A copy, which a Buffer's own slice would not be: it is handed to another thread.
      const bytes = new Uint8Array(this.#rest.subarray(at, found.end));
      yield { offset, bytes, isLast: end === size };
      this.#rest = this.#rest.subarray(found.end);
      this.#restOffset = end;
      offset = end;
    }
  }

  /** Adds the next range to what is there; false at the object's end. */
  async #fetchMore(): Promise<boolean> {
    while (this.#underWay.length < RANGES_AHEAD && this.#nextRange < this.#snapshot.size) {
      const fetched = this.#fetch(this.#nextRange);
      fetched.catch(() => undefined);
      this.#underWay.push(fetched);
      this.#nextRange += RANGE_BYTES;
    }
    const next = await this.#underWay.shift();
    if (next === undefined) return false;
    this.#rest = this.#rest.length === 0 ? next : Buffer.concat([this.#rest, next]);
    return true;
  }

  async #fetch(offset: number): Promise<Uint8Array> {
    const { key, size } = this.#snapshot;
    const length = Math.min(RANGE_BYTES, size - offset);
    const { store, signal } = this.#parts;
    let found = 0;
    for (let reads = 0; reads < READS_MAX; reads++) {
      signal?.throwIfAborted();
      const bytes = await store.getRange(key, offset, length, signal);
      if (bytes?.length === length) return bytes;
      found = bytes?.length ?? 0;
    }
    throw truncated({ ...this.#snapshot, size: offset + found }, `${size} bytes`);
  }
}

function truncated({ key, size }: StoredSnapshot, expected: string): CorruptFileError {
  const place = { object: key, part: 'footer', index: undefined, offset: size } as const;
  return new CorruptFileError(place, 'end', expected, `the end after ${size} bytes`);
}
