import { NO_BYTES } from '../base/bytes.ts';
import type { DeleteRangeRequest, PutRequest, RequestOp, TxnRequest } from '../etcd/requests.ts';
import type { AuthInfo, AuthState } from './state.ts';

/**
 * What each request needs, in the order in which etcd 3.7 asks for it (its server/etcdserver/apply/auth.go). Each
 * function throws etcd's error, or passes.
 */

/** The keys attached to a lease; none for a lease that there is not. */
export type LeaseKeys = (lease: bigint) => Uint8Array[];

/** For Put: who attaches a lease must be able to write all of its keys, since its end deletes them. */
export function checkPutAllowed(
  state: AuthState,
  info: AuthInfo,
  put: Pick<PutRequest, 'key' | 'lease' | 'prevKv'>,
  leaseKeys: LeaseKeys,
): void {
  const range = { key: put.key, rangeEnd: NO_BYTES };
  state.checkWrite(info, range);
  if (put.lease !== 0n) checkLeaseAllowed(state, info, leaseKeys(put.lease));
  if (put.prevKv) state.checkRead(info, range);
}

/** For DeleteRange. */
export function checkDeleteAllowed(state: AuthState, info: AuthInfo, request: DeleteRangeRequest): void {
  state.checkWrite(info, request);
  if (request.prevKv) state.checkRead(info, request);
}

/** For LeaseRevoke and LeaseKeepAlive, with the lease's keys. */
export function checkLeaseAllowed(state: AuthState, info: AuthInfo, keys: readonly Uint8Array[]): void {
  if (state.isAdmin(info)) return;
  for (const key of keys) state.checkWrite(info, { key, rangeEnd: NO_BYTES });
}

/** For answers that name a lease's keys. */
export function checkLeaseReadable(state: AuthState, info: AuthInfo, keys: readonly Uint8Array[]): void {
  if (state.isAdmin(info)) return;
  for (const key of keys) state.checkRead(info, { key, rangeEnd: NO_BYTES });
}

/** For Txn: both branches, whichever will be chosen, and all transactions within. */
export function checkTxnAllowed(
  state: AuthState,
  info: AuthInfo,
  txn: TxnRequest,
  leaseKeys: LeaseKeys,
): void {
  for (const compare of txn.compare) state.checkRead(info, compare);
  for (const op of txn.success) checkOpAllowed(state, info, op, leaseKeys);
  for (const op of txn.failure) checkOpAllowed(state, info, op, leaseKeys);
}

function checkOpAllowed(state: AuthState, info: AuthInfo, op: RequestOp, leaseKeys: LeaseKeys): void {
  switch (op.kind) {
    case 'range':
      return state.checkRead(info, op.range);
    case 'put':
      return checkPutAllowed(state, info, op.put, leaseKeys);
    case 'delete':
      // Within a transaction etcd asks for these two the other way round; both refuse with the same error.
      return checkDeleteAllowed(state, info, op.delete);
    case 'txn':
      return checkTxnAllowed(state, info, op.txn, leaseKeys);
    case 'none':
      return;
  }
}
