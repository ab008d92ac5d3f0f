import { BinaryReader } from '@bufbuild/protobuf/wire';

/**
 * The few etcd messages that the load generator sends and reads, with etcd's field numbers
 * (etcd 3.7 api/etcdserverpb/rpc.proto and api/mvccpb/kv.proto). Written backwards, so that the
 * length of a nested message is known when it is needed and every byte is copied once.
 */

/** Methods as they stand in `:path`. */
export const method = {
  range: '/etcdserverpb.KV/Range',
  txn: '/etcdserverpb.KV/Txn',
  watch: '/etcdserverpb.Watch/Watch',
} as const;

/** What a transaction answered. */
export interface TxnAnswer {
  readonly revision: number;
  readonly succeeded: boolean;
}

export interface KeyValue {
  readonly key: Uint8Array;
  readonly modRevision: number;
  readonly value: Uint8Array;
}

export interface RangeAnswer {
  readonly revision: number;
  readonly keyValues: readonly KeyValue[];
  readonly more: boolean;
  readonly count: number;
}

const lengthDelimited = 2;
const scratch = Buffer.allocUnsafe(16_384);

/** Fills `scratch` from its end. One message at a time: `take` copies it out and starts anew. */
class BackwardWriter {
  private at = scratch.length;

  /** Bytes written so far; the mark that `wrap` measures from. */
  mark(): number {
    return this.at;
  }

  bytes(field: number, value: Uint8Array): void {
    this.at -= value.length;
    scratch.set(value, this.at);
    this.lead(field, lengthDelimited, value.length);
  }

  number(field: number, value: number): void {
    this.varint(value);
    this.varint(field << 3);
  }

  /** Makes what was written since `mark` the value of `field`. */
  wrap(field: number, mark: number): void {
    this.lead(field, lengthDelimited, mark - this.at);
  }

  take(): Uint8Array {
    const message = Buffer.from(scratch.subarray(this.at));
    this.at = scratch.length;
    return message;
  }

  private lead(field: number, wireType: number, length: number): void {
    this.varint(length);
    this.varint((field << 3) | wireType);
  }

  private varint(value: number): void {
    let length = 1;
    for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) length++;
    this.at -= length;
    let rest = value;
    for (let index = 0; index < length; index++) {
      scratch[this.at + index] = (rest % 128) | (index < length - 1 ? 128 : 0);
      rest = Math.floor(rest / 128);
    }
  }
}

const writer = new BackwardWriter();

/**
 * kube-apiserver's write: if the key's mod revision is `expected` (0: it does not exist) put
 * `value`; else, when `readElse`, range the key.
 */
export function putIfModRevision(
  key: Uint8Array,
  expected: number,
  value: Uint8Array,
  readElse: boolean,
): Uint8Array {
  const end = writer.mark();
  if (readElse) {
    writer.bytes(1, key); // RangeRequest.key
    writer.wrap(1, end); // RequestOp.request_range
    writer.wrap(3, end); // TxnRequest.failure
  }
  const success = writer.mark();
  writer.bytes(2, value); // PutRequest.value
  writer.bytes(1, key); // PutRequest.key
  writer.wrap(2, success); // RequestOp.request_put
  writer.wrap(2, success); // TxnRequest.success
  const compare = writer.mark();
  writer.number(6, expected); // Compare.mod_revision
  writer.bytes(3, key); // Compare.key
  writer.number(2, 2); // Compare.target MOD; Compare.result EQUAL is 0 and left out
  writer.wrap(1, compare); // TxnRequest.compare
  return writer.take();
}

/** A linearizable Range of one key, or of [key, rangeEnd) with at most `limit` keys. */
export function range(key: Uint8Array, rangeEnd?: Uint8Array, limit = 0, countOnly = false): Uint8Array {
  if (countOnly) writer.number(9, 1);
  if (limit > 0) writer.number(3, limit);
  if (rangeEnd) writer.bytes(2, rangeEnd);
  writer.bytes(1, key);
  return writer.take();
}

/** Asks for the events of [key, rangeEnd) from `startRevision` on. */
export function watchCreate(key: Uint8Array, rangeEnd: Uint8Array, startRevision: number): Uint8Array {
  const end = writer.mark();
  writer.number(3, startRevision);
  writer.bytes(2, rangeEnd);
  writer.bytes(1, key);
  writer.wrap(1, end); // WatchRequest.create_request
  return writer.take();
}

export interface WatchAnswer {
  readonly watchId: number;
  readonly created: boolean;
  readonly canceled: boolean;
  /** The mod revision of each event, in the order of the answer. */
  readonly modRevisions: readonly number[];
}

export function readWatchAnswer(message: Uint8Array): WatchAnswer {
  const reader = new BinaryReader(message);
  const modRevisions: number[] = [];
  let [watchId, created, canceled] = [0, false, false];
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 2) watchId = Number(reader.int64());
    else if (field === 3) created = reader.bool();
    else if (field === 4) canceled = reader.bool();
    else if (field === 11) modRevisions.push(eventRevision(reader.bytes()));
    else reader.skip(wireType, field);
  }
  return { watchId, created, canceled, modRevisions };
}

function eventRevision(event: Uint8Array): number {
  const reader = new BinaryReader(event);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 2) return keyValueRevision(reader.bytes());
    reader.skip(wireType, field);
  }
  return 0;
}

function keyValueRevision(keyValue: Uint8Array): number {
  const reader = new BinaryReader(keyValue);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 3) return Number(reader.int64());
    reader.skip(wireType, field);
  }
  return 0;
}

/** As much of a long Range answer as can be had without looking into each KeyValue. */
export interface RangeOutline {
  readonly keyValues: number;
  readonly count: number;
  readonly more: boolean;
}

export function outlineRangeAnswer(message: Uint8Array): RangeOutline {
  const reader = new BinaryReader(message);
  let [keyValues, more, count] = [0, false, 0];
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 3) more = reader.bool();
    else if (field === 4) count = Number(reader.int64());
    else {
      if (field === 2) keyValues++;
      reader.skip(wireType, field);
    }
  }
  return { keyValues, count, more };
}

export function readTxnAnswer(message: Uint8Array): TxnAnswer {
  const reader = new BinaryReader(message);
  let revision = 0;
  let succeeded = false;
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1) revision = headerRevision(reader.bytes());
    else if (field === 2) succeeded = reader.bool();
    else reader.skip(wireType, field);
  }
  return { revision, succeeded };
}

export function readRangeAnswer(message: Uint8Array): RangeAnswer {
  const reader = new BinaryReader(message);
  const keyValues: KeyValue[] = [];
  let [revision, more, count] = [0, false, 0];
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1) revision = headerRevision(reader.bytes());
    else if (field === 2) keyValues.push(readKeyValue(reader.bytes()));
    else if (field === 3) more = reader.bool();
    else if (field === 4) count = Number(reader.int64());
    else reader.skip(wireType, field);
  }
  return { revision, keyValues, more, count };
}

function headerRevision(message: Uint8Array): number {
  const reader = new BinaryReader(message);
  let revision = 0;
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 3) revision = Number(reader.int64());
    else reader.skip(wireType, field);
  }
  return revision;
}

function readKeyValue(message: Uint8Array): KeyValue {
  const reader = new BinaryReader(message);
  let key: Uint8Array = new Uint8Array(0);
  let value = key;
  let modRevision = 0;
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1) key = reader.bytes();
    else if (field === 3) modRevision = Number(reader.int64());
    else if (field === 5) value = reader.bytes();
    else reader.skip(wireType, field);
  }
  return { key, value, modRevision };
}
