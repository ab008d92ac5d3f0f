import { assert } from '../../shared/base/assert.ts';
import type { SnapshotHeader } from '../../shared/format/snapshot.ts';
import { listSnapshots, readSnapshotHeader, type StoredSnapshot } from '../recovery/snapshot-list.ts';
import { StoreError } from '../store/errors.ts';
import { type LogSource, RestoreError, timeText, type Wanted } from './wanted.ts';

interface Base {
  readonly snapshot: StoredSnapshot;
  readonly header: SnapshotHeader;
}

/** A store's snapshots as beginnings of the way to a point. */
export class Bases {
  readonly #url: string;
  /** Those whose headers can be read, the newest first. */
  readonly #all: readonly Base[];
  /** The newest that is there, whatever it is. */
  readonly newestSequence: number;

  private constructor(url: string, all: readonly Base[], newestSequence: number) {
    this.#url = url;
    this.#all = all;
    this.newestSequence = newestSequence;
  }

  static async list({ store, signal }: LogSource): Promise<Bases> {
    const snapshots = await listSnapshots(store);
    const all: Base[] = [];
    for (const snapshot of snapshots) {
      signal.throwIfAborted();
      const header = await readSnapshotHeader(store, snapshot).catch((error: unknown) => {
        // A damaged one counts as none, as at a server's start.
        if (error instanceof StoreError) throw error;
        return undefined;
      });
      if (header !== undefined) all.push({ snapshot, header });
    }
    return new Bases(store.url, all, snapshots[0]?.sequence ?? 0);
  }

  /** Those that are not after the point, the newest first. */
  before(wanted: Wanted): StoredSnapshot[] {
    return this.#all.filter(({ header }) => isBefore(header, wanted)).map(({ snapshot }) => snapshot);
  }

  /** Of one of those that `before` gave. */
  header({ sequence }: StoredSnapshot): SnapshotHeader {
    const found = this.#all.find(({ header }) => header.sequence === sequence);
    assert(found !== undefined, `snapshot ${sequence} is not listed`);
    return found.header;
  }

  /** The first snapshot after a chunk: where the log goes on if it has a gap. */
  after(sequence: number): SnapshotHeader | undefined {
    return this.#all.findLast(({ header }) => header.sequence > sequence)?.header;
  }

  /** That the log no longer, or not yet, has what was asked for. */
  tooEarly(wanted: Wanted, firstChunkMs: number | undefined): RestoreError {
    const oldest = this.#all.at(-1)?.header;
    const asked =
      wanted.kind === 'revision'
        ? `revision ${wanted.revision}`
        : wanted.kind === 'time'
          ? timeText(wanted.timeMs)
          : 'the end of the log';
    if (firstChunkMs !== undefined) {
      return new RestoreError(
        `${asked} is before the log of ${this.#url} begins: its first chunk is of ${timeText(firstChunkMs)}`,
      );
    }
    if (oldest === undefined) {
      return new RestoreError(`${this.#url} holds no log, or an import or restore that did not end`);
    }
    const { snapshot, createdAtMs } = oldest;
    return new RestoreError(
      `${asked} is before what retention kept in ${this.#url}: ` +
        `the first restore point is revision ${snapshot.revision}, of ${timeText(createdAtMs)}`,
    );
  }
}

function isBefore({ sequence, snapshot, createdAtMs }: SnapshotHeader, wanted: Wanted): boolean {
  switch (wanted.kind) {
    case 'end':
      return true;
    case 'revision':
      return snapshot.revision <= wanted.revision;
    case 'sequence':
      return sequence <= wanted.sequence;
    case 'time':
      return createdAtMs <= wanted.timeMs;
  }
}
