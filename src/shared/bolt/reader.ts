import { asBuffer, compareBytes } from '../base/bytes.ts';
import {
  BUCKET_FLAG,
  BUCKET_HEADER_BYTES,
  ELEMENT_BYTES,
  META_BYTES,
  type Meta,
  PAGE_HEADER_BYTES,
  PageFlag,
  type PageHeader,
  readMetaPage,
  readPageHeader,
} from './layout.ts';
import type { BoltEntry } from './writer.ts';

/** The file is not a bbolt database, or damaged. The message names the place. */
export class CorruptBoltError extends Error {
  override name = 'CorruptBoltError';
}

/** bbolt's own bounds for the size of a page. */
const PAGE_BYTES_MIN = 1024;
const PAGE_BYTES_MAX = PAGE_BYTES_MIN << 14;
/** A page with those that belong to it may not be larger, whatever it says of itself. */
const EXTENT_BYTES_MAX = 512 * 1024 * 1024;
/** A tree of two children per branch page that deep has more pages than any disk. */
const DEPTH_MAX = 48;

/** `length` bytes from `offset` on, fewer only where the file ends. */
export type ReadBytes = (offset: number, length: number) => Uint8Array;

/**
 * Reads a bbolt file page by page. It believes nothing: page ids, kinds, bounds and the order of keys are checked, and
 * no more pages are read of a tree than the file has. Pages have no checksums, so damage within a key or value
 * is the caller's to find.
 */
export class BoltReader {
  readonly #read: ReadBytes;
  readonly #meta: Meta;
  readonly #buckets = new Map<string, Uint8Array>();

  /** Reads the metas and the root bucket of a file of `fileBytes`. Throws CorruptBoltError. */
  constructor(read: ReadBytes, fileBytes: number) {
    this.#read = read;
    this.#meta = newestMeta(read);
    const { pageBytes, pageEnd, root } = this.#meta;
    if (pageEnd * pageBytes > fileBytes) {
      const expected = `${pageEnd} pages of ${pageBytes} bytes`;
      throw new CorruptBoltError(
        `the file is truncated: its meta says ${expected}, it has ${fileBytes} bytes`,
      );
    }
    for (const { key, value, flags, place } of this.#tree(root, 'root bucket')) {
      if ((flags & BUCKET_FLAG) === 0 || value.length < BUCKET_HEADER_BYTES) {
        throw new CorruptBoltError(`${place}: the root bucket has an entry that is no bucket`);
      }
      this.#buckets.set(asBuffer(key).toString('latin1'), Uint8Array.from(value));
    }
  }

  /** Whether there is a bucket of this name. */
  has(name: string): boolean {
    return this.#buckets.has(name);
  }

  /**
   * A bucket's entries in key order; none if there is no such bucket. They are views of the page, which is kept
   * alive by them. Throws CorruptBoltError where the file is damaged.
   */
  *entries(name: string): Generator<BoltEntry & { readonly place: string }> {
    const bucket = this.#buckets.get(name);
    if (bucket === undefined) return;
    const root = Number(asBuffer(bucket).readBigUInt64LE());
    const label = `bucket ${name}`;
    const elements = root === 0 ? inlineElements(bucket, label) : this.#tree(root, label);
    for (const { key, value, flags, place } of elements) {
      if (flags !== 0) throw new CorruptBoltError(`${place}: flags are ${flags} where a value should be`);
      yield { key, value, place };
    }
  }

  *#tree(root: number, label: string): Generator<LeafElement> {
    const walk: Walk = { label, pages: 0, last: undefined };
    yield* this.#walk(walk, root, 0, undefined, undefined);
  }

  /** The leaf elements below a page, whose keys must be from `low` on and below `high`. */
  *#walk(
    walk: Walk,
    id: number,
    depth: number,
    low: Uint8Array | undefined,
    high: Uint8Array | undefined,
  ): Generator<LeafElement> {
    const place = `page ${id} (${walk.label})`;
    walk.pages++;
    if (depth > DEPTH_MAX || walk.pages > this.#meta.pageEnd) {
      throw new CorruptBoltError(`${place}: the pages of the tree go in circles`);
    }
    const { header, page } = this.#page(id, place);
    if (header.flags === PageFlag.Leaf) {
      for (const element of leafElements(page, header, place)) {
        checkOrder(walk, element, low, high);
        yield element;
      }
      return;
    }
    if (header.flags !== PageFlag.Branch) {
      throw new CorruptBoltError(
        `${place}: flags are 0x${header.flags.toString(16)}, not a branch's or leaf's`,
      );
    }
    const children = branchElements(page, header, place);
    if (children.length === 0) throw new CorruptBoltError(`${place}: a branch without children`);
    for (const [index, { key, child }] of children.entries()) {
      yield* this.#walk(walk, child, depth + 1, key, children[index + 1]?.key ?? high);
    }
  }

  #page(id: number, place: string): { header: PageHeader; page: Buffer } {
    const { pageBytes, pageEnd } = this.#meta;
    if (id < 2 || id >= pageEnd) {
      throw new CorruptBoltError(`${place}: the id is outside of the file's pages 2 to ${pageEnd - 1}`);
    }
    const first = this.#readWhole(id * pageBytes, pageBytes, place);
    const header = readPageHeader(first);
    if (header.id !== id) throw new CorruptBoltError(`${place}: the page says that it is page ${header.id}`);
    const bytes = (header.overflow + 1) * pageBytes;
    if (id + header.overflow >= pageEnd || bytes > EXTENT_BYTES_MAX) {
      throw new CorruptBoltError(`${place}: ${header.overflow} more pages would be beyond the end`);
    }
    const page = header.overflow === 0 ? first : this.#readWhole(id * pageBytes, bytes, place);
    return { header, page };
  }

  #readWhole(offset: number, length: number, place: string): Buffer {
    const bytes = this.#read(offset, length);
    if (bytes.length < length) throw new CorruptBoltError(`${place}: the file ends within it`);
    return asBuffer(bytes);
  }
}

