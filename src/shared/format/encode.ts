import { assert } from '../base/assert.ts';
import { KEPT_BYTES_MAX, Writer } from '../etcd/wire.ts';
import { RECORD_BYTES_MAX } from '../model/limits.ts';
import { type EpochClaim, type ImportEnd, type LogRecord, Operation } from '../model/record.ts';
import { Crc64 } from './crc64.ts';
import {
  EpochClaimTag,
  FooterTag,
  HeaderTag,
  ImportEndTag,
  PackFrameTag,
  RecordTag,
  SnapshotStateTag,
  writeBigint,
  writeBoolean,
  writeBytes,
  writeFixed64,
  writeInteger,
  writeString,
  writeTimestamp,
} from './fields.ts';
import type { FileFooter, FileHeader, PackFrame, SnapshotState } from './file.ts';

/**
 * Writes `.netsy` files. A message's CRC covers the message without its CRC field, and that field comes
 * first in a record, so each message is made in a scratch buffer, and then copied behind its length and
 * CRC. The CRC over all records is put together from theirs, without a second pass over the bytes.
 */

/** The largest tag and 64-bit varint. */
const CRC_FIELD_BYTES_MAX = 11;
const NOTHING = new Uint8Array(0);

/** The header of a file whose records are all at hand. */
export type NewFileHeader = Omit<FileHeader, 'recordsCount'>;

/** A whole file. All views are into one ArrayBuffer that nobody else refers to; it may be transferred. */
export interface EncodedFile {
  /** The file without compression: `header`, then `body`. */
  bytes: Uint8Array<ArrayBuffer>;
  /** The header message with its length. */
  header: Uint8Array<ArrayBuffer>;
  /** Records and footer, each with its length; not compressed, whatever the header says. */
  body: Uint8Array<ArrayBuffer>;
  /** The footer's: what the next chunk's header names. */
  crc: bigint;
}

/**
 * Encodes a file of `records`. The object to store is `header`, then `body` as `header.compression` says:
 * as it is, or one zstd frame that the caller makes.
 */
export function encodeFile(header: NewFileHeader, records: readonly LogRecord[]): EncodedFile {
  const builder = new FileBuilder();
  for (const record of records) builder.add(record);
  return builder.finish(header);
}

/** Encodes files whose records are at hand before what their headers say, one file after the other. */
export class FileBuilder {
  readonly #head = new Messages();
  readonly #body = new Messages();

  /** Appends one record to the next file. One that no reader would accept is a broken invariant. */
  add(record: LogRecord): void {
    this.#body.record(record);
  }

