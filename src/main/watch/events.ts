/** One published change of a key. */
export interface WatchEvent {
  revision: number;
  /** Place within the revision. */
  sub: number;
  key: Uint8Array;
  isDelete: boolean;
  /** An encoded `mvccpb.Event` laid out as type, kv, prev_kv. */
  bytes: Uint8Array;
  /** The first this many bytes are the event without prev_kv. */
  plainLength: number;
}

/** The events of one chunk, ordered by revision and sub: several whole revisions. */
export interface PublishedBatch {
  /** The store's revision once this batch is published; at least that of its last event. */
  lastRevision: number;
  events: WatchEvent[];
}
