import type { WatchEvent } from './events.ts';

/** Where the history of a range is read from: the reader worker's SQLite snapshots. */
export interface ReplaySource {
  /**
   * The events of [key, rangeEnd) from `fromRevision` on, from one snapshot: whole revisions only, about
   * `maxBytes` of them and at least one revision if there is any. The bounds are etcd's: an empty `rangeEnd`
   * means the single key, a single zero byte means from the key on.
   */
  replay(request: ReplayRequest): Promise<ReplayResult>;
}

export interface ReplayRequest {
  key: Uint8Array;
  rangeEnd: Uint8Array;
  fromRevision: number;
  maxBytes: number;
  prevKv: boolean;
  /** The newest compaction, which the snapshot may not have yet: before it there is no prev_kv. */
  compactRevision: number;
}

export type ReplayResult =
  | {
      kind: 'events';
      events: WatchEvent[];
      /** Every event of the range with a revision in [fromRevision, coveredRevision] is in `events`. */
      coveredRevision: number;
    }
  | {
      kind: 'compacted';
      /** The revision of the compaction; it is above `fromRevision`. */
      compactRevision: number;
    };
