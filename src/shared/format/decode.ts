import { Reader } from '../etcd/wire.ts';
import { RECORD_BYTES_MAX } from '../model/limits.ts';
import type { LogRecord } from '../model/record.ts';
import { CorruptFileError, Fault, type FilePart, type FilePlace, hex64, locate } from './corrupt.ts';
import { Crc64 } from './crc64.ts';
import { decodeRecord } from './decode-record.ts';
import {
  FooterTag,
  HeaderTag,
  PackFrameTag,
  RecordTag,
  readCompactRevision,
  readCount,
  readFixed64,
  readString,
  readTimestamp,
  readUint64,
  SnapshotStateTag,
} from './fields.ts';
import {
  type DecodedHeader,
  FileCompression,
  type FileFooter,
  FileKind,
  type PackFrame,
  type SnapshotState,
} from './file.ts';
import { checkMessageCrc } from './message-crc.ts';

/**
 * Reads `.netsy` files, ours and Netsy for Go's, and checks all they say of themselves: the CRCs of header,
 * records and footer, the counts, the revisions, and that nothing follows. A CRC is checked before anything
 * else is believed, and nothing is allocated by a number from the file. Whatever the bytes are, nothing but
 * `CorruptFileError` is thrown.
 */

/** A decoded body. Keys and values are views of the bytes given, and keep them alive. */
export interface DecodedBody {
  records: LogRecord[];
  footer: FileFooter;
}

/**
 * Decodes the header at the start of `object`, whose key is `name` (for errors). The body begins at
 * `bodyOffset`, stored as `header.compression` says.
 */
export function decodeHeader(
  object: Uint8Array,
  name: string,
): { header: DecodedHeader; bodyOffset: number } {
  try {
    const reader = new Reader(object);
    const message = reader.bytes();
    const crc = new Crc64();
    checkMessageCrc(message, HeaderTag.crc, crc);
    const header = decodeHeaderMessage(message);
    header.crc = crc.digest();
    header.byteLength = reader.position;
    return { header, bodyOffset: reader.position };
  } catch (error) {
    throw locate(error, { object: name, part: 'header', index: undefined, offset: 0 });
  }
}

/** Decodes a body, decompressed. `name` is the object's key (for errors). */
export function decodeBody(body: Uint8Array, header: DecodedHeader, name: string): DecodedBody {
  const decoder = new BodyDecoder(body, header, name);
  const records: LogRecord[] = [];
  for (let record = decoder.next(); record !== undefined; record = decoder.next()) records.push(record);
  return { records, footer: decoder.footer() };
}

/** Decodes a body record by record: `next` until it gives undefined, then `footer`. */
export class BodyDecoder {
  readonly #header: DecodedHeader;
  readonly #name: string;
  readonly #reader: Reader;
  readonly #isAlone: boolean;
  readonly #recordsCrc = new Crc64();
  readonly #crc = new Crc64();
  #index = 0;
  /** Where the message being read begins, with its length. */
  #start = 0;
  #firstRevision = Number.POSITIVE_INFINITY;
  #lastRevision = 0;

  /** With `isAlone` nothing may follow the footer. */
  constructor(body: Uint8Array, header: DecodedHeader, name: string, isAlone = true) {
    this.#header = header;
    this.#name = name;
    this.#reader = new Reader(body);
    this.#isAlone = isAlone;
  }

  /** How much of the body was read. */
  get byteLength(): number {
    return this.#reader.position;
  }

