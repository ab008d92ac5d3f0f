import { int64Size, MalformedMessageError, type Reader, type Writer } from '../etcd/wire.ts';
import { Fault } from './corrupt.ts';

/**
 * Protocol Buffers fields as `.netsy` files have them: written in ascending order and left out at their
 * default, so that every implementation marshals the same message to the same bytes and CRCs.
 */

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;

const varintTag = (field: number): number => field * 8 + VARINT;
const fixed64Tag = (field: number): number => field * 8 + FIXED64;
const bytesTag = (field: number): number => field * 8 + BYTES;

/** Tags: field number × 8 + wire type. Numbers below 100 are Netsy's. */
export const HeaderTag = {
  crc: varintTag(1),
  schemaVersion: varintTag(2),
  kind: varintTag(3),
  compression: varintTag(4),
  recordsCount: varintTag(5),
  leaderId: bytesTag(6),
  createdAt: bytesTag(7),
  sequence: varintTag(100),
  epoch: varintTag(101),
  previousChunkCrc: varintTag(102),
  nonce: fixed64Tag(103),
  snapshot: bytesTag(104),
  pack: bytesTag(105),
} as const;

export const PackFrameTag = {
  first: varintTag(1),
  chunks: varintTag(2),
  nextSequence: varintTag(3),
  bytes: varintTag(4),
  contentBytes: varintTag(5),
  lastCrc: varintTag(6),
} as const;

export const SnapshotStateTag = {
  clusterId: fixed64Tag(1),
  nextSequence: varintTag(2),
  revision: varintTag(3),
  compactRevision: varintTag(4),
  compactedRevision: varintTag(5),
  nextOrdinal: varintTag(6),
} as const;

export const RecordTag = {
  crc: varintTag(1),
  revision: varintTag(2),
  key: bytesTag(3),
  created: varintTag(4),
  deleted: varintTag(5),
  createRevision: varintTag(6),
  prevRevision: varintTag(7),
  version: varintTag(8),
  lease: varintTag(9),
  dek: varintTag(10),
  value: bytesTag(11),
  createdAt: bytesTag(12),
  compactedAt: bytesTag(13),
  sub: varintTag(100),
  operation: varintTag(101),
  leaseTtl: varintTag(102),
  compactRevision: varintTag(103),
  epochClaim: bytesTag(104),
  importEnd: bytesTag(105),
  ordinal: varintTag(106),
  previousOrdinal: varintTag(107),
} as const;

export const ImportEndTag = {
  revision: varintTag(1),
  records: varintTag(2),
  leases: varintTag(3),
} as const;

export const EpochClaimTag = {
  epoch: varintTag(1),
  skipTo: varintTag(2),
  holder: bytesTag(3),
  clusterId: fixed64Tag(4),
} as const;

export const FooterTag = {
  recordsCrc: varintTag(2),
  firstRevision: varintTag(3),
  lastRevision: varintTag(4),
  crc: varintTag(8),
  headerCrc: varintTag(100),
} as const;

const TimestampTag = { seconds: varintTag(1), nanos: varintTag(2) } as const;

const MILLISECONDS = 1000;
const NANOS_PER_MILLISECOND = 1_000_000;
const NANOS_PER_SECOND = 1_000_000_000;
/** google.protobuf.Timestamp: 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z. */
const TIMESTAMP_SECONDS_MIN = -62_135_596_800;
const TIMESTAMP_SECONDS_MAX = 253_402_300_799;

const utf8Encoder = new TextEncoder();
const utf8Decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Writes a safe integer (int64, uint32 or enum). */
export function writeInteger(to: Writer, tag: number, value: number): void {
  if (value === 0) return;
  to.varint(tag);
  to.int64(value);
}

/** Writes an int64 or uint64, exact. */
export function writeBigint(to: Writer, tag: number, value: bigint): void {
  if (value === 0n) return;
  to.varint(tag);
  to.bigint64(value);
}