  /** The file of the records since the last one. */
  finish(header: NewFileHeader): EncodedFile {
    const headerCrc = this.#head.header({ ...header, recordsCount: this.#body.records });
    const { crc } = this.#body.footer(headerCrc);
    const headerLength = this.#head.out.length;
    const bytes = new Uint8Array(headerLength + this.#body.out.length);
    bytes.set(this.#head.out.view());
    bytes.set(this.#body.out.view(), headerLength);
    this.#head.reset();
    this.#body.reset();
    return { bytes, header: bytes.subarray(0, headerLength), body: bytes.subarray(headerLength), crc };
  }
}

/**
 * Encodes a file piece by piece, for those too large to be held at once: `take` after the constructor
 * gives the header, then `take` as often as wanted between calls of `add`, and once more after `end`.
 */
export class FileEncoder {
  readonly #header: FileHeader;
  readonly #headerCrc: bigint;
  readonly #messages = new Messages();
  #ended = false;

  constructor(header: FileHeader) {
    this.#header = header;
    this.#headerCrc = this.#messages.header(header);
  }

  /** Bytes that the next `take` will give. */
  get pendingBytes(): number {
    return this.#messages.out.length;
  }

  /** Appends one record. One that no reader would accept is a broken invariant. */
  add(record: LogRecord): void {
    const isExpected = !this.#ended && this.#messages.records < this.#header.recordsCount;
    assert(isExpected, 'more records than the header says');
    this.#messages.record(record);
  }

  /** Appends the footer. */
  end(): FileFooter {
    const isWhole = !this.#ended && this.#messages.records === this.#header.recordsCount;
    assert(isWhole, 'fewer records than the header says');
    this.#ended = true;
    return this.#messages.footer(this.#headerCrc);
  }

  /**
   * What was encoded since the last `take`. Its ArrayBuffer is its own (it may be transferred), begins with
   * it and is longer.
   */
  take(): Uint8Array<ArrayBuffer> {
    const bytes = this.#messages.out.view();
    this.#messages.out = new Writer();
    return bytes;
  }
}

/** A file's messages, encoded one behind the other. */
class Messages {
  out = new Writer();
  readonly #crc = new Crc64();
  readonly #recordsCrc = new Crc64();
  readonly #scratch = new Writer();
  readonly #crcField = new Uint8Array(CRC_FIELD_BYTES_MAX);
  #records = 0;
  #firstRevision = Number.POSITIVE_INFINITY;
  #lastRevision = 0;

  /** Records so far. */
  get records(): number {
    return this.#records;
  }

  /** Appends a header; answers its CRC. */
  header(header: FileHeader): bigint {
    writeHeader(this.#scratch, header);
    this.#seal(HeaderTag.crc, NOTHING, this.#scratch.view());
    return this.#crc.digest();
  }

  record(record: LogRecord): void {
    const revisionMin = record.operation === Operation.KeyValue ? 1 : 0;
    assert(
      Number.isSafeInteger(record.revision) && record.revision >= revisionMin,
      'a record without revision',
    );
    assert(record.operation !== Operation.Epoch || record.epoch !== undefined, 'an epoch without a claim');
    writeRecord(this.#scratch, record);
    const length = this.#scratch.length;
    assert(length + CRC_FIELD_BYTES_MAX <= RECORD_BYTES_MAX, 'a record larger than readers accept');
    this.#seal(RecordTag.crc, NOTHING, this.#scratch.view());
    this.#recordsCrc.append(this.#crc, length);
    this.#records++;
    if (record.revision === 0) return;
    this.#firstRevision = Math.min(this.#firstRevision, record.revision);
    this.#lastRevision = Math.max(this.#lastRevision, record.revision);
  }

  /** Appends the footer of the records so far, in a file whose header has this CRC. */
  footer(headerCrc: bigint): FileFooter {
    const recordsCrc = this.#recordsCrc.digest();
    const firstRevision = this.#lastRevision === 0 ? 0 : this.#firstRevision;
    const lastRevision = this.#lastRevision;
    writeBigint(this.#scratch, FooterTag.recordsCrc, recordsCrc);
    writeInteger(this.#scratch, FooterTag.firstRevision, firstRevision);
    writeInteger(this.#scratch, FooterTag.lastRevision, lastRevision);
    const afterCrc = new Writer();
    writeBigint(afterCrc, FooterTag.headerCrc, headerCrc);
    this.#seal(FooterTag.crc, this.#scratch.view(), afterCrc.view());
    return { recordsCrc, firstRevision, lastRevision, crc: this.#crc.digest(), headerCrc };
  }

  /** For the next file. */
  reset(): void {
    if (this.out.length > KEPT_BYTES_MAX) this.out = new Writer();
    this.out.reset();
    this.#recordsCrc.reset();
    this.#records = 0;
    this.#firstRevision = Number.POSITIVE_INFINITY;
    this.#lastRevision = 0;
  }

  /** Appends a message with its length, and leaves its CRC in `#crc`. Its CRC field goes between the two. */
  #seal(crcTag: number, before: Uint8Array, after: Uint8Array): void {
    this.#crc.reset();
    if (before.length > 0) this.#crc.update(before);
    if (after.length > 0) this.#crc.update(after);
    const field = this.#crcField.subarray(0, fillCrcField(this.#crcField, crcTag, this.#crc));
    this.out.varint(before.length + field.length + after.length);
    this.out.raw(before);
    this.out.raw(field);
    this.out.raw(after);
    this.#scratch.reset();
  }
}

/** Puts `crc` as a varint field into `bytes`, from halves because bigints are slow. Gives its length. */
function fillCrcField(bytes: Uint8Array, tag: number, crc: Crc64): number {
  let low = crc.low >>> 0;
  let high = crc.high >>> 0;
  if (low === 0 && high === 0) return 0;
  let length = 0;
  bytes[length++] = tag;
  while (high !== 0 || low >= 0x80) {
    bytes[length++] = (low & 0x7f) | 0x80;
    low = ((low >>> 7) | (high << 25)) >>> 0;
    high >>>= 7;
  }
  bytes[length++] = low;
  return length;
}

function writeHeader(to: Writer, header: FileHeader): void {
  writeInteger(to, HeaderTag.schemaVersion, header.schemaVersion);
  writeInteger(to, HeaderTag.kind, header.kind);
  writeInteger(to, HeaderTag.compression, header.compression);
  writeInteger(to, HeaderTag.recordsCount, header.recordsCount);
  writeString(to, HeaderTag.leaderId, header.leaderId);
  writeTimestamp(to, HeaderTag.createdAt, header.createdAtMs);
  writeInteger(to, HeaderTag.sequence, header.sequence);
  writeInteger(to, HeaderTag.epoch, header.epoch);
  writeBigint(to, HeaderTag.previousChunkCrc, header.previousChunkCrc);
  writeFixed64(to, HeaderTag.nonce, header.nonce);
  if (header.snapshot !== undefined) writeSnapshotState(to, header.snapshot);
  for (const frame of header.pack ?? []) writePackFrame(to, frame);
}

function writePackFrame(to: Writer, frame: PackFrame): void {
  const message = new Writer();
  writeInteger(message, PackFrameTag.first, frame.first);
  writeInteger(message, PackFrameTag.chunks, frame.chunks);
  writeInteger(message, PackFrameTag.nextSequence, frame.nextSequence);
  writeInteger(message, PackFrameTag.bytes, frame.bytes);
  writeInteger(message, PackFrameTag.contentBytes, frame.contentBytes);
  writeBigint(message, PackFrameTag.lastCrc, frame.lastCrc);
  to.varint(HeaderTag.pack);
  to.delimited(message.view());
}

function writeSnapshotState(to: Writer, state: SnapshotState): void {
  const message = new Writer();
  writeFixed64(message, SnapshotStateTag.clusterId, state.clusterId);
  writeInteger(message, SnapshotStateTag.nextSequence, state.nextSequence);
  writeInteger(message, SnapshotStateTag.revision, state.revision);
  writeInteger(message, SnapshotStateTag.compactRevision, state.compactRevision);
  writeInteger(message, SnapshotStateTag.compactedRevision, state.compactedRevision);
  writeInteger(message, SnapshotStateTag.nextOrdinal, state.nextOrdinal);
  to.varint(HeaderTag.snapshot);
  to.delimited(message.view());
}

function writeRecord(to: Writer, record: LogRecord): void {
  writeInteger(to, RecordTag.revision, record.revision);
  writeBytes(to, RecordTag.key, record.key);
  writeBoolean(to, RecordTag.created, record.created);
  writeBoolean(to, RecordTag.deleted, record.deleted);
  writeInteger(to, RecordTag.createRevision, record.createRevision);
  writeInteger(to, RecordTag.prevRevision, record.prevRevision);
  writeInteger(to, RecordTag.version, record.version);
  writeBigint(to, RecordTag.lease, record.lease);
  writeBytes(to, RecordTag.value, record.value);
  writeTimestamp(to, RecordTag.createdAt, record.createdAtMs);
  writeInteger(to, RecordTag.sub, record.sub);
  writeInteger(to, RecordTag.operation, record.operation);
  if (record.operation !== Operation.KeyValue) writeOperation(to, record);
  if (record.ordinal === undefined) return;
  writeInteger(to, RecordTag.ordinal, record.ordinal);
  writeInteger(to, RecordTag.previousOrdinal, record.previousOrdinal ?? 0);
}

/** What a log operation has besides. */
function writeOperation(to: Writer, record: LogRecord): void {
  writeInteger(to, RecordTag.leaseTtl, record.leaseTtlSeconds ?? 0);
  writeInteger(to, RecordTag.compactRevision, record.compactRevision ?? 0);
  if (record.epoch !== undefined) writeEpochClaim(to, record.epoch);
  if (record.importEnd !== undefined) writeImportEnd(to, record.importEnd);
}

function writeEpochClaim(to: Writer, claim: EpochClaim): void {
  const message = new Writer();
  writeInteger(message, EpochClaimTag.epoch, claim.epoch);
  writeInteger(message, EpochClaimTag.skipTo, claim.skipTo);
  writeString(message, EpochClaimTag.holder, claim.holder);
  writeFixed64(message, EpochClaimTag.clusterId, claim.clusterId);
  to.varint(RecordTag.epochClaim);
  to.delimited(message.view());
}

function writeImportEnd(to: Writer, end: ImportEnd): void {
  const message = new Writer();
  writeInteger(message, ImportEndTag.revision, end.revision);
  writeInteger(message, ImportEndTag.records, end.records);
  writeInteger(message, ImportEndTag.leases, end.leases);
  to.varint(RecordTag.importEnd);
  to.delimited(message.view());
}
