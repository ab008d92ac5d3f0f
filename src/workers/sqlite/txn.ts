import { EtcdError } from '../../shared/etcd/errors.ts';
import type {
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  RequestOp,
  TxnRequest,
} from '../../shared/etcd/requests.ts';
import {
  decodeKeyValue,
  encodeDeleteRangeResponse,
  encodeHeader,
  encodePutResponse,
  encodeTxnResponse,
  type ResponseOp,
} from '../../shared/etcd/responses.ts';
import { holdsAll } from './compare.ts';
import { executeRange, rangeResponse } from './range.ts';
import type { KeyView } from './view.ts';
import type { WriteTxn } from './write-txn.ts';

/**
 * Transactions as etcd executes them: every compare, nested ones too, is decided against the state before
 * the transaction; then the chosen operations are checked against that state; only then do they run, each
 * seeing the writes before it.
 */

/** A transaction with its branches chosen: what is left to do. */
export interface ChosenTxn {
  succeeded: boolean;
  operations: ChosenOp[];
}
type ChosenOp = Exclude<RequestOp, { kind: 'txn' } | { kind: 'none' }> | { kind: 'txn'; chosen: ChosenTxn };

/** Decides all compares against `view`. */
export function chooseBranches(view: KeyView, request: TxnRequest): ChosenTxn {
  const succeeded = holdsAll(view, request.compare);
  const operations: ChosenOp[] = [];
  for (const op of succeeded ? request.success : request.failure) {
    if (op.kind === 'txn') operations.push({ kind: 'txn', chosen: chooseBranches(view, op.txn) });
    else if (op.kind !== 'none') operations.push(op);
  }
  return { succeeded, operations };
}

/** Checks the chosen operations: revisions that can be read, leases that exist, keys that must be there. */
export function checkChosen(view: KeyView, hasLease: (id: bigint) => boolean, txn: ChosenTxn): void {
  for (const op of txn.operations) {
    if (op.kind === 'range') checkRangeRevision(view, op.range);
    else if (op.kind === 'put') checkPutState(view, hasLease, op.put);
    else if (op.kind === 'txn') checkChosen(view, hasLease, op.chosen);
  }
}

/** Within a transaction etcd checks a range's revision like this: a negative one may be compacted. */
function checkRangeRevision(view: KeyView, range: RangeRequest): void {
  if (range.revision === 0) return;
  if (range.revision > view.revision) throw new EtcdError('FutureRev');
  if (range.revision < view.compactRevision) throw new EtcdError('Compacted');
}

/** Throws LeaseNotFound, or KeyNotFound when a value or lease is to be kept and there is no key. */
export function checkPutState(view: KeyView, hasLease: (id: bigint) => boolean, put: PutRequest): void {
  if (put.lease !== 0n && !hasLease(put.lease)) throw new EtcdError('LeaseNotFound');
  if ((put.ignoreValue || put.ignoreLease) && view.get(put.key) === undefined) {
    throw new EtcdError('KeyNotFound');
  }
}

/** Runs a checked put; answers the encoded previous KeyValue if it was asked for. */
export function executePut(view: KeyView, txn: WriteTxn, put: PutRequest): Uint8Array | undefined {
  let { value, lease } = put;
  if (put.ignoreValue || put.ignoreLease) {
    const before = view.get(put.key);
    if (before === undefined) throw new EtcdError('KeyNotFound');
    if (put.ignoreValue) value = decodeKeyValue(view.kv(before)).value;
    if (put.ignoreLease) lease = before.lease;
  }
  const before = txn.put(put.key, value, lease);
  return put.prevKv && before !== undefined ? view.kv(before) : undefined;
}

/** Runs a delete; answers how many keys it deleted, and their encoded KeyValues if they were asked for. */
export function executeDeleteRange(
  view: KeyView,
  txn: WriteTxn,
  request: DeleteRangeRequest,
): { deleted: number; prevKvs: Uint8Array[] } {
  const states = txn.deleteRange(request);
  return { deleted: states.length, prevKvs: request.prevKv ? states.map((state) => view.kv(state)) : [] };
}

/**
 * Runs the chosen operations and encodes the response under `header`, a function of the revision that the
 * transaction leaves. `txn` is undefined for a transaction without writes.
 */
export function executeTxn(
  view: KeyView,
  txn: WriteTxn | undefined,
  chosen: ChosenTxn,
  header: (revision: number) => Uint8Array,
): Uint8Array {
  const responses = runOperations(view, txn, chosen);
  return encodeTxnResponse(header(view.revision), chosen.succeeded, responses);
}

function runOperations(view: KeyView, txn: WriteTxn | undefined, chosen: ChosenTxn): ResponseOp[] {
  return chosen.operations.map((op) => runOperation(view, txn, op));
}

function runOperation(view: KeyView, txn: WriteTxn | undefined, op: ChosenOp): ResponseOp {
  switch (op.kind) {
    case 'range': {
      if (txn !== undefined) txn.operations.ranges++;
      const result = executeRange(view, op.range);
      return { kind: 'range', bytes: rangeResponse(innerHeader(view.revision), result) };
    }
    case 'put': {
      const prevKv = executePut(view, writing(txn), op.put);
      return { kind: 'put', bytes: encodePutResponse(innerHeader(view.revision), prevKv) };
    }
    case 'delete': {
      const { deleted, prevKvs } = executeDeleteRange(view, writing(txn), op.delete);
      return {
        kind: 'delete',
        bytes: encodeDeleteRangeResponse(innerHeader(view.revision), deleted, prevKvs),
      };
    }
    case 'txn': {
      // etcd leaves a nested transaction's own header empty.
      const responses = runOperations(view, txn, op.chosen);
      return { kind: 'txn', bytes: encodeTxnResponse(innerHeader(0), op.chosen.succeeded, responses) };
    }
  }
}

function writing(txn: WriteTxn | undefined): WriteTxn {
  if (txn === undefined) throw new Error('a write in a transaction without writes');
  return txn;
}

/** Headers within a transaction carry the revision alone. */
function innerHeader(revision: number): Uint8Array {
  return encodeHeader({ revision });
}
