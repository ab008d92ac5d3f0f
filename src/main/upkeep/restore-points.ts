import type { StoredSnapshot } from '../recovery/snapshot-list.ts';

/** What is known of the snapshots that the log can be restored from, without asking the store for it. */
export interface SnapshotsSeen {
  readonly count: number;
  /** When they were made, by the store's clock, in milliseconds since the Unix epoch. */
  readonly oldestMs: number;
  readonly newestMs: number;
  /** The newest one's size and sequence. */
  readonly newestBytes: number;
  readonly newestSequence: number;
}

/** Keeps what the snapshotter and retention find out and change; for metrics and the status page. */
export class RestorePoints {
  #snapshots: readonly StoredSnapshot[] | undefined;

  /** The store's list, as it is now. */
  listed(snapshots: readonly StoredSnapshot[]): void {
    this.#snapshots = snapshots;
  }

  /** One was written. */
  stored(snapshot: StoredSnapshot): void {
    this.#snapshots = [...(this.#snapshots ?? []), snapshot];
  }

  /** Undefined until the store was asked. */
  get seen(): SnapshotsSeen | undefined {
    const all = this.#snapshots;
    if (all === undefined) return undefined;
    const times = all.map(({ modifiedMs }) => modifiedMs);
    const newest = all.reduce<StoredSnapshot | undefined>(
      (best, one) => (best === undefined || one.sequence > best.sequence ? one : best),
      undefined,
    );
    return {
      count: all.length,
      oldestMs: all.length === 0 ? 0 : Math.min(...times),
      newestMs: newest?.modifiedMs ?? 0,
      newestBytes: newest?.size ?? 0,
      newestSequence: newest?.sequence ?? 0,
    };
  }
}
