import { Reader } from '../etcd/wire.ts';
import { RECORD_BYTES_MAX } from '../model/limits.ts';
import { type LogRecord, Operation } from '../model/record.ts';
import { CorruptFileError, Fault, type FilePlace, hex64, locate } from './corrupt.ts';
import { Crc64 } from './crc64.ts';
import { decodeFooterMessage, decodeHeader } from './decode.ts';
import { decodeRecord } from './decode-record.ts';
import { FooterTag, RecordTag } from './fields.ts';
import {
  type DecodedHeader,
  FileCompression,
  type FileFooter,
  FileKind,
  type SnapshotState,
} from './file.ts';
import { checkMessageCrc } from './message-crc.ts';

/**
 * A snapshot of ours is read and written in pieces, so that nobody holds it whole: each zstd frame after the
 * header is a piece of whole records, and the footer has the last frame to itself. Pieces are decoded each by
 * itself, in any order and by several threads; `SnapshotTally` puts together what they say of the whole file.
 */

/** What a piece adds to the checks of the whole file. */
export interface PieceTally {
  records: number;
  /** The CRC of the records' bytes without their CRC fields, in signed halves, and how many bytes it covers. */
  crcLow: number;
  crcHigh: number;
  crcBytes: number;
  /** 0 if no record has a revision. */
  firstRevision: number;
  lastRevision: number;
  /** 0 if no record has one. */
  firstOrdinal: number;
  lastOrdinal: number;
}

function emptyTally(): PieceTally {
  return {
    records: 0,
    crcLow: 0,
    crcHigh: 0,
    crcBytes: 0,
    firstRevision: 0,
    lastRevision: 0,
    firstOrdinal: 0,
    lastOrdinal: 0,
  };
}

/** A header that says all that a snapshot of ours must. */
export type SnapshotHeader = DecodedHeader & { snapshot: SnapshotState };

/** Decodes the header at the start of `bytes`, and checks that it is that of the snapshot at `sequence`. */
export function decodeSnapshotHeader(bytes: Uint8Array, name: string, sequence: number): SnapshotHeader {
  const { header } = decodeHeader(bytes, name);
  const refuse = (check: string, expected: string, found: string): never => {
    const place = { object: name, part: 'header', index: undefined, offset: 0 } as const;
    throw new CorruptFileError(place, check, expected, found);
  };
  const { snapshot } = header;
  if (header.kind !== FileKind.Snapshot)
    return refuse('kind', String(FileKind.Snapshot), String(header.kind));
  if (header.sequence !== sequence) return refuse('sequence', String(sequence), String(header.sequence));
  if (snapshot === undefined) return refuse('snapshot', 'the state of the log', 'none');
  if (header.compression !== FileCompression.Zstd) {
    return refuse('compression', String(FileCompression.Zstd), String(header.compression));
  }
  if (snapshot.nextSequence <= sequence) {
    return refuse('next_sequence', `more than ${sequence}`, String(snapshot.nextSequence));
  }
  return { ...header, snapshot };
}

/**
 * Decodes the records of one piece, decompressed, each CRC checked, and hands them to `take`. Keys and values
 * are views of `piece`. `offset` is where the piece begins in the object `name`. Throws `CorruptFileError`.
 */
export function decodePiece(
  piece: Uint8Array,
  name: string,
  offset: number,
  take: (record: LogRecord) => void,
): PieceTally {
  const reader = new Reader(piece);
  const crc = new Crc64();
  const all = new Crc64();
  const tally = emptyTally();
  while (reader.more()) {
    try {
      const message = reader.bytes();
      if (message.length > RECORD_BYTES_MAX) {
        throw new Fault('length', `at most ${RECORD_BYTES_MAX}`, String(message.length));
      }
      const covered = checkMessageCrc(message, RecordTag.crc, crc);
      all.append(crc, covered);
      tally.crcBytes += covered;
      const record = decodeRecord(message);
      noteRevision(tally, record.revision);
      if (record.operation === Operation.KeyValue)
        noteOrdinals(tally, record.ordinal ?? 0, record.ordinal ?? 0);
      tally.records++;
      take(record);
    } catch (error) {
      throw locate(error, { object: name, part: 'record', index: tally.records, offset });
    }
  }
  tally.crcLow = all.low;
  tally.crcHigh = all.high;
  return tally;
}

