import { RECORD_BYTES_MAX } from '../model/limits.ts';
import type { LogRecord } from '../model/record.ts';
import { CorruptFileError, type FilePlace, hex64 } from './corrupt.ts';
import { BodyDecoder, decodeHeader } from './decode.ts';
import { FileEncoder } from './encode.ts';
import {
  type DecodedHeader,
  FileCompression,
  type FileFooter,
  FileKind,
  type PackFrame,
  SCHEMA_VERSION,
} from './file.ts';

/**
 * A pack is many chunks of the log in one object: a header that lists its frames, and the frames, each a zstd frame of
 * whole chunks as they are without compression, one after the other. Nothing of a chunk is lost, so each is as
 * verifiable as before.
 */

/** A frame is closed with the chunk that fills it. */
export const PACK_FRAME_BYTES = 1024 * 1024;
/** What a frame may hold: what fills it, and the largest chunk. */
const FRAME_CONTENT_BYTES_MAX = PACK_FRAME_BYTES + RECORD_BYTES_MAX;

/** A header that says all that a pack's must. */
export type PackHeader = DecodedHeader & { pack: PackFrame[] };

/** What a pack is of. */
interface PackContents {
  readonly frames: PackFrame[];
  /** Of the first chunk. */
  readonly previousChunkCrc: bigint;
  readonly records: number;
  /** Of the last chunk. */
  readonly createdAtMs: number;
}

/** The header of a pack: the object is it and then the frames. */
export function encodePackHeader(contents: PackContents): Uint8Array<ArrayBuffer> {
  const { frames, previousChunkCrc, records, createdAtMs } = contents;
  return new FileEncoder({
    schemaVersion: SCHEMA_VERSION,
    kind: FileKind.Pack,
    compression: FileCompression.Zstd,
    recordsCount: records,
    leaderId: '',
    createdAtMs,
    sequence: frames[0]!.first,
    epoch: 0,
    previousChunkCrc,
    nonce: 0n,
    pack: frames,
  }).take();
}

/**
 * Decodes the header at the start of `bytes`, and checks that it is that of the pack `name` from `first` to `last`
 * whose object is `size` bytes. Throws `CorruptFileError`.
 */
export function decodePackHeader(
  bytes: Uint8Array,
  name: string,
  { first, last }: { first: number; last: number },
  size: number,
): PackHeader {
  const { header } = decodeHeader(bytes, name);
  const expect = (check: string, expected: number | string, found: number | string): void => {
    if (expected === found) return;
    const place = { object: name, part: 'header', index: undefined, offset: 0 } as const;
    throw new CorruptFileError(place, check, String(expected), String(found));
  };
  expect('kind', FileKind.Pack, header.kind);
  expect('compression', FileCompression.Zstd, header.compression);
  expect('sequence', first, header.sequence);
  const frames = header.pack ?? [];
  let next = first;
  let end = header.byteLength;
  for (const frame of frames) {
    expect('first', next, frame.first);
    const isPossible = frame.chunks > 0 && frame.nextSequence >= frame.first + frame.chunks;
    expect('frame', 'possible', isPossible && isBounded(frame) ? 'possible' : JSON.stringify(frame, asText));
    next = frame.nextSequence;
    end += frame.bytes;
  }
  expect('last sequence', last, lastOf(frames));
  expect('length', end, size);
  return { ...header, pack: frames };
}

function isBounded({ contentBytes }: PackFrame): boolean {
  return contentBytes <= FRAME_CONTENT_BYTES_MAX;
}

function asText(_: string, value: unknown): unknown {
  return typeof value === 'bigint' ? hex64(value) : value;
}

/** The sequence of the last chunk in `frames`; 0 if there is none. */
function lastOf(frames: readonly PackFrame[]): number {
  const frame = frames[frames.length - 1];
  return frame === undefined ? 0 : lastOfFrame(frame);
}

/** The sequence of a frame's last chunk. */
export function lastOfFrame({ first, chunks }: PackFrame): number {
  return first + chunks - 1;
}

/** A chunk as it stands in a frame; views of it. */
export interface PackedChunk {
  readonly header: DecodedHeader;
  readonly headerBytes: Uint8Array;
  readonly body: Uint8Array;
  readonly records: readonly LogRecord[];
  readonly footer: FileFooter;
  readonly skipTo: number | undefined;
}

/** Where a frame stands, and what its chunks must follow. */
export interface FramePlace {
  /** The pack. */
  readonly name: string;
  readonly offset: number;
  readonly frame: PackFrame;
  /** `FileFooter.crc` of the chunk before the first. */
  readonly previousChunkCrc: bigint;
}

/**
 * The chunks of a frame, decompressed: every CRC in them holds, and so do the chain and what the pack's header says.
 * Throws `CorruptFileError`, whose offsets are those in the decompressed frame.
 */
export function* decodeFrame(content: Uint8Array, of: FramePlace): Generator<PackedChunk> {
  const { name, frame } = of;
  let previousCrc = of.previousChunkCrc;
  let next = frame.first;
  let at = 0;
  expect(of, 'content_bytes', frame.contentBytes, content.length);
  for (let count = 0; count < frame.chunks; count++) {
    expect(of, 'next_sequence', frame.first + count, next);
    const rest = content.subarray(at);
    const chunkName = `${name} (chunk ${next})`;
    const { header, bodyOffset } = decodeHeader(rest, chunkName);
    expect(of, 'kind', FileKind.Chunk, header.kind);
    expect(of, 'sequence', next, header.sequence);
    expect(of, 'previous chunk CRC64', hex64(previousCrc), hex64(header.previousChunkCrc));
    const decoder = new BodyDecoder(rest.subarray(bodyOffset), header, chunkName, false);
    const records: LogRecord[] = [];
    let skipTo: number | undefined;
    for (let record = decoder.next(); record !== undefined; record = decoder.next()) {
      skipTo = record.epoch?.skipTo ?? skipTo;
      records.push(record);
    }
    const footer = decoder.footer();
    const end = bodyOffset + decoder.byteLength;
    yield {
      header,
      headerBytes: rest.subarray(0, bodyOffset),
      body: rest.subarray(bodyOffset, end),
      records,
      footer,
      skipTo,
    };
    previousCrc = footer.crc;
    next = skipTo ?? header.sequence + 1;
    at += end;
  }
  expect(of, 'end', content.length, at);
  expect(of, 'next_sequence', frame.nextSequence, next);
  expect(of, 'last_crc', hex64(frame.lastCrc), hex64(previousCrc));
}

function expect({ name, offset }: FramePlace, check: string, expected: unknown, found: unknown): void {
  if (expected === found) return;
  const place: FilePlace = { object: name, part: 'records', index: undefined, offset };
  throw new CorruptFileError(place, check, String(expected), String(found));
}
