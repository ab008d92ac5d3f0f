import { EMPTY_BYTES, MalformedMessageError, Reader } from './wire.ts';

/**
 * etcd's hot requests, decoded by hand: `bytes` fields are views of the input, revisions and counts are
 * numbers, lease ids bigints. Absent fields have proto3's defaults, and a singular message that occurs
 * again is merged, as in Go. Every decoder throws `MalformedMessageError` and nothing else.
 * Fields and numbers: etcd 3.7's rpc.proto. A case label is field number × 8 + wire type.
 */

/**
 * How deep transactions may nest. Go's decoder allows thousands; recursion over so many would overflow
 * the stack here, and no client nests more than a few.
 */
export const TXN_DEPTH_MAX = 256;

/** KV.Range and KV.RangeStream. Sort order and target are etcd's enum values. */
export interface RangeRequest {
  key: Uint8Array;
  rangeEnd: Uint8Array;
  limit: number;
  revision: number;
  sortOrder: number;
  sortTarget: number;
  serializable: boolean;
  keysOnly: boolean;
  countOnly: boolean;
  minModRevision: number;
  maxModRevision: number;
  minCreateRevision: number;
  maxCreateRevision: number;
}

/** KV.Put. */
export interface PutRequest {
  key: Uint8Array;
  value: Uint8Array;
  lease: bigint;
  prevKv: boolean;
  ignoreValue: boolean;
  ignoreLease: boolean;
}

/** KV.DeleteRange. */
export interface DeleteRangeRequest {
  key: Uint8Array;
  rangeEnd: Uint8Array;
  prevKv: boolean;
}

/** Which member of `target_union` is set, by field number: none, version, create, mod, value, lease. */
type CompareUnion = 0 | 4 | 5 | 6 | 7 | 8;

/** One guard of a transaction. `union` and `target` may disagree: etcd then compares with zero. */
export interface Compare {
  /** EQUAL 0, GREATER 1, LESS 2, NOT_EQUAL 3. */
  result: number;
  /** VERSION 0, CREATE 1, MOD 2, VALUE 3, LEASE 4. */
  target: number;
  key: Uint8Array;
  rangeEnd: Uint8Array;
  union: CompareUnion;
  /** The version, create or mod revision if `union` is 4, 5 or 6, else 0. */
  operand: number;
  /** The lease if `union` is 8, else 0n. */
  lease: bigint;
  /** The value if `union` is 7, else empty. */
  value: Uint8Array;
}

/** One operation of a transaction; `none` if the sender set none. */
export type RequestOp =
  | { kind: 'range'; range: RangeRequest }
  | { kind: 'put'; put: PutRequest }
  | { kind: 'delete'; delete: DeleteRangeRequest }
  | { kind: 'txn'; txn: TxnRequest }
  | { kind: 'none' };

/** KV.Txn. */
export interface TxnRequest {
  compare: Compare[];
  success: RequestOp[];
  failure: RequestOp[];
}

/** KV.Compact. */
export interface CompactionRequest {
  revision: number;
  physical: boolean;
}

/** Watch.Watch: begin a watch. A filter is NOPUT 0 or NODELETE 1. */
export interface WatchCreateRequest {
  key: Uint8Array;
  rangeEnd: Uint8Array;
  startRevision: number;
  progressNotify: boolean;
  filters: number[];
  prevKv: boolean;
  /** Chosen by the client; 0 lets the server choose. */
  watchId: number;
  fragment: boolean;
}

/** Watch.Watch: one message of the client's stream; `none` if the sender set none. */
export type WatchRequest =
  | { kind: 'create'; create: WatchCreateRequest }
  | { kind: 'cancel'; watchId: number }
  | { kind: 'progress' }
  | { kind: 'none' };

/** Lease.LeaseGrant; TTL in seconds. */
export interface LeaseGrantRequest {
  ttl: number;
  id: bigint;
}

/** Lease.LeaseRevoke and Lease.LeaseKeepAlive. */
export interface LeaseIdRequest {
  id: bigint;
}

/** Lease.LeaseTimeToLive. */
export interface LeaseTimeToLiveRequest {
  id: bigint;
  keys: boolean;
}