function noteRevision(tally: PieceTally, revision: number): void {
  if (revision === 0) return;
  tally.firstRevision = tally.firstRevision === 0 ? revision : Math.min(tally.firstRevision, revision);
  tally.lastRevision = Math.max(tally.lastRevision, revision);
}

/** Records are in the log's order, and so are pieces. */
function noteOrdinals(tally: PieceTally, first: number, last: number): void {
  if (first <= tally.lastOrdinal) throw new Fault('ordinal', `more than ${tally.lastOrdinal}`, String(first));
  if (tally.firstOrdinal === 0) tally.firstOrdinal = first;
  tally.lastOrdinal = last;
}

/** Checks a snapshot as a whole, from its pieces' tallies in their order and its footer. */
export class SnapshotTally {
  readonly #header: SnapshotHeader;
  readonly #name: string;
  readonly #crc = new Crc64();
  readonly #sum: PieceTally;

  constructor(header: SnapshotHeader, name: string) {
    this.#header = header;
    this.#name = name;
    this.#sum = emptyTally();
  }

  /** Records so far. */
  get records(): number {
    return this.#sum.records;
  }

  /** The next piece, which begins at `offset` of the object. Throws `CorruptFileError`. */
  add(piece: PieceTally, offset: number): void {
    try {
      if (piece.lastOrdinal > 0) noteOrdinals(this.#sum, piece.firstOrdinal, piece.lastOrdinal);
    } catch (error) {
      throw locate(error, { object: this.#name, part: 'records', index: undefined, offset });
    }
    const next = new Crc64();
    next.low = piece.crcLow;
    next.high = piece.crcHigh;
    this.#crc.append(next, piece.crcBytes);
    this.#sum.records += piece.records;
    noteRevision(this.#sum, piece.firstRevision);
    noteRevision(this.#sum, piece.lastRevision);
  }

  /** The last frame, decompressed: checked against itself, the records and the header. Throws `CorruptFileError`. */
  end(body: Uint8Array, offset: number): FileFooter {
    const place: FilePlace = { object: this.#name, part: 'footer', index: undefined, offset };
    try {
      const reader = new Reader(body);
      const message = reader.bytes();
      const crc = new Crc64();
      checkMessageCrc(message, FooterTag.crc, crc);
      const footer = decodeFooterMessage(message);
      footer.crc = crc.digest();
      if (reader.more()) throw new Fault('end', 'nothing after the footer', 'more bytes');
      this.#check(footer);
      return footer;
    } catch (error) {
      throw locate(error, place);
    }
  }

  #check(footer: FileFooter): void {
    expect('header CRC64', hex64(footer.headerCrc), hex64(this.#header.crc));
    expect('records_count', String(this.#header.recordsCount), String(this.#sum.records));
    expect('records CRC64', hex64(footer.recordsCrc), hex64(this.#crc.digest()));
    expect('first_revision', String(footer.firstRevision), String(this.#sum.firstRevision));
    expect('last_revision', String(footer.lastRevision), String(this.#sum.lastRevision));
    const { revision, nextOrdinal } = this.#header.snapshot;
    const { lastRevision, lastOrdinal } = this.#sum;
    if (lastRevision > revision) throw new Fault('revision', `${lastRevision} or more`, String(revision));
    if (lastOrdinal >= nextOrdinal) {
      throw new Fault('next_ordinal', `more than ${lastOrdinal}`, String(nextOrdinal));
    }
  }
}

function expect(check: string, stated: string, found: string): void {
  if (stated !== found) throw new Fault(check, stated, found);
}
