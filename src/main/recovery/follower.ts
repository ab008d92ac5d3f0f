import type { Clock } from '../../shared/base/clock.ts';
import { chunkKey } from '../../shared/format/names.ts';
import type { LoadedChunk, LogPosition } from '../../workers/contract/writer.ts';
import type { TaskPool } from '../pool/pool.ts';
import { withDeadline } from '../store/deadline.ts';
import type { ObjectStore } from '../store/store.ts';
import { openOrReadAgain } from './read-again.ts';

/** Names that are asked for at the same time while the log grows fast. */
const WINDOW_MAX = 16;
/** A look that takes longer has failed, and is done again. */
const LOOK_TIMEOUT_MS = 10_000;

export interface FollowerParts {
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly pool: Pick<TaskPool, 'open'>;
  /** Applies the next chunks of the log; answers where the cache stands then. */
  load(chunks: LoadedChunk[]): Promise<LogPosition>;
}

/**
 * Follows a log that another process appends to, by asking for the next sequences by name: one GET while nothing
 * happens, more at a time while each of them brings a chunk. What is there under the next sequence is durable, and
 * so is everything before it; what lies beyond a missing one is not looked at.
 */
export class Follower {
  readonly #parts: FollowerParts;
  #window = 1;

  constructor(parts: FollowerParts) {
    this.#parts = parts;
  }

  /** Looks once, and applies what has come; answers the position then. Rejects with a StoreError, or a CorruptFileError. */
  async step(position: LogPosition): Promise<LogPosition> {
    const { store, clock, load } = this.#parts;
    const sequences = Array.from({ length: this.#window }, (_, index) => position.nextSequence + index);
    const objects = await withDeadline(clock, LOOK_TIMEOUT_MS, undefined, (signal) =>
      Promise.all(sequences.map((sequence) => store.get(chunkKey(sequence), signal))),
    );
    const missing = objects.indexOf(undefined);
    const there = (missing === -1 ? objects : objects.slice(0, missing)) as Uint8Array[];
    this.#window = missing === -1 ? Math.min(WINDOW_MAX, this.#window * 2) : 1;
    const chunks = await this.#open(sequences, there);
    return chunks.length === 0 ? position : load(chunks);
  }

  /** The chunks up to the first that says that the log goes on elsewhere. */
  async #open(sequences: readonly number[], objects: readonly Uint8Array[]): Promise<LoadedChunk[]> {
    const { store, pool } = this.#parts;
    const opening = objects.map((object, index) => {
      const sequence = sequences[index]!;
      const key = chunkKey(sequence);
      return openOrReadAgain(
        object,
        () => store.get(key),
        (bytes) => pool.open(key, sequence, bytes, 'rows'),
      );
    });
    // A failure is met in its turn; what lies beyond an epoch chunk may well be damaged.
    for (const opened of opening) opened.catch(() => undefined);
    const chunks: LoadedChunk[] = [];
    for (const opened of opening) {
      chunks.push(await opened);
      if (chunks[chunks.length - 1]!.skipTo !== undefined) break;
    }
    return chunks;
  }
}
