import { bigint64Size, delimitedSize, EMPTY_BYTES, int64Size, Reader, Writer } from './wire.ts';

/**
 * etcd's hot responses, encoded by hand to the bytes that Go gives: fields ascending, defaults omitted.
 * Messages within a response (headers, KeyValues, events, inner responses) are passed as encoded bytes,
 * so that what SQLite or the log already holds is copied and not made anew. Every result is an ArrayBuffer
 * of its own, of exactly its length. Fields and numbers: etcd 3.7's rpc.proto and kv.proto.
 *
 * Headers. A response's own header has all four fields. A response inside a transaction has a header with
 * the revision alone (`encodeHeader({ revision })`): a range or put gives the transaction's revision, and
 * so does a delete; before the first change of the transaction they give the revision before it. A
 * transaction inside a transaction has an empty header, which is present (`EMPTY_BYTES`). All chunks of a
 * RangeStream but the last have none (`undefined`). Source: etcd 3.7's server/etcdserver/txn.
 */

const BYTES_PER_TAG = 1;
const BYTES_PER_FLAG = 2;

/** mvccpb.KeyValue. */
export interface KeyValue {
  key: Uint8Array;
  createRevision: number;
  modRevision: number;
  version: number;
  value: Uint8Array;
  lease: bigint;
}

/** etcdserverpb.ResponseHeader. Cluster and member ids are uint64. */
export interface ResponseHeaderFields {
  clusterId: bigint;
  memberId: bigint;
  revision: number;
  raftTerm: number;
}

/** An inner response that is already encoded; `none` answers an operation that the sender left empty. */
export interface ResponseOp {
  kind: 'range' | 'put' | 'delete' | 'txn' | 'none';
  bytes: Uint8Array;
}

function int64FieldSize(value: number): number {
  return value === 0 ? 0 : BYTES_PER_TAG + int64Size(value);
}

function bigint64FieldSize(value: bigint): number {
  return value === 0n ? 0 : BYTES_PER_TAG + bigint64Size(value);
}

function bytesFieldSize(bytes: Uint8Array): number {
  return bytes.length === 0 ? 0 : messageSize(bytes);
}

function flagSize(flag: boolean): number {
  return flag ? BYTES_PER_FLAG : 0;
}

/** A message is written even if it is empty; only an absent one is not. */
function messageSize(bytes: Uint8Array | undefined): number {
  return bytes === undefined ? 0 : BYTES_PER_TAG + delimitedSize(bytes.length);
}

function messagesSize(messages: readonly Uint8Array[]): number {
  let size = 0;
  for (const bytes of messages) size += messageSize(bytes);
  return size;
}

function int64Field(writer: Writer, tag: number, value: number): void {
  if (value === 0) return;
  writer.varint(tag);
  writer.int64(value);
}

function bigint64Field(writer: Writer, tag: number, value: bigint): void {
  if (value === 0n) return;
  writer.varint(tag);
  writer.bigint64(value);
}

function bytesField(writer: Writer, tag: number, bytes: Uint8Array): void {
  if (bytes.length > 0) messageField(writer, tag, bytes);
}

function flagField(writer: Writer, tag: number, flag: boolean): void {
  if (!flag) return;
  writer.varint(tag);
  writer.varint(1);
}

function messageField(writer: Writer, tag: number, bytes: Uint8Array | undefined): void {
  if (bytes === undefined) return;
  writer.varint(tag);
  writer.delimited(bytes);
}

function messagesField(writer: Writer, tag: number, messages: readonly Uint8Array[]): void {
  for (const bytes of messages) messageField(writer, tag, bytes);
}

/** The size of `encodeKeyValue`'s output. */
export function keyValueSize(kv: KeyValue): number {
  return (
    bytesFieldSize(kv.key) +
    int64FieldSize(kv.createRevision) +
    int64FieldSize(kv.modRevision) +
    int64FieldSize(kv.version) +
    bytesFieldSize(kv.value) +
    bigint64FieldSize(kv.lease)
  );
}

