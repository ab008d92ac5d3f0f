/** Messages of a reader worker. Types and constants only. */

/** What a frame of a `read` message asks for: its tag. */
export const ReadKind = {
  /** etcdserverpb.RangeRequest → RangeResponse */
  Range: 1,
  /** etcdserverpb.TxnRequest without writes → TxnResponse */
  Txn: 2,
} as const;
export type ReadKind = (typeof ReadKind)[keyof typeof ReadKind];

export interface ReaderData {
  cacheFile: string;
  maxTxnOps: number;
  clusterId: bigint;
  memberId: bigint;
  /** Large lists are this thread's work; one that serves other reads gives them back (`REPLY_LARGE`). */
  lists: boolean;
}

/** The tag of a reply without payload: the range is so large that the thread of lists must answer it. */
export const REPLY_LARGE = 0xfffe;

/**
 * The tag of a reply without payload: the answers to the reads before it are enough for one message, and it must be asked
 * again, if its client has taken what it got.
 */
export const REPLY_AGAIN = 0xfffd;

/** One piece of a RangeStream. */
export interface RangePieceRequest {
  key: Uint8Array;
  rangeEnd: Uint8Array;
  /** 0 in the first piece: the snapshot's own. */
  revision: number;
  /** At most this many keys; at least 1. */
  limit: number;
  keysOnly: boolean;
  /** RangeRequest.sort_target; the order is not given. */
  sortTarget: number;
  /** The stream begins with this piece. */
  first: boolean;
  /** The stream's own limit ends with this piece: count what lies beyond. */
  last: boolean;
}

export interface RangePieceReply {
  /** Encoded KeyValues, each as `kvs` of a RangeResponse. */
  kvs: Uint8Array;
  keys: number;
  /** Where the next piece starts; undefined when nothing of the range is left. */
  nextKey: Uint8Array | undefined;
  /** The snapshot's newest revision. */
  newestRevision: number;
  /** Keys beyond the limit, if this was the last piece. */
  remaining: number;
}

export interface ReplayRequest {
  key: Uint8Array;
  rangeEnd: Uint8Array;
  fromRevision: number;
  bytesMax: number;
  prevKv: boolean;
  /** Of a compaction that the snapshot may not have yet. */
  compactRevision: number;
}

export type ReplayReply =
  | { kind: 'events'; events: Uint8Array; coveredRevision: number; complete: boolean }
  | { kind: 'compacted'; compactRevision: number };

export interface HashRequest {
  /** 0: the snapshot's own. */
  revision: number;
  /** Everything that the log says, and not the keys' history alone. */
  whole: boolean;
}

export interface HashReply {
  hash: number;
  /** -1 when nothing was ever compacted. */
  compactRevision: number;
  /** The revision up to which the history is hashed. */
  hashRevision: number;
  /** The snapshot's newest revision. */
  newestRevision: number;
}

export type ReaderRequest =
  | { type: 'read'; id: number; requests: Uint8Array }
  | { type: 'piece'; id: number; piece: RangePieceRequest }
  | { type: 'replay'; id: number; replay: ReplayRequest }
  | { type: 'leaseKeys'; id: number; lease: bigint }
  /** Answered when it is done; other requests are answered meanwhile. */
  | { type: 'hash'; id: number; request: HashRequest }
  | { type: 'close' };

export type ReaderReply =
  /**
   * One frame per request, in order: the tag is an EtcdError id (0: none), `REPLY_LARGE` or `REPLY_AGAIN`, the payload the
   * response.
   * Many or large responses come in several messages, of which the last says so.
   */
  | { type: 'read'; id: number; replies: Uint8Array; last: boolean }
  /** The next of these responses, if it is large. */
  | { type: 'response'; id: number; response: Uint8Array; last: boolean }
  | { type: 'piece'; id: number; piece: RangePieceReply }
  | { type: 'replay'; id: number; replay: ReplayReply }
  | { type: 'leaseKeys'; id: number; keys: Uint8Array[] }
  | { type: 'hash'; id: number; hash: HashReply }
  | { type: 'error'; id: number; errorId: number; message: string }
  | { type: 'failed'; message: string };
