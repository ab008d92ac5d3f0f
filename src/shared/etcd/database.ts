import { asBuffer, int64Bytes } from '../base/bytes.ts';
import { KEY_BUCKET } from './key-bucket.ts';
import { MalformedMessageError, Reader, Writer } from './wire.ts';

/**
 * What etcd keeps in its database file, and how: the names of buckets and entries, and the bytes of keys and values.
 * Source: etcd's server/storage/schema, server/storage/mvcc and server/lease/leasepb.
 */

/** The buckets of etcd 3.7, all of which a server makes when it first starts. */
export const DatabaseBucket = {
  /** Revision → mvccpb.KeyValue; of a delete one that has only its key. */
  Key: KEY_BUCKET,
  Meta: 'meta',
  /** Id (uint64) → leasepb.Lease. */
  Lease: 'lease',
  /** etcdserverpb.AlarmMember → nothing. */
  Alarm: 'alarm',
  Cluster: 'cluster',
  /** Id in hexadecimal → JSON. */
  Members: 'members',
  MembersRemoved: 'members_removed',
  Auth: 'auth',
  /** Name → authpb.User. */
  AuthUsers: 'authUsers',
  /** Name → authpb.Role. */
  AuthRoles: 'authRoles',
} as const;

export const MetaEntry = {
  /** Index of the last raft entry that the database holds, uint64. */
  ConsistentIndex: 'consistent_index',
  /** That entry's term, uint64. */
  Term: 'term',
  /** raftpb.ConfState as JSON. */
  ConfState: 'confState',
  StorageVersion: 'storageVersion',
  /** The revisions up to which rows must be, and are, removed; as keys of the bucket `key`. */
  ScheduledCompact: 'scheduledCompactRev',
  FinishedCompact: 'finishedCompactRev',
} as const;

export const AuthEntry = {
  /** One byte, 1 or 0. */
  Enabled: 'authEnabled',
  /** uint64. */
  Revision: 'authRevision',
} as const;

const REVISION_BYTES = 17;
const SEPARATOR = 0x5f;
const TOMBSTONE = 0x74;

/** A key of the bucket `key`. */
export interface DatabaseRevision {
  readonly revision: number;
  readonly sub: number;
  readonly deleted: boolean;
}

/** The inverse of `revisionKey`; undefined for what it does not make, and beyond 2^53. */
export function parseRevision(bytes: Uint8Array): DatabaseRevision | undefined {
  const buffer = asBuffer(bytes);
  const deleted = buffer.length === REVISION_BYTES + 1 && buffer[REVISION_BYTES] === TOMBSTONE;
  if ((buffer.length !== REVISION_BYTES && !deleted) || buffer[8] !== SEPARATOR) return undefined;
  const revision = Number(buffer.readBigUInt64BE(0));
  const sub = Number(buffer.readBigUInt64BE(9));
  return Number.isSafeInteger(revision) && Number.isSafeInteger(sub) ? { revision, sub, deleted } : undefined;
}

/** A lease as etcd stores it; how long it has left is the clock's matter. */
export interface StoredLease {
  readonly id: bigint;
  readonly ttlSeconds: number;
}

const LeaseTag = { id: 8, ttl: 16 } as const;

/** leasepb.Lease */
export function leaseBytes({ id, ttlSeconds }: StoredLease): Uint8Array {
  const writer = new Writer();
  writer.varint(LeaseTag.id);
  writer.bigint64(id);
  writer.varint(LeaseTag.ttl);
  writer.int64(ttlSeconds);
  return writer.finish();
}

/** The inverse of `leaseBytes`. Throws `MalformedMessageError`, also when `key` is not the lease's id. */
export function parseLease(key: Uint8Array, bytes: Uint8Array): StoredLease {
  const reader = new Reader(bytes);
  let id = 0n;
  let ttlSeconds = 0;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === LeaseTag.id) id = reader.bigint64();
    else if (tag === LeaseTag.ttl) ttlSeconds = reader.int64();
    else reader.skip(tag);
  }
  if (!int64Bytes(id).equals(key)) throw new MalformedMessageError(`lease ${id} stands under another id`);
  return { id, ttlSeconds };
}

/** raftpb.ConfState of a cluster of this one member. */
export function confStateJson(id: bigint): Uint8Array {
  return Buffer.from(`{"voters":[${BigInt.asUintN(64, id)}],"auto_leave":false}`);
}

/** A number as uint64, big-endian. */
export function uint64Bytes(value: number): Uint8Array {
  return int64Bytes(BigInt(value));
}