  /** The next record, its CRC checked; undefined after the last. */
  next(): LogRecord | undefined {
    if (this.#index === this.#header.recordsCount) return undefined;
    this.#start = this.#reader.position;
    try {
      const message = this.#reader.bytes();
      if (message.length > RECORD_BYTES_MAX) {
        throw new Fault('length', `at most ${RECORD_BYTES_MAX}`, String(message.length));
      }
      const covered = checkMessageCrc(message, RecordTag.crc, this.#crc);
      this.#recordsCrc.append(this.#crc, covered);
      const record = decodeRecord(message);
      this.#note(record.revision);
      this.#index++;
      return record;
    } catch (error) {
      throw locate(error, this.#place('record', this.#index));
    }
  }

  /** The footer, once `next` gave undefined: checked against itself, the records and the header. */
  footer(): FileFooter {
    this.#start = this.#reader.position;
    try {
      const message = this.#reader.bytes();
      checkMessageCrc(message, FooterTag.crc, this.#crc);
      const footer = decodeFooterMessage(message);
      footer.crc = this.#crc.digest();
      this.#checkFooter(footer);
      return footer;
    } catch (error) {
      throw locate(error, this.#place('footer'));
    }
  }

  /** Goes past all records, of which nothing is checked, to the footer; answers its CRC, which is. */
  skipToFooter(): bigint {
    try {
      for (; this.#index < this.#header.recordsCount; this.#index++) {
        this.#start = this.#reader.position;
        this.#reader.bytes();
      }
      this.#start = this.#reader.position;
      checkMessageCrc(this.#reader.bytes(), FooterTag.crc, this.#crc);
      return this.#crc.digest();
    } catch (error) {
      throw locate(error, this.#place('footer'));
    }
  }

  #note(revision: number): void {
    if (revision === 0) return;
    this.#firstRevision = Math.min(this.#firstRevision, revision);
    this.#lastRevision = Math.max(this.#lastRevision, revision);
  }

  #checkFooter(footer: FileFooter): void {
    const recordsCrc = this.#recordsCrc.digest();
    if (footer.recordsCrc !== recordsCrc) {
      const place = { ...this.#place('records'), offset: this.#header.byteLength };
      throw new CorruptFileError(place, 'CRC64', hex64(footer.recordsCrc), hex64(recordsCrc));
    }
    const isOurs = footer.headerCrc !== 0n || this.#header.sequence > 0;
    if (isOurs && footer.headerCrc !== this.#header.crc) {
      throw new Fault('header CRC64', hex64(footer.headerCrc), hex64(this.#header.crc));
    }
    const first = this.#lastRevision === 0 ? 0 : this.#firstRevision;
    expectNumber('first_revision', footer.firstRevision, first);
    expectNumber('last_revision', footer.lastRevision, this.#lastRevision);
    if (this.#isAlone && this.#reader.more())
      throw new Fault('end', 'nothing after the footer', 'more bytes');
  }

  #place(part: FilePart, index?: number): FilePlace {
    return { object: this.#name, part, index, offset: this.#header.byteLength + this.#start };
  }
}

function expectNumber(name: string, stated: number, found: number): void {
  if (stated !== found) throw new Fault(name, String(stated), String(found));
}

function decodeHeaderMessage(message: Uint8Array): DecodedHeader {
  const header = emptyHeader();
  let kind = 0;
  let compression = 0;
  const reader = new Reader(message);
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === HeaderTag.schemaVersion) header.schemaVersion = reader.int32() >>> 0;
    else if (tag === HeaderTag.kind) kind = reader.int32();
    else if (tag === HeaderTag.compression) compression = reader.int32();
    else if (tag === HeaderTag.recordsCount) header.recordsCount = readCount(reader, 'records_count');
    else if (tag === HeaderTag.leaderId) header.leaderId = readString(reader, 'leader_id');
    else if (tag === HeaderTag.createdAt) header.createdAtMs = readTimestamp(reader);
    else readOurHeaderField(reader, message, tag, header);
  }
  header.kind = oneOf('kind', kind, FileKind);
  header.compression = oneOf('compression', compression, FileCompression);
  return header;
}

function readOurHeaderField(reader: Reader, message: Uint8Array, tag: number, header: DecodedHeader): void {
  if (tag === HeaderTag.sequence) header.sequence = readCount(reader, 'sequence');
  else if (tag === HeaderTag.epoch) header.epoch = readCount(reader, 'epoch');
  else if (tag === HeaderTag.previousChunkCrc) header.previousChunkCrc = readUint64(reader);
  else if (tag === HeaderTag.nonce) header.nonce = readFixed64(reader, message, tag);
  else if (tag === HeaderTag.snapshot) header.snapshot = decodeSnapshotState(reader.bytes());
  else if (tag === HeaderTag.pack) addPackFrame(header, decodePackFrame(reader.bytes()));
  else reader.skip(tag);
}

function addPackFrame(header: DecodedHeader, frame: PackFrame): void {
  if (header.pack === undefined) header.pack = [frame];
  else header.pack.push(frame);
}

function decodePackFrame(message: Uint8Array): PackFrame {
  const frame: PackFrame = { first: 0, chunks: 0, nextSequence: 0, bytes: 0, contentBytes: 0, lastCrc: 0n };
  const reader = new Reader(message);
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === PackFrameTag.first) frame.first = readCount(reader, 'first');
    else if (tag === PackFrameTag.chunks) frame.chunks = readCount(reader, 'chunks');
    else if (tag === PackFrameTag.nextSequence) frame.nextSequence = readCount(reader, 'next_sequence');
    else if (tag === PackFrameTag.bytes) frame.bytes = readCount(reader, 'bytes');
    else if (tag === PackFrameTag.contentBytes) frame.contentBytes = readCount(reader, 'content_bytes');
    else if (tag === PackFrameTag.lastCrc) frame.lastCrc = readUint64(reader);
    else reader.skip(tag);
  }
  return frame;
}

function decodeSnapshotState(message: Uint8Array): SnapshotState {
  const state: SnapshotState = {
    clusterId: 0n,
    nextSequence: 0,
    revision: 0,
    compactRevision: 0,
    compactedRevision: 0,
    nextOrdinal: 0,
  };
  const reader = new Reader(message);
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === SnapshotStateTag.clusterId) state.clusterId = readFixed64(reader, message, tag);
    else if (tag === SnapshotStateTag.nextSequence) state.nextSequence = readCount(reader, 'next_sequence');
    else if (tag === SnapshotStateTag.revision) state.revision = readCount(reader, 'revision');
    else if (tag === SnapshotStateTag.compactRevision)
      state.compactRevision = readCompactRevision(reader, 'compact_revision');
    else if (tag === SnapshotStateTag.compactedRevision)
      state.compactedRevision = readCompactRevision(reader, 'compacted_revision');
    else if (tag === SnapshotStateTag.nextOrdinal) state.nextOrdinal = readCount(reader, 'next_ordinal');
    else reader.skip(tag);
  }
  return state;
}

function emptyHeader(): DecodedHeader {
  return {
    schemaVersion: 0,
    kind: FileKind.Chunk,
    compression: FileCompression.None,
    recordsCount: 0,
    leaderId: '',
    createdAtMs: 0,
    sequence: 0,
    epoch: 0,
    previousChunkCrc: 0n,
    nonce: 0n,
    crc: 0n,
    byteLength: 0,
  };
}

function oneOf<T extends number>(name: string, value: number, known: Record<string, T>): T {
  const values = Object.values(known);
  const found = values.find((candidate) => candidate === value);
  if (found === undefined) throw new Fault(name, `one of ${values.join(', ')}`, String(value));
  return found;
}

export function decodeFooterMessage(message: Uint8Array): FileFooter {
  const footer: FileFooter = { recordsCrc: 0n, firstRevision: 0, lastRevision: 0, crc: 0n, headerCrc: 0n };
  const reader = new Reader(message);
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === FooterTag.recordsCrc) footer.recordsCrc = readUint64(reader);
    else if (tag === FooterTag.firstRevision) footer.firstRevision = readCount(reader, 'first_revision');
    else if (tag === FooterTag.lastRevision) footer.lastRevision = readCount(reader, 'last_revision');
    else if (tag === FooterTag.headerCrc) footer.headerCrc = readUint64(reader);
    else reader.skip(tag);
  }
  return footer;
}