/** Decodes a `RangeRequest`. */
export function decodeRangeRequest(bytes: Uint8Array): RangeRequest {
  return readRange(new Reader(bytes), emptyRange());
}

/** Decodes a `PutRequest`. */
export function decodePutRequest(bytes: Uint8Array): PutRequest {
  return readPut(new Reader(bytes), emptyPut());
}

/** Decodes a `DeleteRangeRequest`. */
export function decodeDeleteRangeRequest(bytes: Uint8Array): DeleteRangeRequest {
  return readDelete(new Reader(bytes), emptyDelete());
}

/** Decodes a `TxnRequest`; refuses more than `TXN_DEPTH_MAX` transactions within one another. */
export function decodeTxnRequest(bytes: Uint8Array): TxnRequest {
  return readTxn(new Reader(bytes), emptyTxn(), 1);
}

function emptyRange(): RangeRequest {
  return {
    key: EMPTY_BYTES,
    rangeEnd: EMPTY_BYTES,
    limit: 0,
    revision: 0,
    sortOrder: 0,
    sortTarget: 0,
    serializable: false,
    keysOnly: false,
    countOnly: false,
    minModRevision: 0,
    maxModRevision: 0,
    minCreateRevision: 0,
    maxCreateRevision: 0,
  };
}

function emptyPut(): PutRequest {
  return {
    key: EMPTY_BYTES,
    value: EMPTY_BYTES,
    lease: 0n,
    prevKv: false,
    ignoreValue: false,
    ignoreLease: false,
  };
}

function emptyDelete(): DeleteRangeRequest {
  return { key: EMPTY_BYTES, rangeEnd: EMPTY_BYTES, prevKv: false };
}

function emptyTxn(): TxnRequest {
  return { compare: [], success: [], failure: [] };
}

function readRange(reader: Reader, out: RangeRequest): RangeRequest {
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 10) out.key = reader.bytes();
    else if (tag === 18) out.rangeEnd = reader.bytes();
    else if (tag === 24) out.limit = reader.int64();
    else if (tag === 32) out.revision = reader.int64();
    else if (tag === 40) out.sortOrder = reader.int32();
    else if (tag === 48) out.sortTarget = reader.int32();
    else if (tag === 56) out.serializable = reader.bool();
    else if (tag === 64) out.keysOnly = reader.bool();
    else if (tag === 72) out.countOnly = reader.bool();
    else if (tag === 80) out.minModRevision = reader.int64();
    else if (tag === 88) out.maxModRevision = reader.int64();
    else if (tag === 96) out.minCreateRevision = reader.int64();
    else if (tag === 104) out.maxCreateRevision = reader.int64();
    else reader.skip(tag);
  }
  return out;
}

function readPut(reader: Reader, out: PutRequest): PutRequest {
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 10) out.key = reader.bytes();
    else if (tag === 18) out.value = reader.bytes();
    else if (tag === 24) out.lease = reader.bigint64();
    else if (tag === 32) out.prevKv = reader.bool();
    else if (tag === 40) out.ignoreValue = reader.bool();
    else if (tag === 48) out.ignoreLease = reader.bool();
    else reader.skip(tag);
  }
  return out;
}

function readDelete(reader: Reader, out: DeleteRangeRequest): DeleteRangeRequest {
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 10) out.key = reader.bytes();
    else if (tag === 18) out.rangeEnd = reader.bytes();
    else if (tag === 24) out.prevKv = reader.bool();
    else reader.skip(tag);
  }
  return out;
}

function readTxn(reader: Reader, out: TxnRequest, depth: number): TxnRequest {
  if (depth > TXN_DEPTH_MAX) throw new MalformedMessageError('transactions nested too deeply');
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 10) out.compare.push(readCompare(reader));
    else if (tag === 18) out.success.push(readRequestOp(reader, depth));
    else if (tag === 26) out.failure.push(readRequestOp(reader, depth));
    else reader.skip(tag);
  }
  return out;
}

