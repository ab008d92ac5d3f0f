import { bytesKey, compareBytes } from '../base/bytes.ts';
import { EtcdError } from './errors.ts';
import type { DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest } from './requests.ts';

/** The checks that etcd's gRPC layer makes before a request goes anywhere (its v3rpc/key.go), in its order. */

const SORT_ORDER_MAX = 2;
const SORT_TARGET_MAX = 4;

export function checkRange(request: RangeRequest): void {
  if (request.key.length === 0) throw new EtcdError('EmptyKey');
  if (request.sortOrder < 0 || request.sortOrder > SORT_ORDER_MAX) throw new EtcdError('InvalidSortOption');
  if (request.sortTarget < 0 || request.sortTarget > SORT_TARGET_MAX)
    throw new EtcdError('InvalidSortOption');
}

export function checkPut(request: PutRequest): void {
  if (request.key.length === 0) throw new EtcdError('EmptyKey');
  if (request.ignoreValue && request.value.length > 0) throw new EtcdError('ValueProvided');
  if (request.ignoreLease && request.lease !== 0n) throw new EtcdError('LeaseProvided');
}

export function checkDeleteRange(request: DeleteRangeRequest): void {
  if (request.key.length === 0) throw new EtcdError('EmptyKey');
}

/** Operation counts, keys and options of a transaction and those nested in it, then duplicate keys. */
export function checkTxn(request: TxnRequest, maxTxnOps: number): void {
  checkTxnRequest(request, maxTxnOps);
  collectWrites(request.success);
  collectWrites(request.failure);
}

function checkTxnRequest(request: TxnRequest, maxTxnOps: number): void {
  const operations = Math.max(request.compare.length, request.success.length, request.failure.length);
  if (operations > maxTxnOps) throw new EtcdError('TooManyOps');
  for (const compare of request.compare) {
    if (compare.key.length === 0) throw new EtcdError('EmptyKey');
  }
  for (const op of request.success) checkOp(op, maxTxnOps - operations);
  for (const op of request.failure) checkOp(op, maxTxnOps - operations);
}

function checkOp(op: RequestOp, maxTxnOps: number): void {
  switch (op.kind) {
    case 'range':
      return checkRange(op.range);
    case 'put':
      return checkPut(op.put);
    case 'delete':
      return checkDeleteRange(op.delete);
    case 'txn':
      return checkTxnRequest(op.txn, maxTxnOps);
    case 'none':
      throw new EtcdError('KeyNotFound');
  }
}

/** [start, end) of deleted keys. */
type Interval = [start: Uint8Array, end: Uint8Array];

/** What a branch may write: the keys it puts and the intervals it deletes, sorted and disjoint. */
interface Writes {
  puts: Map<string, Uint8Array>;
  deletes: Interval[];
}

/**
 * Refuses a key that is put twice, or put and deleted, in one branch. The two branches of a nested
 * transaction exclude each other, so both may put a key. As in etcd, a delete "from key on" (its end is one
 * zero byte) overlaps nothing here.
 */
function collectWrites(operations: RequestOp[]): Writes {
  let deletes: Interval[] = [];
  for (const op of operations) {
    if (op.kind === 'delete') deletes.push(intervalOf(op.delete));
  }
  deletes = joinIntervals(deletes);
  const puts = new Map<string, Uint8Array>();
  for (const op of operations) {
    if (op.kind !== 'txn') continue;
    const success = collectWrites(op.txn.success);
    const failure = collectWrites(op.txn.failure);
    addPuts(puts, success.puts, deletes, undefined);
    addPuts(puts, failure.puts, deletes, success.puts);
    deletes = joinIntervals([...deletes, ...success.deletes, ...failure.deletes]);
  }
  const own = new Map<string, Uint8Array>();
  for (const op of operations) {
    if (op.kind !== 'put') continue;
    const key = bytesKey(op.put.key);
    if (own.has(key)) throw new EtcdError('DuplicateKey');
    own.set(key, op.put.key);
  }
  addPuts(puts, own, deletes, undefined);
  return { puts, deletes };
}

/** Adds `added` to `puts`; a key that is there already is an error unless `excluding` has it too. */
function addPuts(
  puts: Map<string, Uint8Array>,
  added: Map<string, Uint8Array>,
  deletes: Interval[],
  excluding: Map<string, Uint8Array> | undefined,
): void {
  for (const [key, bytes] of added) {
    if (puts.has(key) && !excluding?.has(key)) throw new EtcdError('DuplicateKey');
    if (isCovered(deletes, bytes)) throw new EtcdError('DuplicateKey');
    puts.set(key, bytes);
  }
}

function intervalOf(request: DeleteRangeRequest): Interval {
  if (request.rangeEnd.length > 0) return [request.key, request.rangeEnd];
  const next = new Uint8Array(request.key.length + 1);
  next.set(request.key);
  return [request.key, next];
}

function joinIntervals(intervals: Interval[]): Interval[] {
  const sorted = intervals
    .filter(([start, end]) => compareBytes(start, end) < 0)
    .sort((a, b) => compareBytes(a[0], b[0]));
  const joined: Interval[] = [];
  for (const interval of sorted) {
    const last = joined[joined.length - 1];
    if (last === undefined || compareBytes(last[1], interval[0]) < 0) joined.push([...interval]);
    else if (compareBytes(last[1], interval[1]) < 0) last[1] = interval[1];
  }
  return joined;
}

function isCovered(intervals: Interval[], key: Uint8Array): boolean {
  let low = 0;
  let high = intervals.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareBytes(intervals[middle]![0], key) <= 0) low = middle + 1;
    else high = middle;
  }
  return low > 0 && compareBytes(key, intervals[low - 1]![1]) < 0;
}
