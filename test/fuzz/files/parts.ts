import { Crc64, crc64 } from '../../../src/shared/format/crc64.ts';

/**
 * A `.netsy` file taken apart into messages and fields, and put together again with every CRC right. It shares
 * nothing with the product's codec but the CRC itself, and it writes what that never would.
 */

/** A field as it stands: its tag, and its value with the length before it if it has one. */
export interface Field {
  readonly tag: number;
  readonly value: Buffer;
}

/** A file before compression; no message has its CRC field. */
export interface FileParts {
  header: Field[];
  records: Field[][];
  footer: Field[];
}

const HEADER_CRC = 1 << 3;
const HEADER_COMPRESSION = 4 << 3;
export const HEADER_COUNT = 5 << 3;
const RECORD_CRC = 1 << 3;
const RECORD_REVISION = 2 << 3;
const FOOTER_RECORDS_CRC = 2 << 3;
const FOOTER_FIRST = 3 << 3;
const FOOTER_LAST = 4 << 3;
const FOOTER_CRC = 8 << 3;
const FOOTER_HEADER_CRC = 100 << 3;

const NO_COMPRESSION = 1;
const ZSTD = 2;

export function varint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  while (rest >= 0x80n) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}

/** The same number in `more` bytes more than it needs; at most ten are legal. */
export function overlong(value: bigint, more: number): Buffer {
  const short = varint(value);
  const bytes = Buffer.alloc(Math.min(short.length + more, 10), 0x80);
  short.copy(bytes);
  for (let index = 0; index < bytes.length - 1; index++) bytes[index]! |= 0x80;
  bytes[bytes.length - 1]! &= 0x7f;
  return bytes;
}

/** The varint at `start`, and where it ends. Throws when there is none. */
export function readVarint(bytes: Uint8Array, start: number): { value: bigint; end: number } {
  let value = 0n;
  for (let end = start; end < bytes.length && end < start + 10; end++) {
    value |= BigInt(bytes[end]! & 0x7f) << BigInt(7 * (end - start));
    if (bytes[end]! < 0x80) return { value, end: end + 1 };
  }
  throw new RangeError('not a varint');
}

/** Splits a sound message into its fields. */
export function fieldsOf(message: Buffer): Field[] {
  const fields: Field[] = [];
  for (let at = 0; at < message.length; ) {
    const { value: tag, end: start } = readVarint(message, at);
    at = valueEnd(message, start, Number(tag & 7n));
    fields.push({ tag: Number(tag), value: message.subarray(start, at) });
  }
  return fields;
}

function valueEnd(message: Buffer, start: number, wireType: number): number {
  if (wireType === 1) return start + 8;
  if (wireType === 5) return start + 4;
  const { value, end } = readVarint(message, start);
  return wireType === 2 ? end + Number(value) : end;
}

/** Splits sound, length-prefixed messages. */
export function messagesOf(bytes: Buffer): Buffer[] {
  const messages: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const { value, end } = readVarint(bytes, at);
    at = end + Number(value);
    messages.push(bytes.subarray(end, at));
  }
  return messages;
}

/** Takes a sound file apart, whose body is not compressed; without a footer if `isWhole` is false. */
export function partsOf(file: Buffer, isWhole = true): FileParts {
  const [header, ...rest] = messagesOf(file).map(fieldsOf) as [Field[], ...Field[][]];
  const footer = isWhole ? rest.pop()! : [];
  return {
    header: without(header, HEADER_CRC),
    records: rest.map((record) => without(record, RECORD_CRC)),
    footer: without(footer, FOOTER_CRC),
  };
}

function without(fields: readonly Field[], tag: number): Field[] {
  return fields.filter((field) => field.tag !== tag);
}

export function marshal(fields: readonly Field[]): Buffer {
  return Buffer.concat(fields.flatMap(({ tag, value }) => [varint(BigInt(tag)), value]));
}

export function delimited(message: Buffer): Buffer {
  return Buffer.concat([varint(BigInt(message.length)), message]);
}

/** The first varint field of that tag; 0 without one, and where a mutation left none that can be read. */
function numberIn(fields: readonly Field[], tag: number): bigint {
  const field = fields.find((candidate) => candidate.tag === tag);
  if (field === undefined) return 0n;
  try {
    return readVarint(field.value, 0).value;
  } catch {
    return 0n;
  }
}

/** The fields with the varint field `tag` set, at its place or at the end. */
function withNumber(fields: readonly Field[], tag: number, value: bigint): Field[] {
  const field = { tag, value: varint(value) };
  const at = fields.findIndex((candidate) => candidate.tag === tag);
  if (at === -1) return [...fields, field];
  return fields.map((candidate, index) => (index === at ? field : candidate));
}

export interface SealOptions {
  /** Makes the header's count and the footer's revisions agree with the records. By default yes. */
  readonly agree?: boolean;
  /** Puts a message's CRC field there among its other fields. By default first. */
  readonly crcAt?: (fields: number) => number;
  /** How the body is stored. By default as the header says: as one zstd frame of raw blocks. */
  readonly store?: (records: readonly Buffer[], footer: Buffer) => Buffer;
}