function readRequestOp(reader: Reader, depth: number): RequestOp {
  const outer = reader.enter();
  let op: RequestOp = { kind: 'none' };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 10 || tag === 18 || tag === 26 || tag === 34) op = readOperation(reader, tag, op, depth);
    else reader.skip(tag);
  }
  reader.leave(outer);
  return op;
}

/** Reads a member of the `request` union; one that is already set is merged into. */
function readOperation(reader: Reader, tag: 10 | 18 | 26 | 34, seen: RequestOp, depth: number): RequestOp {
  const outer = reader.enter();
  let op: RequestOp;
  if (tag === 10) {
    op = { kind: 'range', range: readRange(reader, seen.kind === 'range' ? seen.range : emptyRange()) };
  } else if (tag === 18) {
    op = { kind: 'put', put: readPut(reader, seen.kind === 'put' ? seen.put : emptyPut()) };
  } else if (tag === 26) {
    op = { kind: 'delete', delete: readDelete(reader, seen.kind === 'delete' ? seen.delete : emptyDelete()) };
  } else {
    op = { kind: 'txn', txn: readTxn(reader, seen.kind === 'txn' ? seen.txn : emptyTxn(), depth + 1) };
  }
  reader.leave(outer);
  return op;
}

function readCompare(reader: Reader): Compare {
  const outer = reader.enter();
  const out: Compare = {
    result: 0,
    target: 0,
    key: EMPTY_BYTES,
    rangeEnd: EMPTY_BYTES,
    union: 0,
    operand: 0,
    lease: 0n,
    value: EMPTY_BYTES,
  };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 8) out.result = reader.int32();
    else if (tag === 16) out.target = reader.int32();
    else if (tag === 26) out.key = reader.bytes();
    else if (tag === 32) setUnion(out, 4, reader.int64(), 0n, EMPTY_BYTES);
    else if (tag === 40) setUnion(out, 5, reader.int64(), 0n, EMPTY_BYTES);
    else if (tag === 48) setUnion(out, 6, reader.int64(), 0n, EMPTY_BYTES);
    else if (tag === 58) setUnion(out, 7, 0, 0n, reader.bytes());
    else if (tag === 64) setUnion(out, 8, 0, reader.bigint64(), EMPTY_BYTES);
    else if (tag === 514) out.rangeEnd = reader.bytes();
    else reader.skip(tag);
  }
  reader.leave(outer);
  return out;
}

function setUnion(
  out: Compare,
  union: CompareUnion,
  operand: number,
  lease: bigint,
  value: Uint8Array,
): void {
  out.union = union;
  out.operand = operand;
  out.lease = lease;
  out.value = value;
}

/**
 * Whether a `TxnRequest` holds neither a put nor a delete in either branch, nested transactions included.
 * It looks at tags alone, so it may answer for bytes that `decodeTxnRequest` would refuse; it throws
 * `MalformedMessageError` if it can't find its way through them.
 */
export function isReadOnlyTxn(bytes: Uint8Array): boolean {
  return scanTxn(new Reader(bytes), 1);
}

function scanTxn(reader: Reader, depth: number): boolean {
  if (depth > TXN_DEPTH_MAX) throw new MalformedMessageError('transactions nested too deeply');
  while (reader.more()) {
    const tag = reader.tag();
    if (tag !== 18 && tag !== 26) reader.skip(tag);
    else if (!scanRequestOp(reader, depth)) return false;
  }
  return true;
}

function scanRequestOp(reader: Reader, depth: number): boolean {
  const outer = reader.enter();
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 18 || tag === 26) return false;
    if (tag !== 34) {
      reader.skip(tag);
      continue;
    }
    const end = reader.enter();
    if (!scanTxn(reader, depth + 1)) return false;
    reader.leave(end);
  }
  reader.leave(outer);
  return true;
}

/** Decodes a `CompactionRequest`. */
export function decodeCompactionRequest(bytes: Uint8Array): CompactionRequest {
  const reader = new Reader(bytes);
  const out: CompactionRequest = { revision: 0, physical: false };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 8) out.revision = reader.int64();
    else if (tag === 16) out.physical = reader.bool();
    else reader.skip(tag);
  }
  return out;
}

