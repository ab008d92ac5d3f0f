import { asBuffer, NO_BYTES } from '../base/bytes.ts';

/**
 * One change in the log, as `evaluate` makes it, a `.netsy` file carries it and `apply` turns it into
 * SQLite rows. Revisions are JavaScript numbers: they stay below 2^53. Lease ids are 64-bit and random,
 * so they are bigints.
 */

/** What a record does. KeyValue is Netsy's own record (put or delete); the others are log operations. */
export const Operation = {
  KeyValue: 0,
  LeaseGrant: 1,
  LeaseRevoke: 2,
  Compaction: 3,
  System: 4,
  Epoch: 5,
  ImportEnd: 6,
  Origin: 7,
} as const;
export type Operation = (typeof Operation)[keyof typeof Operation];

export interface LogRecord {
  operation: Operation;
  /** The writing transaction's revision. 0 for a log operation, which uses none. */
  revision: number;
  /** Place within the revision: 0, 1, 2 … */
  sub: number;
  /** The key; of System an entry's name (`SystemChange`); of Origin see `format/origin.ts`; empty for the other log operations. */
  key: Uint8Array;
  /** True for a put that creates its key. */
  created: boolean;
  /** True for a delete (a tombstone), or of System for an entry's removal. */
  deleted: boolean;
  createRevision: number;
  /** mod_revision of the key's record before this one; 0 if there was none or it was a tombstone, or in an import. */
  prevRevision: number;
  /** etcd's version of the key; 0 for a tombstone. */
  version: number;
  /** The lease attached by a put, granted by a grant or revoked by a revoke; 0n for none. */
  lease: bigint;
  value: Uint8Array;
  /** Milliseconds since the Unix epoch, by the primary's clock. Never read by `apply`. */
  createdAtMs: number;
  /** Set in files of Netsy for Go alone: a compaction has taken the value away. */
  compacted?: boolean;
  /** LeaseGrant: granted TTL in seconds. */
  leaseTtlSeconds?: number;
  /** Compaction: the revision up to which history goes. */
  compactRevision?: number;
  /** Epoch: what a new primary says of itself. */
  epoch?: EpochClaim;
  /** ImportEnd: what was imported. */
  importEnd?: ImportEnd;
  /** KeyValue in a snapshot: the place among all puts and deletes of the log, from 1. */
  ordinal?: number;
  /** KeyValue in a snapshot: that of the key's record before, which may be compacted; 0 for none. */
  previousOrdinal?: number;
}

/**
 * A change of the server's own replicated state, which clients see only through its own RPCs: users, roles, alarms.
 * Entries are few and small; every thread that needs them holds them all in memory.
 */
export interface SystemChange {
  /** Such as `auth/users/root`. */
  name: string;
  /** Undefined: the entry is removed. */
  value: Uint8Array | undefined;
}

/** The claim in an epoch chunk (design, section 6). */
export interface EpochClaim {
  epoch: number;
  /** The first sequence after the ones that the fenced primary may still fill; those between are ignored. */
  skipTo: number;
  /** The holder's node id. */
  holder: string;
  /** The store's cluster id, chosen once by the first epoch and repeated by every later one. */
  clusterId: bigint;
}

/**
 * What the log before its first epoch came to: the history of another server, in which compaction may have left gaps.
 * Without this record that history is not whole.
 */
export interface ImportEnd {
  /** The other server's revision, which may be beyond its last record. */
  revision: number;
  /** How many puts and deletes there were. */
  records: number;
  leases: number;
}

/** A log operation's record: it changes no key and uses no revision. The caller adds the operation's own fields. */
export function operationRecord(operation: Operation, createdAtMs: number): LogRecord {
  return {
    operation,
    revision: 0,
    sub: 0,
    key: NO_BYTES,
    created: false,
    deleted: false,
    createRevision: 0,
    prevRevision: 0,
    version: 0,
    lease: 0n,
    value: NO_BYTES,
    createdAtMs,
  };
}

/** The record of a change of the server's own state. */
export function systemRecord({ name, value }: SystemChange, createdAtMs: number): LogRecord {
  return {
    ...operationRecord(Operation.System, createdAtMs),
    key: Buffer.from(name),
    value: value ?? NO_BYTES,
    deleted: value === undefined,
  };
}

/** What `systemRecord` was made from. */
export function systemChange({ key, value, deleted }: LogRecord): SystemChange {
  return { name: asBuffer(key).toString(), value: deleted ? undefined : value };
}
