/** The state of one key at one revision: what compares and lists look at before any value is read. */
export interface KeyState {
  key: Uint8Array;
  modRevision: number;
  createRevision: number;
  version: number;
  lease: bigint;
  /** The row of SQLite's history table that holds the encoded KeyValue; 0 when `kv` is here already. */
  rowId: number;
  /** The encoded mvccpb.KeyValue, if it was read or just made. */
  kv: Uint8Array | undefined;
}
