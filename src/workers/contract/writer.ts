import type { SystemChange } from '../../shared/model/record.ts';
import type { ChunkRows } from './chunk-rows.ts';
import type { SnapshotPiece } from './task.ts';

/** Messages of the SQLite writer (the state worker). Types and constants only. */

/** What kind of request a frame of an `evaluate` message holds: its tag. */
export const WriteKind = {
  /** etcdserverpb.PutRequest */
  Put: 1,
  /** etcdserverpb.DeleteRangeRequest */
  DeleteRange: 2,
  /** etcdserverpb.TxnRequest */
  Txn: 3,
  /** etcdserverpb.CompactionRequest */
  Compact: 4,
  /** etcdserverpb.LeaseGrantRequest, its id already chosen */
  LeaseGrant: 5,
  /** etcdserverpb.LeaseRevokeRequest */
  LeaseRevoke: 6,
  /** etcdserverpb.AlarmRequest to activate or deactivate */
  Alarm: 7,
  /** etcdserverpb.DowngradeRequest */
  Downgrade: 8,
  /** A write of one of the other kinds and who makes it: see `caller.ts`. Used while auth is enabled. */
  As: 32,
  /** etcdserverpb.AuthEnableRequest, and so on for the others; passwords are hashed already. */
  AuthEnable: 33,
  AuthDisable: 34,
  UserAdd: 35,
  UserDelete: 36,
  UserChangePassword: 37,
  UserGrantRole: 38,
  UserRevokeRole: 39,
  RoleAdd: 40,
  RoleDelete: 41,
  RoleGrantPermission: 42,
  RoleRevokePermission: 43,
} as const;
export type WriteKind = (typeof WriteKind)[keyof typeof WriteKind];

/** How the writer is started. */
export interface WriterData {
  cacheFile: string;
  maxTxnOps: number;
  memberId: bigint;
  nodeId: string;
  /** What the database may take; 0: no limit. */
  quotaBytes: number;
}

/** Where the log of truth stands for a node: after recovery, or in the cache when it is opened. */
export interface LogPosition {
  /** The last sequence applied; 0 for none. */
  sequence: number;
  /** The CRC of the chunk at `sequence` (the chain); 0n for none. */
  chunkCrc: bigint;
  /** The next sequence to read or write. Differs from `sequence + 1` after an epoch chunk. */
  nextSequence: number;
  epoch: number;
  clusterId: bigint;
  revision: number;
  compactRevision: number;
}

/** Where a snapshot leaves the cache that is filled from it. */
export interface FilledPosition extends LogPosition {
  compactedRevision: number;
  nextOrdinal: number;
}

export type WriterRequest =
  /**
   * Evaluates requests that the next batch begins with, while it still gathers: its `evaluate`, which may have none left,
   * answers them, too.
   */
  | { type: 'evaluateAhead'; requests: Uint8Array; createdAtMs: number }
  /** Evaluates a batch's requests one after the other and ends it; answers `evaluated`. */
  | {
      type: 'evaluate';
      batch: number;
      requests: Uint8Array;
      createdAtMs: number;
      nonce: bigint;
      compressBytesMin: number;
    }
  /** Every evaluated chunk up to `sequence` is durable: apply them; answers `applied`. */
  | { type: 'apply'; sequence: number }
  /** Recovery: the next chunks of the log; answers `loaded`. */
  | { type: 'load'; chunks: LoadedChunk[] }
  /** A standby: as `load`, and tells what a primary would know from evaluating; answers `followed`. */
  | { type: 'follow'; chunks: LoadedChunk[] }
  /** Recovery: throw the cache away, to fill it anew from a snapshot; answers `filling`. */
  | { type: 'fillBegin' }
  /** Recovery: the snapshot's next piece, which was checked; answers `filling`. */
  | { type: 'fill'; piece: Omit<SnapshotPiece, 'tally'> }
  /** Recovery: the snapshot was whole, and is a state of the log at `position`; answers `loaded`. */
  | { type: 'fillEnd'; position: FilledPosition }
  /** Recovery: throw the cache away and start from nothing; answers `reset`. */
  | { type: 'reset' }
  /**
   * The log is followed to where it is now: tell what the main thread needs to serve. The writer may evaluate from
   * there if the log is claimed; a standby says it again when it has claimed it. Answers `begun`.
   */
  | { type: 'begin' }
  /** Do nothing of it before `resume`; answers `held`. */
  | { type: 'hold'; what: Held }
  | { type: 'resume'; what: Held }
  /** Copy what the write-ahead log of SQLite holds into its database, and cut both files; answers `logTruncated`. */
  | { type: 'truncateLog' }
  /** Give unused pages back to the disk, in small steps between writes; answers `defragmented`. */
  | { type: 'defragment' }
  | { type: 'close' };

