import { asBuffer } from '../base/bytes.ts';

/**
 * The layout of a bbolt file, etcd's database: pages of one size, numbered from 0. A page begins with its id
 * (uint64), flags (uint16), count of elements (uint16) and how many pages follow that belong to it (uint32).
 * Pages 0 and 1 are metas, of which the valid one with the higher transaction id counts. A bucket is a B+tree of
 * branch and leaf pages; the root bucket's leaves hold the other buckets. All integers are little-endian, as on
 * every machine that etcd supports but s390x. Source: go.etcd.io/bbolt, internal/common.
 */

export const PageFlag = { Branch: 0x01, Leaf: 0x02, Meta: 0x04, Freelist: 0x10 } as const;

export const PAGE_HEADER_BYTES = 16;
/** Of branch pages: pos u32, ksize u32, pgid u64. Of leaf pages: flags u32, pos u32, ksize u32, vsize u32. */
export const ELEMENT_BYTES = 16;
/** Of a leaf's element: its value is a bucket. */
export const BUCKET_FLAG = 0x01;
/** A bucket's value: its root page u64 (0: the page follows inline), its sequence u64. */
export const BUCKET_HEADER_BYTES = 16;
/** The meta after its page's header. */
export const META_BYTES = 64;

const MAGIC = 0xed0c_daed;
const VERSION = 2;
const CHECKED_BYTES = META_BYTES - 8;
const FNV_OFFSET = 0xcbf2_9ce4_8422_2325n;
const FNV_PRIME = 0x0000_0100_0000_01b3n;

export interface PageHeader {
  id: number;
  flags: number;
  count: number;
  /** Pages after this one that belong to it. */
  overflow: number;
}

export interface Meta {
  pageBytes: number;
  /** The root bucket's page. */
  root: number;
  /** The page of the list of free pages; undefined when it is not kept, as etcd does. */
  freelist: number | undefined;
  /** Pages in use are below this one. */
  pageEnd: number;
  transaction: number;
}

/** "No freelist" in a meta. */
const NO_FREELIST = 0xffff_ffff_ffff_ffffn;

export function writePageHeader(page: Uint8Array, { id, flags, count, overflow }: PageHeader): void {
  const buffer = asBuffer(page);
  buffer.writeBigUInt64LE(BigInt(id), 0);
  buffer.writeUInt16LE(flags, 8);
  buffer.writeUInt16LE(count, 10);
  buffer.writeUInt32LE(overflow, 12);
}

export function readPageHeader(page: Uint8Array): PageHeader {
  const buffer = asBuffer(page);
  return {
    id: Number(buffer.readBigUInt64LE(0)),
    flags: buffer.readUInt16LE(8),
    count: buffer.readUInt16LE(10),
    overflow: buffer.readUInt32LE(12),
  };
}

/** Fills a meta page, which is `meta.transaction % 2`. */
export function writeMetaPage(page: Uint8Array, meta: Meta): void {
  writePageHeader(page, { id: meta.transaction % 2, flags: PageFlag.Meta, count: 0, overflow: 0 });
  const buffer = asBuffer(page).subarray(PAGE_HEADER_BYTES);
  buffer.writeUInt32LE(MAGIC, 0);
  buffer.writeUInt32LE(VERSION, 4);
  buffer.writeUInt32LE(meta.pageBytes, 8);
  buffer.writeUInt32LE(0, 12);
  buffer.writeBigUInt64LE(BigInt(meta.root), 16);
  buffer.writeBigUInt64LE(0n, 24);
  buffer.writeBigUInt64LE(meta.freelist === undefined ? NO_FREELIST : BigInt(meta.freelist), 32);
  buffer.writeBigUInt64LE(BigInt(meta.pageEnd), 40);
  buffer.writeBigUInt64LE(BigInt(meta.transaction), 48);
  buffer.writeBigUInt64LE(fnv64a(buffer.subarray(0, CHECKED_BYTES)), CHECKED_BYTES);
}

/** What a meta page says; a text that says why when it is none, or fails its checksum. */
export function readMetaPage(page: Uint8Array): Meta | string {
  const buffer = asBuffer(page).subarray(PAGE_HEADER_BYTES);
  if (buffer.length < META_BYTES) return 'the file ends within it';
  const magic = buffer.readUInt32LE(0);
  if (magic !== MAGIC) return `magic is ${hex(magic)} instead of ${hex(MAGIC)}`;
  const version = buffer.readUInt32LE(4);
  if (version !== VERSION) return `version is ${version} instead of ${VERSION}`;
  const stated = buffer.readBigUInt64LE(CHECKED_BYTES);
  const found = fnv64a(buffer.subarray(0, CHECKED_BYTES));
  if (stated !== found) return `checksum is ${found.toString(16)} instead of ${stated.toString(16)}`;
  const freelist = buffer.readBigUInt64LE(32);
  return {
    pageBytes: buffer.readUInt32LE(8),
    root: Number(buffer.readBigUInt64LE(16)),
    freelist: freelist === NO_FREELIST ? undefined : Number(freelist),
    pageEnd: Number(buffer.readBigUInt64LE(40)),
    transaction: Number(buffer.readBigUInt64LE(48)),
  };
}

/** FNV-1a with 64 bits, as Go's hash/fnv. */
function fnv64a(bytes: Uint8Array): bigint {
  let hash = FNV_OFFSET;
  for (const byte of bytes) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * FNV_PRIME);
  return hash;
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
