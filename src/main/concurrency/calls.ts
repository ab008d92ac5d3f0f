import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  Compare_CompareResult,
  Compare_CompareTarget,
  type CompareSchema,
  type DeleteRangeRequestSchema,
  type DeleteRangeResponse,
  type LeaseGrantRequestSchema,
  type LeaseGrantResponse,
  RangeRequest_SortOrder,
  RangeRequest_SortTarget,
  type RangeRequestSchema,
  type RangeResponse,
  type RequestOpSchema,
  type TxnRequestSchema,
  type TxnResponse,
} from '../../shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import type { OwnWatch } from './own-watch.ts';

/** etcd's own calls, as whoever called the recipe may make them. Each rejects with what the client would get. */
export interface EtcdCalls {
  range(request: MessageInitShape<typeof RangeRequestSchema>): Promise<RangeResponse>;
  txn(request: MessageInitShape<typeof TxnRequestSchema>): Promise<TxnResponse>;
  deleteRange(request: MessageInitShape<typeof DeleteRangeRequestSchema>): Promise<DeleteRangeResponse>;
  leaseGrant(request: MessageInitShape<typeof LeaseGrantRequestSchema>): Promise<LeaseGrantResponse>;
  /** Watches a key, or a range of them, from `startRevision` on; `signal` ends it. */
  watch(
    what: { key: Uint8Array; rangeEnd?: Uint8Array; startRevision: bigint },
    signal: AbortSignal,
  ): OwnWatch;
}

/** The keys of one lock or election: all that begin with its name and a slash. */
export interface KeyPrefix {
  readonly key: Uint8Array;
  readonly rangeEnd: Uint8Array;
}

const SLASH = '/';
const AFTER_SLASH = '0';
/** In seconds; clientv3's concurrency package gives it to sessions that bring no lease. */
const SESSION_TTL = 60n;

/** Where those who want `name` queue. */
export function prefixOf(name: Uint8Array): KeyPrefix {
  const ending = (with_: string): Uint8Array => Buffer.concat([name, Buffer.from(with_)]);
  return { key: ending(SLASH), rangeEnd: ending(AFTER_SLASH) };
}

/** The key of one of them: the lease's id in hexadecimal, as Go prints a signed number, after the prefix. */
export function keyOf(prefix: KeyPrefix, lease: bigint): Uint8Array {
  return Buffer.concat([prefix.key, Buffer.from(lease.toString(16))]);
}

/** The lease that the caller brings, or a new one. */
export async function sessionLease(calls: EtcdCalls, lease: bigint): Promise<bigint> {
  if (lease !== 0n) return lease;
  return (await calls.leaseGrant({ TTL: SESSION_TTL })).ID;
}

/** Of the keys under a prefix, the one that was there first: who holds the lock, or leads. */
export function firstCreated(prefix: KeyPrefix): MessageInitShape<typeof RangeRequestSchema> {
  return {
    ...prefix,
    limit: 1n,
    sortTarget: RangeRequest_SortTarget.CREATE,
    sortOrder: RangeRequest_SortOrder.ASCEND,
  };
}

/** True for a key that came to be at `revision`; 0 for one that does not exist. */
export function createdAt(key: Uint8Array, revision: bigint): MessageInitShape<typeof CompareSchema> {
  return {
    key,
    target: Compare_CompareTarget.CREATE,
    result: Compare_CompareResult.EQUAL,
    targetUnion: { case: 'createRevision', value: revision },
  };
}

export function rangeOp(
  value: MessageInitShape<typeof RangeRequestSchema>,
): MessageInitShape<typeof RequestOpSchema> {
  return { request: { case: 'requestRange', value } };
}

export function putOp(
  key: Uint8Array,
  value: Uint8Array,
  lease: bigint,
): MessageInitShape<typeof RequestOpSchema> {
  return { request: { case: 'requestPut', value: { key, value, lease } } };
}

/** The key-values that a transaction's operation at `index` found. */
export function foundBy(response: TxnResponse, index: number): RangeResponse['kvs'] {
  const inner = response.responses[index]?.response;
  return inner?.case === 'responseRange' ? inner.value.kvs : [];
}

/** When the caller's key came to be: by this transaction, or by an earlier one whose key is the first answer. */
export function ownRevision(response: TxnResponse): bigint {
  if (response.succeeded) return response.header!.revision;
  return foundBy(response, 0)[0]!.createRevision;
}