interface Walk {
  readonly label: string;
  pages: number;
  last: Uint8Array | undefined;
}

interface LeafElement extends BoltEntry {
  readonly flags: number;
  readonly place: string;
}

function newestMeta(read: ReadBytes): Meta {
  const first = readMetaPage(read(0, PAGE_HEADER_BYTES + META_BYTES));
  const second = typeof first === 'string' ? findSecondMeta(read) : secondMeta(read, first.pageBytes);
  const valid = [first, second].filter((meta): meta is Meta => typeof meta === 'object');
  const newest = valid.sort((a, b) => b.transaction - a.transaction)[0];
  if (newest === undefined) {
    throw new CorruptBoltError(`page 0: not the start of an etcd database: ${String(first)}`);
  }
  const { pageBytes } = newest;
  const isPowerOfTwo = (pageBytes & (pageBytes - 1)) === 0;
  if (pageBytes < PAGE_BYTES_MIN || pageBytes > PAGE_BYTES_MAX || !isPowerOfTwo) {
    throw new CorruptBoltError(`the meta's page size is ${pageBytes}`);
  }
  return newest;
}

function secondMeta(read: ReadBytes, pageBytes: number): Meta | undefined {
  const meta = readMetaPage(read(pageBytes, PAGE_HEADER_BYTES + META_BYTES));
  return typeof meta === 'string' || meta.pageBytes !== pageBytes ? undefined : meta;
}

/** When the first meta is damaged nobody says how large a page is. */
function findSecondMeta(read: ReadBytes): Meta | undefined {
  for (let pageBytes = PAGE_BYTES_MIN; pageBytes <= PAGE_BYTES_MAX; pageBytes *= 2) {
    const meta = secondMeta(read, pageBytes);
    if (meta !== undefined) return meta;
  }
  return undefined;
}

function checkOrder(
  walk: Walk,
  { key, place }: LeafElement,
  low: Uint8Array | undefined,
  high: Uint8Array | undefined,
): void {
  const isBelow = low !== undefined && compareBytes(key, low) < 0;
  const isBeyond = high !== undefined && compareBytes(key, high) >= 0;
  if (isBelow || isBeyond || (walk.last !== undefined && compareBytes(key, walk.last) <= 0)) {
    throw new CorruptBoltError(`${place}: the key 0x${asBuffer(key).toString('hex', 0, 64)} is out of order`);
  }
  walk.last = key;
}

function inlineElements(bucket: Uint8Array, label: string): LeafElement[] {
  const page = asBuffer(bucket).subarray(BUCKET_HEADER_BYTES);
  const place = `the inline page of ${label}`;
  if (page.length < PAGE_HEADER_BYTES) throw new CorruptBoltError(`${place}: it is cut short`);
  const header = readPageHeader(page);
  if (header.flags !== PageFlag.Leaf) {
    throw new CorruptBoltError(`${place}: flags are 0x${header.flags.toString(16)}, not a leaf's`);
  }
  const walk: Walk = { label, pages: 0, last: undefined };
  const elements = leafElements(page, header, place);
  for (const element of elements) checkOrder(walk, element, undefined, undefined);
  return elements;
}

function leafElements(page: Buffer, header: PageHeader, place: string): LeafElement[] {
  return elementOffsets(page, header, place).map((at, index) => {
    const keyStart = at + page.readUInt32LE(at + 4);
    const valueStart = keyStart + page.readUInt32LE(at + 8);
    const end = valueStart + page.readUInt32LE(at + 12);
    const where = `${place}, element ${index}`;
    checkBounds(page, header, keyStart, valueStart, end, where);
    const key = page.subarray(keyStart, valueStart);
    return { key, value: page.subarray(valueStart, end), flags: page.readUInt32LE(at), place: where };
  });
}

function branchElements(
  page: Buffer,
  header: PageHeader,
  place: string,
): { key: Uint8Array; child: number }[] {
  return elementOffsets(page, header, place).map((at, index) => {
    const keyStart = at + page.readUInt32LE(at);
    const end = keyStart + page.readUInt32LE(at + 4);
    checkBounds(page, header, keyStart, end, end, `${place}, element ${index}`);
    return { key: page.subarray(keyStart, end), child: Number(page.readBigUInt64LE(at + 8)) };
  });
}

function elementOffsets(page: Buffer, { count }: PageHeader, place: string): number[] {
  if (PAGE_HEADER_BYTES + count * ELEMENT_BYTES > page.length) {
    throw new CorruptBoltError(`${place}: ${count} elements don't fit into ${page.length} bytes`);
  }
  return Array.from({ length: count }, (_, index) => PAGE_HEADER_BYTES + index * ELEMENT_BYTES);
}

function checkBounds(
  page: Buffer,
  { count }: PageHeader,
  keyStart: number,
  valueStart: number,
  end: number,
  where: string,
): void {
  const dataStart = PAGE_HEADER_BYTES + count * ELEMENT_BYTES;
  if (keyStart < dataStart || end > page.length || valueStart === keyStart) {
    throw new CorruptBoltError(`${where}: its key or value is not within the page`);
  }
}