/** Appends a KeyValue without a length before it. */
function encodeKeyValue(writer: Writer, kv: KeyValue): void {
  bytesField(writer, 10, kv.key);
  int64Field(writer, 16, kv.createRevision);
  int64Field(writer, 24, kv.modRevision);
  int64Field(writer, 32, kv.version);
  bytesField(writer, 42, kv.value);
  bigint64Field(writer, 48, kv.lease);
}

/** A KeyValue in bytes of its own. */
export function keyValueBytes(kv: KeyValue): Uint8Array<ArrayBuffer> {
  const writer = new Writer(keyValueSize(kv));
  encodeKeyValue(writer, kv);
  return writer.finish();
}

/** Decodes a KeyValue; key and value are views of `bytes`. Throws `MalformedMessageError`. */
export function decodeKeyValue(bytes: Uint8Array): KeyValue {
  const reader = new Reader(bytes);
  const out: KeyValue = {
    key: EMPTY_BYTES,
    createRevision: 0,
    modRevision: 0,
    version: 0,
    value: EMPTY_BYTES,
    lease: 0n,
  };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 10) out.key = reader.bytes();
    else if (tag === 16) out.createRevision = reader.int64();
    else if (tag === 24) out.modRevision = reader.int64();
    else if (tag === 32) out.version = reader.int64();
    else if (tag === 42) out.value = reader.bytes();
    else if (tag === 48) out.lease = reader.bigint64();
    else reader.skip(tag);
  }
  return out;
}

/**
 * The KeyValue without its value, as a keys-only range gives it. `bytes` are as `encodeKeyValue` makes
 * them, with one value at most; they are given back themselves if they have none.
 */
export function stripValue(bytes: Uint8Array): Uint8Array {
  const reader = new Reader(bytes);
  while (reader.more()) {
    const start = reader.position;
    const tag = reader.tag();
    reader.skip(tag);
    if (tag !== 42) continue;
    const end = reader.position;
    const out = new Uint8Array(bytes.length - (end - start));
    out.set(bytes.subarray(0, start));
    out.set(bytes.subarray(end), start);
    return out;
  }
  return bytes;
}

/** How many bytes `writeEvent` writes: up to `prev_kv`, and in all. */
export function eventSizes(
  deleted: boolean,
  kv: Uint8Array,
  prevKv: Uint8Array | undefined,
): { plain: number; whole: number } {
  const plain = flagSize(deleted) + messageSize(kv);
  return { plain, whole: plain + messageSize(prevKv) };
}

/**
 * Appends an mvccpb.Event from encoded KeyValues: type (DELETE if `deleted`), kv, prev_kv. `prev_kv` comes last,
 * so that the first bytes are the event for a watcher that did not ask for it.
 */
export function writeEvent(
  writer: Writer,
  deleted: boolean,
  kv: Uint8Array,
  prevKv: Uint8Array | undefined,
): void {
  flagField(writer, 8, deleted);
  messageField(writer, 18, kv);
  messageField(writer, 26, prevKv);
}

/** A ResponseHeader; fields that are left out are zero, as in the headers within a transaction. */
export function encodeHeader(header: Partial<ResponseHeaderFields>): Uint8Array<ArrayBuffer> {
  return new HeaderEncoder(header.clusterId ?? 0n, header.memberId ?? 0n).encode(
    header.revision ?? 0,
    header.raftTerm ?? 0,
  );
}

/** Encodes the headers of one member, whose two ids never change. */
export class HeaderEncoder {
  readonly #ids: Uint8Array;

  constructor(clusterId: bigint, memberId: bigint) {
    const writer = new Writer(bigint64FieldSize(clusterId) + bigint64FieldSize(memberId));
    bigint64Field(writer, 8, clusterId);
    bigint64Field(writer, 16, memberId);
    this.#ids = writer.finish();
  }