/** Writes a fixed64, exact. */
export function writeFixed64(to: Writer, tag: number, value: bigint): void {
  if (value === 0n) return;
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  to.varint(tag);
  to.raw(bytes);
}

export function writeBoolean(to: Writer, tag: number, value: boolean): void {
  if (!value) return;
  to.varint(tag);
  to.varint(1);
}

export function writeBytes(to: Writer, tag: number, value: Uint8Array): void {
  if (value.length === 0) return;
  to.varint(tag);
  to.delimited(value);
}

export function writeString(to: Writer, tag: number, value: string): void {
  if (value.length > 0) writeBytes(to, tag, utf8Encoder.encode(value));
}

/** Writes milliseconds since the Unix epoch as a google.protobuf.Timestamp; always present, even if 0. */
export function writeTimestamp(to: Writer, tag: number, milliseconds: number): void {
  const seconds = Math.floor(milliseconds / MILLISECONDS);
  const nanos = Math.floor((milliseconds - seconds * MILLISECONDS) * NANOS_PER_MILLISECOND);
  to.varint(tag);
  to.varint(timestampFieldSize(seconds) + timestampFieldSize(nanos));
  writeInteger(to, TimestampTag.seconds, seconds);
  writeInteger(to, TimestampTag.nanos, nanos);
}

function timestampFieldSize(value: number): number {
  return value === 0 ? 0 : 1 + int64Size(value);
}

/** Reads an int64 that is 0 or more and exact as a number. */
export function readCount(from: Reader, name: string): number {
  const value = from.int64();
  // `int64` clamps at the largest safe integer, so that value itself is past the end too.
  if (value < 0 || value >= Number.MAX_SAFE_INTEGER) {
    throw new Fault(name, 'an integer in [0, 2^53)', `${value} or beyond`);
  }
  return value;
}

/** Reads a compaction's revision: an int64 that is -1 (none) or more. */
export function readCompactRevision(from: Reader, name: string): number {
  const value = from.int64();
  if (value < -1 || value >= Number.MAX_SAFE_INTEGER) {
    throw new Fault(name, 'an integer in [-1, 2^53)', `${value} or beyond`);
  }
  return value;
}

/** Reads a uint64. */
export function readUint64(from: Reader): bigint {
  return BigInt.asUintN(64, from.bigint64());
}

/** Reads the fixed64 after `tag` in `message`, which is what `from` reads. */
export function readFixed64(from: Reader, message: Uint8Array, tag: number): bigint {
  const start = message.byteOffset + from.position;
  from.skip(tag);
  return new DataView(message.buffer, start, 8).getBigUint64(0, true);
}

export function readString(from: Reader, name: string): string {
  const bytes = from.bytes();
  try {
    return utf8Decoder.decode(bytes);
  } catch {
    throw new Fault(name, 'UTF-8', `0x${Buffer.from(bytes).toString('hex', 0, 64)}`);
  }
}

/** Reads a google.protobuf.Timestamp as whole milliseconds since the Unix epoch, rounded down. */
export function readTimestamp(from: Reader): number {
  let seconds = 0;
  let nanos = 0;
  const outer = from.enter();
  while (from.more()) {
    const tag = from.tag();
    if (tag === TimestampTag.seconds) seconds = from.int64();
    else if (tag === TimestampTag.nanos) nanos = from.int32();
    else from.skip(tag);
  }
  from.leave(outer);
  if (seconds < TIMESTAMP_SECONDS_MIN || seconds > TIMESTAMP_SECONDS_MAX) {
    throw new MalformedMessageError(`timestamp of ${seconds} s`);
  }
  if (nanos < 0 || nanos >= NANOS_PER_SECOND) throw new MalformedMessageError(`timestamp of ${nanos} ns`);
  return seconds * MILLISECONDS + Math.floor(nanos / NANOS_PER_MILLISECOND);
}
