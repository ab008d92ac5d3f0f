import { NO_BYTES } from '../../shared/base/bytes.ts';
import type { LockRequest } from '../../shared/etcd/concurrency-requests.ts';
import { GrpcCode, RefusedError } from '../../shared/etcd/errors.ts';
import type { RangeResponse, ResponseHeader } from '../../shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import {
  createdAt,
  type EtcdCalls,
  firstCreated,
  foundBy,
  type KeyPrefix,
  keyOf,
  ownRevision,
  prefixOf,
  putOp,
  rangeOp,
  sessionLease,
} from './calls.ts';
import { waitDeletes } from './wait-deletes.ts';

/** A lock that is held for as long as `key` exists. */
export interface Locked {
  readonly header: ResponseHeader | undefined;
  readonly key: Uint8Array;
}

/**
 * Resolves when the caller holds the lock, by the keys and rules of etcd's clientv3/concurrency Mutex, so that
 * callers of this service and of that package can share a lock: who wants it puts `name/LEASE` and waits until no
 * older key is left under `name/`. A wait that fails, or that `signal` ends, takes the caller's key out of the queue.
 */
export async function lock(calls: EtcdCalls, request: LockRequest, signal: AbortSignal): Promise<Locked> {
  const prefix = prefixOf(request.name);
  const lease = await sessionLease(calls, request.lease);
  const key = keyOf(prefix, lease);
  const owner = rangeOp(firstCreated(prefix));
  const entered = await calls.txn({
    compare: [createdAt(key, 0n)],
    success: [putOp(key, NO_BYTES, lease), owner],
    failure: [rangeOp({ key }), owner],
  });
  const revision = ownRevision(entered);
  if (foundBy(entered, 1)[0]?.createRevision === revision) return { header: entered.header, key };
  const { header, kvs } = await waitForTurn(calls, { prefix, key, revision }, signal);
  // The lease may have ended while its owner waited: then the queue went on without it.
  if (kvs.length === 0) throw new RefusedError(GrpcCode.Unknown, 'mutex: session is expired');
  return { header, key };
}

async function waitForTurn(
  calls: EtcdCalls,
  { prefix, key, revision }: { prefix: KeyPrefix; key: Uint8Array; revision: bigint },
  signal: AbortSignal,
): Promise<RangeResponse> {
  try {
    await waitDeletes(calls, prefix, revision - 1n, signal);
    signal.throwIfAborted();
    return await calls.range({ key });
  } catch (error) {
    // If this fails too, the lease's end takes the key away.
    await calls.deleteRange({ key }).catch(() => {});
    throw error;
  }
}

/** Gives the lock of `key` up. */
export async function unlock(calls: EtcdCalls, key: Uint8Array): Promise<ResponseHeader | undefined> {
  return (await calls.deleteRange({ key })).header;
}
