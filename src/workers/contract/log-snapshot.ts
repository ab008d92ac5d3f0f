/** Messages of the worker that builds one snapshot of the log and ends. Types only. */

export interface LogSnapshotData {
  cacheFile: string;
  nodeId: string;
  createdAtMs: number;
  nonce: bigint;
  /** For a snapshot that another log begins with; else it stands where the cache does. */
  beginning?: LogBeginning | undefined;
}

/** Where the log that begins with a snapshot stands after it. */
export interface LogBeginning {
  sequence: number;
  /** Of the chunk at `sequence`. */
  chunkCrc: bigint;
  nextSequence: number;
  epoch: number;
  clusterId: bigint;
  /** How much more than the cache's its revision is. Everything up to it counts as compacted then; 0: nothing changes. */
  bumpRevision: number;
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
  /** The object's next bytes; `records` are in what came so far, about. */
  | { type: 'piece'; bytes: Uint8Array; records: number }
  /** After the last piece: the footer's CRC. */
  | { type: 'end'; crc: bigint }
  | { type: 'failed'; message: string };