/** The file of these parts, every CRC in it right. */
export function sealFile(parts: FileParts, options: SealOptions = {}): Buffer {
  const { agree = true, crcAt = () => 0 } = options;
  const count = BigInt(parts.records.length);
  const header = agree ? withNumber(parts.header, HEADER_COUNT, count) : parts.header;
  const records = parts.records.map((record) => sealed(record, RECORD_CRC, crcAt));
  const sum = new Crc64();
  for (const record of parts.records) sum.update(marshal(record));
  let footer = withNumber(parts.footer, FOOTER_RECORDS_CRC, sum.digest());
  if (footer.some(({ tag }) => tag === FOOTER_HEADER_CRC)) {
    footer = withNumber(footer, FOOTER_HEADER_CRC, crc64(marshal(header)));
  }
  if (agree) footer = withRevisions(footer, parts.records);
  const isZstd = numberIn(header, HEADER_COMPRESSION) === BigInt(ZSTD);
  const store = options.store ?? (isZstd ? asOneFrame : asItIs);
  return Buffer.concat([
    sealed(header, HEADER_CRC, crcAt),
    store(records, sealed(footer, FOOTER_CRC, crcAt)),
  ]);
}

/** A header by itself, its CRC right. */
export function sealHeader(fields: readonly Field[]): Buffer {
  return sealed(fields, HEADER_CRC, () => 0);
}

function sealed(fields: readonly Field[], crcTag: number, crcAt: (fields: number) => number): Buffer {
  const crc = { tag: crcTag, value: varint(crc64(marshal(fields))) };
  const at = crcAt(fields.length);
  return delimited(marshal([...fields.slice(0, at), crc, ...fields.slice(at)]));
}

function withRevisions(footer: readonly Field[], records: readonly (readonly Field[])[]): Field[] {
  const revisions = records.map((record) => numberIn(record, RECORD_REVISION)).filter((one) => one !== 0n);
  revisions.sort((left, right) => (left < right ? -1 : 1));
  const [first, last] = [revisions[0] ?? 0n, revisions[revisions.length - 1] ?? 0n];
  return withNumber(withNumber(footer, FOOTER_FIRST, first), FOOTER_LAST, last);
}

function asItIs(records: readonly Buffer[], footer: Buffer): Buffer {
  return Buffer.concat([...records, footer]);
}

function asOneFrame(records: readonly Buffer[], footer: Buffer): Buffer {
  return rawFrame(Buffer.concat([...records, footer]));
}

/** The same header fields, for a body that is not compressed. */
export function uncompressed(parts: FileParts): FileParts {
  return { ...parts, header: withNumber(parts.header, HEADER_COMPRESSION, BigInt(NO_COMPRESSION)) };
}

const ZSTD_MAGIC = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
const BLOCK_BYTES_MAX = 128 * 1024;
const RLE = 1;

/** One zstd frame (RFC 8878) that holds `content` as it is: made without waiting for a compressor. */
export function rawFrame(content: Buffer): Buffer {
  const size = Buffer.alloc(4);
  size.writeUInt32LE(content.length);
  const blocks: Buffer[] = [];
  for (let at = 0; at === 0 || at < content.length; at += BLOCK_BYTES_MAX) {
    const block = content.subarray(at, at + BLOCK_BYTES_MAX);
    blocks.push(blockHeader(block.length, 0, at + BLOCK_BYTES_MAX >= content.length), block);
  }
  // A single segment whose size has four bytes.
  return Buffer.concat([ZSTD_MAGIC, Buffer.from([0xa0]), size, ...blocks]);
}

/** A frame of few bytes that says it holds `blocks` times 128 KiB of zeros. */
export function bomb(blocks: number): Buffer {
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(blocks) * BigInt(BLOCK_BYTES_MAX));
  const all = Array.from({ length: blocks }, (_, index) =>
    Buffer.concat([blockHeader(BLOCK_BYTES_MAX, RLE, index === blocks - 1), Buffer.from([0])]),
  );
  return Buffer.concat([ZSTD_MAGIC, Buffer.from([0xe0]), size, ...all]);
}

function blockHeader(size: number, type: number, isLast: boolean): Buffer {
  const header = Buffer.alloc(3);
  header.writeUIntLE(size * 8 + type * 2 + Number(isLast), 0, 3);
  return header;
}

/** Where each zstd frame after `start` begins, and the end: of sound frames. */
export function frameBounds(file: Buffer, start: number): number[] {
  const bounds = [start];
  for (let at = start; at < file.length; ) {
    const descriptor = file[at + 4]!;
    const isSingle = (descriptor & 0x20) !== 0;
    const sizes = [isSingle ? 1 : 0, 2, 4, 8] as const;
    at += 5 + (isSingle ? 0 : 1) + sizes[(descriptor >>> 6) as 0 | 1 | 2 | 3];
    for (let isLast = false; !isLast; ) {
      const block = file.readUIntLE(at, 3);
      isLast = (block & 1) === 1;
      at += 3 + (((block >>> 1) & 3) === RLE ? 1 : block >>> 3);
    }
    if ((descriptor & 4) !== 0) at += 4;
    bounds.push(at);
  }
  return bounds;
}