/**
 * Decodes a `WatchRequest`. A watch id beyond ±(2^53 − 1) is refused: it is echoed in every response, so a
 * clamped one would be another watch's.
 */
export function decodeWatchRequest(bytes: Uint8Array): WatchRequest {
  const reader = new Reader(bytes);
  let request: WatchRequest = { kind: 'none' };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 10 || tag === 18 || tag === 26) request = readWatchUnion(reader, tag, request);
    else reader.skip(tag);
  }
  return request;
}

function readWatchUnion(reader: Reader, tag: 10 | 18 | 26, seen: WatchRequest): WatchRequest {
  const outer = reader.enter();
  let request: WatchRequest;
  if (tag === 10) {
    const create = seen.kind === 'create' ? seen.create : emptyWatchCreate();
    request = { kind: 'create', create: readWatchCreate(reader, create) };
  } else if (tag === 18) {
    request = { kind: 'cancel', watchId: readWatchCancel(reader, seen.kind === 'cancel' ? seen.watchId : 0) };
  } else {
    request = { kind: 'progress' };
    while (reader.more()) reader.skip(reader.tag());
  }
  reader.leave(outer);
  return request;
}

function emptyWatchCreate(): WatchCreateRequest {
  return {
    key: EMPTY_BYTES,
    rangeEnd: EMPTY_BYTES,
    startRevision: 0,
    progressNotify: false,
    filters: [],
    prevKv: false,
    watchId: 0,
    fragment: false,
  };
}

function readWatchCreate(reader: Reader, out: WatchCreateRequest): WatchCreateRequest {
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 10) out.key = reader.bytes();
    else if (tag === 18) out.rangeEnd = reader.bytes();
    else if (tag === 24) out.startRevision = reader.int64();
    else if (tag === 32) out.progressNotify = reader.bool();
    else if (tag === 40) out.filters.push(reader.int32());
    else if (tag === 42) readPackedFilters(reader, out.filters);
    else if (tag === 48) out.prevKv = reader.bool();
    else if (tag === 56) out.watchId = readWatchId(reader);
    else if (tag === 64) out.fragment = reader.bool();
    else reader.skip(tag);
  }
  return out;
}

function readPackedFilters(reader: Reader, filters: number[]): void {
  const outer = reader.enter();
  while (reader.more()) filters.push(reader.int32());
  reader.leave(outer);
}

function readWatchCancel(reader: Reader, seen: number): number {
  let watchId = seen;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 8) watchId = readWatchId(reader);
    else reader.skip(tag);
  }
  return watchId;
}

function readWatchId(reader: Reader): number {
  const exact = reader.bigint64();
  const watchId = Number(exact);
  if (!Number.isSafeInteger(watchId)) throw new MalformedMessageError(`watch id ${exact}`);
  return watchId;
}

/** Decodes a `LeaseGrantRequest`. */
export function decodeLeaseGrantRequest(bytes: Uint8Array): LeaseGrantRequest {
  const reader = new Reader(bytes);
  const out: LeaseGrantRequest = { ttl: 0, id: 0n };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 8) out.ttl = reader.int64();
    else if (tag === 16) out.id = reader.bigint64();
    else reader.skip(tag);
  }
  return out;
}

/** Decodes a `LeaseRevokeRequest`. */
export function decodeLeaseRevokeRequest(bytes: Uint8Array): LeaseIdRequest {
  return { id: decodeLeaseTimeToLiveRequest(bytes).id };
}

/** Decodes a `LeaseKeepAliveRequest`. */
export function decodeLeaseKeepAliveRequest(bytes: Uint8Array): LeaseIdRequest {
  return { id: decodeLeaseTimeToLiveRequest(bytes).id };
}

/** Decodes a `LeaseTimeToLiveRequest`. */
export function decodeLeaseTimeToLiveRequest(bytes: Uint8Array): LeaseTimeToLiveRequest {
  const reader = new Reader(bytes);
  const out: LeaseTimeToLiveRequest = { id: 0n, keys: false };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 8) out.id = reader.bigint64();
    else if (tag === 16) out.keys = reader.bool();
    else reader.skip(tag);
  }
  return out;
}
