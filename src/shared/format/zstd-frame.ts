import { CorruptFileError, Fault, locate } from './corrupt.ts';
import type { DecodedHeader } from './file.ts';

/**
 * The outline of zstd frames (RFC 8878, section 3.1), read before a decompressor sees them: a few bytes may
 * claim to be gigabytes, and the decompressor would write them all.
 */

const MAGIC = 0xfd2f_b528;
const BLOCK_HEADER_BYTES = 3;
const BLOCK_BYTES_MAX = 128 * 1024;
const CHECKSUM_BYTES = 4;
/** Bytes of the dictionary id and of the content size, by their flags in the frame's descriptor. */
const DICTIONARY_ID_BYTES = [0, 1, 2, 4] as const;
const CONTENT_SIZE_BYTES = [0, 2, 4, 8] as const;

const BlockType = { Raw: 0, Rle: 1, Compressed: 2 } as const;

/** The bytes end before the frame does. */
class TruncatedFault extends Fault {}

/** What a frame's header says. */
interface FrameHeader {
  /** Where the first block begins. */
  blocksStart: number;
  /** The most that one block may hold. */
  blockBytesMax: number;
  hasChecksum: boolean;
}

/**
 * Checks that `object` (named `name`) is one or more whole zstd frames from the end of `header` to its own
 * end, and that they can't expand to more than `bytesMax` bytes. Gives how many bytes they can expand to at
 * most: for what compressors write, at most one block of 128 KiB per frame above the true size. Throws
 * `CorruptFileError`. What the blocks hold is for the decompressor to check.
 */
export function checkZstdFrames(
  object: Uint8Array,
  header: DecodedHeader,
  name: string,
  bytesMax: number,
): number {
  let position = header.byteLength;
  let total = 0;
  try {
    do {
      const frame = readFrame(object, position);
      if (frame.contentBytesMax === 0) throw new Fault('zstd frame', 'some content', 'none');
      position = frame.end;
      total += frame.contentBytesMax;
    } while (position < object.length);
    if (total > bytesMax) throw new Fault('decompressed size', `at most ${bytesMax} bytes`, `up to ${total}`);
    return total;
  } catch (error) {
    throw locate(error, { object: name, part: 'compression', index: undefined, offset: position });
  }
}

/**
 * The zstd frame that begins at `start` of `bytes`: where it ends, and how many bytes it can expand to at most.
 * Undefined if `bytes` end before it does. Throws `CorruptFileError` with the place `offset`.
 */
export function zstdFrameAt(
  bytes: Uint8Array,
  start: number,
  name: string,
  offset: number,
): { end: number; contentBytesMax: number } | undefined {
  try {
    return readFrame(bytes, start);
  } catch (error) {
    if (error instanceof TruncatedFault) return undefined;
    throw locate(error, { object: name, part: 'compression', index: undefined, offset });
  }
}

/** The error for a body that `checkZstdFrames` passed and the decompressor refused for `reason`. */
export function decompressionError(header: DecodedHeader, name: string, reason: string): CorruptFileError {
  const place = { object: name, part: 'compression', index: undefined, offset: header.byteLength } as const;
  return new CorruptFileError(place, 'zstd frame', 'one that decompresses', reason);
}

function readFrame(bytes: Uint8Array, start: number): { end: number; contentBytesMax: number } {
  const header = readFrameHeader(bytes, start);
  let position = header.blocksStart;
  let contentBytesMax = 0;
  let isLast = false;
  while (!isLast) {
    const blockHeader = readUnsigned(bytes, position, BLOCK_HEADER_BYTES);
    const size = blockHeader >>> 3;
    const type = (blockHeader >>> 1) & 3;
    isLast = (blockHeader & 1) === 1;
    if (type > BlockType.Compressed) throw new Fault('zstd block type', '0, 1 or 2', String(type));
    if (size > header.blockBytesMax) {
      throw new Fault('zstd block size', `at most ${header.blockBytesMax}`, String(size));
    }
    contentBytesMax += type === BlockType.Compressed ? header.blockBytesMax : size;
    position += BLOCK_HEADER_BYTES + (type === BlockType.Rle ? 1 : size);
  }
  if (header.hasChecksum) position += CHECKSUM_BYTES;
  if (position > bytes.length) throw truncated(bytes, position);
  return { end: position, contentBytesMax };
}

function readFrameHeader(bytes: Uint8Array, start: number): FrameHeader {
  const magic = readUnsigned(bytes, start, 4);
  if (magic !== MAGIC)
    throw new Fault('zstd magic number', `0x${MAGIC.toString(16)}`, `0x${magic.toString(16)}`);
  const descriptor = readUnsigned(bytes, start + 4, 1);
  // An unused bit, which decoders may ignore, and a reserved one: no compressor sets either.
  if ((descriptor & 0x18) !== 0)
    throw new Fault('zstd frame descriptor', 'clear bits 3 and 4', `${descriptor}`);
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const windowStart = start + 5;
  const dictionaryStart = windowStart + (isSingleSegment ? 0 : 1);
  const sizeStart = dictionaryStart + DICTIONARY_ID_BYTES[(descriptor & 3) as 0 | 1 | 2 | 3];
  const sizeFlag = (descriptor >>> 6) as 0 | 1 | 2 | 3;
  const sizeBytes = sizeFlag === 0 && isSingleSegment ? 1 : CONTENT_SIZE_BYTES[sizeFlag];
  const windowBytes = isSingleSegment
    ? readUnsigned(bytes, sizeStart, sizeBytes) + (sizeBytes === 2 ? 256 : 0)
    : windowSize(readUnsigned(bytes, windowStart, 1));
  return {
    blocksStart: sizeStart + sizeBytes,
    blockBytesMax: Math.min(windowBytes, BLOCK_BYTES_MAX),
    hasChecksum: (descriptor & 4) !== 0,
  };
}

function windowSize(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >>> 3));
  return base + (base / 8) * (descriptor & 7);
}

/** A little-endian number; above 2^53 inexact, which is still far above every limit. */
function readUnsigned(bytes: Uint8Array, start: number, length: number): number {
  if (start + length > bytes.length) throw truncated(bytes, start + length);
  let value = 0;
  for (let index = length - 1; index >= 0; index--) value = value * 256 + bytes[start + index]!;
  return value;
}

function truncated(bytes: Uint8Array, needed: number): Fault {
  return new TruncatedFault('length', `${needed} bytes or more`, `${bytes.length}`);
}