/** A chunk as the store has it, its body decompressed; or what it holds, ready for the writer. */
export interface LoadedChunk {
  sequence: number;
  records: number;
  header: Uint8Array;
  body: Uint8Array;
  /** Instead of `header` and `body`, which are empty then. */
  rows?: ChunkRows;
  /** By its writer's clock, in milliseconds since the Unix epoch. */
  createdAtMs: number;
  /** The CRC of the chunk before it in the log. */
  previousChunkCrc: bigint;
  /** The chunk's own CRC (its footer's). */
  crc: bigint;
  /** Set by an epoch chunk: the sequence at which the log goes on; those between are ignored. */
  skipTo: number | undefined;
  /** Of its records; 0 if none has one. */
  lastRevision: number;
}

/** What requests did, each operation of a transaction counted; for metrics. */
export interface OperationCounts {
  puts: number;
  deletes: number;
  ranges: number;
  /** Transactions of more than one operation, as etcd counts them. */
  txns: number;
  /** Of the keys and values that were put. */
  putBytes: number;
}

export interface EvaluatedMessage {
  type: 'evaluated';
  batch: number;
  /** The chunk's sequence; 0 when no request made a record, so that there is nothing to store. */
  sequence: number;
  /** The chunk's object. If `compress`, everything after the header is still to become one zstd frame. */
  object: Uint8Array;
  headerLength: number;
  compress: boolean;
  /** Of the object without compression. */
  contentBytes: number;
  /** One frame per request, in order: the tag is an EtcdError id (0: none), the payload the response. */
  replies: Uint8Array;
  /** See `events.ts`. */
  events: Uint8Array;
  /** Leases granted and revoked, in order. */
  leases: LeaseChange[];
  /** Changes of the server's own state, in order. */
  system: SystemChange[];
  /** The store's revision and compaction revision after this batch. */
  revision: number;
  compactRevision: number;
  records: number;
  operations: OperationCounts;
  /**
   * What it took the writer to evaluate the batch, and to encode its chunk, without the time that it waited, nor what was
   * done ahead.
   */
  evaluateMs: number;
  sealMs: number;
}

/** What a standby learned from chunks that it followed. */
export interface FollowedState {
  /** Where the cache stands now; where it stood when the disk refused the chunks. */
  position: LogPosition;
  /** See `events.ts`. */
  events: Uint8Array;
  leases: LeaseChange[];
  system: SystemChange[];
  operations: OperationCounts;
}

/** What the main thread holds of the log's state when it begins. */
export interface BegunState {
  leases: LeaseChange[];
  /** Every entry of the server's own state. */
  system: SystemChange[];
}

export interface LeaseChange {
  id: bigint;
  /** Seconds; 0 means revoked. */
  ttlSeconds: number;
}

/**
 * What may have to wait for another thread: `commits`, all that need not be done at once, while SQLite's log is copied to
 * its end, unless too much waits; `compaction`, the removal of rows, while a snapshot is read.
 */
export type Held = 'commits' | 'compaction';

export type WriterReply =
  | { type: 'opened'; position: LogPosition; rebuilt: string }
  | EvaluatedMessage
  | {
      type: 'applied';
      sequence: number;
      revision: number;
      databaseBytes: number;
      freeBytes: number;
      /** How long SQLite took to commit what was applied; 0 when nothing was. */
      commitMs: number;
      /** Rows that compactions have removed, since the start. */
      removedRows: number;
    }
  | { type: 'loaded'; position: LogPosition }
  | { type: 'filling' }
  | { type: 'reset'; position: LogPosition }
  | ({ type: 'begun' } & BegunState)
  | ({ type: 'followed' } & FollowedState)
  /** Rows up to this compaction revision are gone. */
  | { type: 'compacted'; revision: number }
  /** The disk under the cache refused a write (full, for instance); the writer tries again by itself. */
  | { type: 'trouble'; message: string }
  | { type: 'defragmented' }
  | { type: 'held' }
  /** `truncated`: both files are as short as they can be. A read that is under way prevents it. */
  | { type: 'logTruncated'; truncated: boolean }
  /** The worker can't go on: a broken invariant or a damaged cache. */
  | { type: 'failed'; message: string; name?: string; object?: string };

/** The tag of a reply whose request could not be decoded; its payload is the reason. */
export const REPLY_MALFORMED = 0xffff;