  /** A ResponseHeader at `revision` and `raftTerm`. */
  encode(revision: number, raftTerm: number): Uint8Array<ArrayBuffer> {
    const writer = new Writer(this.#ids.length + int64FieldSize(revision) + int64FieldSize(raftTerm));
    writer.raw(this.#ids);
    int64Field(writer, 24, revision);
    int64Field(writer, 32, raftTerm);
    return writer.finish();
  }
}

/** A RangeResponse from encoded KeyValues (through `stripValue` first, if keys only). */
export function encodeRangeResponse(
  header: Uint8Array | undefined,
  kvs: readonly Uint8Array[],
  more: boolean,
  count: number,
): Uint8Array<ArrayBuffer> {
  const writer = new Writer(rangeResponseSize(header, kvs, more, count));
  writeRangeResponse(writer, header, kvs, more, count);
  return writer.finish();
}

/** A RangeStreamResponse; header, more and count belong to the stream's last one alone. */
export function encodeRangeStreamResponse(
  header: Uint8Array | undefined,
  kvs: readonly Uint8Array[],
  more: boolean,
  count: number,
): Uint8Array<ArrayBuffer> {
  const size = rangeResponseSize(header, kvs, more, count);
  const writer = new Writer(BYTES_PER_TAG + delimitedSize(size));
  writer.varint(10);
  writer.varint(size);
  writeRangeResponse(writer, header, kvs, more, count);
  return writer.finish();
}

function rangeResponseSize(
  header: Uint8Array | undefined,
  kvs: readonly Uint8Array[],
  more: boolean,
  count: number,
): number {
  return messageSize(header) + messagesSize(kvs) + flagSize(more) + int64FieldSize(count);
}

function writeRangeResponse(
  writer: Writer,
  header: Uint8Array | undefined,
  kvs: readonly Uint8Array[],
  more: boolean,
  count: number,
): void {
  messageField(writer, 10, header);
  messagesField(writer, 18, kvs);
  flagField(writer, 24, more);
  int64Field(writer, 32, count);
}

/** A PutResponse. */
export function encodePutResponse(header: Uint8Array, prevKv?: Uint8Array): Uint8Array<ArrayBuffer> {
  const writer = new Writer(messageSize(header) + messageSize(prevKv));
  messageField(writer, 10, header);
  messageField(writer, 18, prevKv);
  return writer.finish();
}

/** A DeleteRangeResponse. */
export function encodeDeleteRangeResponse(
  header: Uint8Array,
  deleted: number,
  prevKvs: readonly Uint8Array[],
): Uint8Array<ArrayBuffer> {
  const writer = new Writer(messageSize(header) + int64FieldSize(deleted) + messagesSize(prevKvs));
  messageField(writer, 10, header);
  int64Field(writer, 16, deleted);
  messagesField(writer, 26, prevKvs);
  return writer.finish();
}

const RESPONSE_OP_TAGS = { range: 10, put: 18, delete: 26, txn: 34 } as const;

function responseOpSize(op: ResponseOp): number {
  return op.kind === 'none' ? 0 : messageSize(op.bytes);
}

/** A TxnResponse from encoded inner responses. */
export function encodeTxnResponse(
  header: Uint8Array,
  succeeded: boolean,
  responses: readonly ResponseOp[],
): Uint8Array<ArrayBuffer> {
  let size = messageSize(header) + flagSize(succeeded);
  for (const op of responses) size += BYTES_PER_TAG + delimitedSize(responseOpSize(op));
  const writer = new Writer(size);
  messageField(writer, 10, header);
  flagField(writer, 16, succeeded);
  for (const op of responses) {
    writer.varint(26);
    writer.varint(responseOpSize(op));
    if (op.kind !== 'none') messageField(writer, RESPONSE_OP_TAGS[op.kind], op.bytes);
  }
  return writer.finish();
}

/** A response that holds a header and nothing else: CompactionResponse, LeaseRevokeResponse and others. */
export function encodeHeaderOnlyResponse(header: Uint8Array): Uint8Array<ArrayBuffer> {
  return encodePutResponse(header);
}

/** What a WatchResponse says besides its header; the events are encoded. */
export interface WatchResponseFields {
  watchId: number;
  created?: boolean;
  canceled?: boolean;
  compactRevision?: number;
  cancelReason?: string;
  fragment?: boolean;
  events?: readonly Uint8Array[];
}

/** A WatchResponse. */
export function encodeWatchResponse(
  header: Uint8Array,
  fields: WatchResponseFields,
): Uint8Array<ArrayBuffer> {
  const { watchId, created = false, canceled = false, compactRevision = 0, fragment = false } = fields;
  const reason = utf8(fields.cancelReason);
  const events = fields.events ?? [];
  const flags = flagSize(created) + flagSize(canceled) + flagSize(fragment);
  const numbers = int64FieldSize(watchId) + int64FieldSize(compactRevision);
  const writer = new Writer(
    messageSize(header) + flags + numbers + bytesFieldSize(reason) + messagesSize(events),
  );
  messageField(writer, 10, header);
  int64Field(writer, 16, watchId);
  flagField(writer, 24, created);
  flagField(writer, 32, canceled);
  int64Field(writer, 40, compactRevision);
  bytesField(writer, 50, reason);
  flagField(writer, 56, fragment);
  messagesField(writer, 90, events);
  return writer.finish();
}

const textEncoder = new TextEncoder();

function utf8(text: string | undefined): Uint8Array {
  return text ? textEncoder.encode(text) : EMPTY_BYTES;
}

/** A LeaseGrantResponse; TTL in seconds. */
export function encodeLeaseGrantResponse(
  header: Uint8Array,
  id: bigint,
  ttl: number,
): Uint8Array<ArrayBuffer> {
  return encodeLeaseKeepAliveResponse(header, id, ttl);
}

/** A LeaseKeepAliveResponse; TTL in seconds, 0 if the lease is gone. */
export function encodeLeaseKeepAliveResponse(
  header: Uint8Array,
  id: bigint,
  ttl: number,
): Uint8Array<ArrayBuffer> {
  return encodeLeaseTimeToLiveResponse(header, { id, ttl, grantedTtl: 0, keys: [] });
}

/** What a LeaseTimeToLiveResponse says besides its header; TTLs in seconds, −1 if the lease is gone. */
export interface LeaseTimeToLiveFields {
  id: bigint;
  ttl: number;
  grantedTtl: number;
  keys: readonly Uint8Array[];
}

/** A LeaseTimeToLiveResponse. */
export function encodeLeaseTimeToLiveResponse(
  header: Uint8Array,
  fields: LeaseTimeToLiveFields,
): Uint8Array<ArrayBuffer> {
  const { id, ttl, grantedTtl, keys } = fields;
  const numbers = bigint64FieldSize(id) + int64FieldSize(ttl) + int64FieldSize(grantedTtl);
  const writer = new Writer(messageSize(header) + numbers + messagesSize(keys));
  messageField(writer, 10, header);
  bigint64Field(writer, 16, id);
  int64Field(writer, 24, ttl);
  int64Field(writer, 32, grantedTtl);
  messagesField(writer, 42, keys);
  return writer.finish();
}

/** A LeaseLeasesResponse. */
export function encodeLeaseLeasesResponse(
  header: Uint8Array,
  ids: readonly bigint[],
): Uint8Array<ArrayBuffer> {
  const writer = new Writer(messageSize(header) + ids.length * 12);
  messageField(writer, 10, header);
  for (const id of ids) {
    writer.varint(18);
    writer.varint(bigint64FieldSize(id));
    bigint64Field(writer, 8, id);
  }
  return writer.finish();
}
