/** Messages of the worker that builds one snapshot of the log and ends. Types only. */

export interface LogSnapshotData {
  cacheFile: string;
  nodeId: string;
  createdAtMs: number;
  nonce: bigint;
}

/** Asks for what comes next, so that no more is made than is taken. */
export type LogSnapshotRequest = { type: 'next' } | { type: 'close' };

/** What a snapshot is of. */
export interface LogSnapshotBegun {
  /** The last chunk that it holds; 0 when the log is empty, and then nothing follows. */
  sequence: number;
  records: number;
}

export type LogSnapshotReply =
  /** First of all, without being asked. */
  | ({ type: 'begun' } & LogSnapshotBegun)
  /** The object's next bytes. */
  | { type: 'piece'; bytes: Uint8Array }
  /** After the last piece: the footer's CRC. */
  | { type: 'end'; crc: bigint }
  | { type: 'failed'; message: string };
