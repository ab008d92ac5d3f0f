import { assert } from '../base/assert.ts';
import { asBuffer, compareBytes, NO_BYTES } from '../base/bytes.ts';
import {
  BUCKET_FLAG,
  BUCKET_HEADER_BYTES,
  ELEMENT_BYTES,
  PAGE_HEADER_BYTES,
  PageFlag,
  writeMetaPage,
  writePageHeader,
} from './layout.ts';

/** A key and its value in a bucket. */
export interface BoltEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** The size of a page, as on nearly every machine that etcd runs on; bbolt reads any. */
export const PAGE_BYTES = 4096;
/** Two metas and the list of free pages, which is empty. */
const FREELIST_PAGE = 2;
const FIRST_DATA_PAGE = 3;
const TRANSACTION = 1;
/** bbolt keeps a bucket within its parent's leaf up to this size. */
const INLINE_BYTES_MAX = PAGE_BYTES / 4;
const BRANCH_ENTRIES_MIN = 2;

/** Takes whole pages from byte `offset` of the file on. They may be kept: they are not changed any more. */
type WritePages = (offset: number, pages: Uint8Array) => void;

/**
 * Writes a bbolt file from buckets whose entries come in key order. Trees are built from their leaves upwards, so
 * that no more than a page per level is held, whatever the number of entries. Pages are written in ascending
 * order, except the first three, which come last: a file that was not finished is none.
 *
 * What bbolt demands beyond the layout: a branch page has two children at least, or deleting from one of them
 * would be an assertion that fails; a value larger than a page has pages of its own.
 */
export class BoltWriter {
  readonly #write: WritePages;
  #nextPage = FIRST_DATA_PAGE;
  readonly #buckets: BoltEntry[] = [];

  constructor(write: WritePages) {
    this.#write = write;
  }

  /** Adds a bucket. Entries are in ascending key order, without duplicates, and each is written before the next. */
  addBucket(name: string, entries: Iterable<BoltEntry>): void {
    const tree = new TreeWriter((page) => this.#place(page));
    for (const { key, value } of entries) tree.add(key, value, 0);
    this.#buckets.push({ key: Buffer.from(name), value: tree.endBucket() });
  }

  /** Finishes the file. Gives its size in bytes. */
  end(): number {
    const root = new TreeWriter((page) => this.#place(page));
    const buckets = this.#buckets.sort((a, b) => compareBytes(a.key, b.key));
    for (const { key, value } of buckets) root.add(key, value, BUCKET_FLAG);
    const meta = {
      pageBytes: PAGE_BYTES,
      root: root.end(),
      freelist: FREELIST_PAGE,
      pageEnd: this.#nextPage,
    };
    const head = new Uint8Array(FIRST_DATA_PAGE * PAGE_BYTES);
    writeMetaPage(head.subarray(0, PAGE_BYTES), { ...meta, transaction: TRANSACTION - 1 });
    writeMetaPage(head.subarray(PAGE_BYTES, 2 * PAGE_BYTES), { ...meta, transaction: TRANSACTION });
    const freelist = { id: FREELIST_PAGE, flags: PageFlag.Freelist, count: 0, overflow: 0 };
    writePageHeader(head.subarray(FREELIST_PAGE * PAGE_BYTES), freelist);
    this.#write(0, head);
    return this.#nextPage * PAGE_BYTES;
  }

  #place(page: Page): number {
    const id = this.#nextPage;
    const bytes = page.encode(id, PAGE_BYTES);
    this.#write(id * PAGE_BYTES, bytes);
    this.#nextPage = id + bytes.length / PAGE_BYTES;
    return id;
  }
}

interface Element extends BoltEntry {
  /** Of a branch page: the child. */
  readonly child: number;
  readonly flags: number;
}

/** The elements of one page to be. */
class Page {
  readonly #flag: number;
  #elements: Element[] = [];
  #bytes = PAGE_HEADER_BYTES;

  constructor(flag: number) {
    this.#flag = flag;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get count(): number {
    return this.#elements.length;
  }

  get first(): Element {
    return this.#elements[0]!;
  }

  fits(key: Uint8Array, value: Uint8Array): boolean {
    return this.#bytes + ELEMENT_BYTES + key.length + value.length <= PAGE_BYTES;
  }

  add(element: Element): void {
    this.#elements.push(element);
    this.#bytes += ELEMENT_BYTES + element.key.length + element.value.length;
  }

  removeLast(): Element {
    const last = this.#elements.pop();
    assert(last !== undefined, 'no element to remove');
    this.#bytes -= ELEMENT_BYTES + last.key.length + last.value.length;
    return last;
  }

  clear(): void {
    this.#elements = [];
    this.#bytes = PAGE_HEADER_BYTES;
  }

  /** The page as page `id`, filled up to a multiple of `unit` bytes. */
  encode(id: number, unit: number): Buffer {
    const buffer = Buffer.alloc(Math.ceil(this.#bytes / unit) * unit);
    const overflow = unit === 1 ? 0 : buffer.length / unit - 1;
    writePageHeader(buffer, { id, flags: this.#flag, count: this.#elements.length, overflow });
    let data = PAGE_HEADER_BYTES + ELEMENT_BYTES * this.#elements.length;
    for (const [index, element] of this.#elements.entries()) {
      const at = PAGE_HEADER_BYTES + ELEMENT_BYTES * index;
      this.#encodeElement(buffer, at, data, element);
      buffer.set(element.key, data);
      buffer.set(element.value, data + element.key.length);
      data += element.key.length + element.value.length;
    }
    return buffer;
  }

  #encodeElement(buffer: Buffer, at: number, data: number, { key, value, child, flags }: Element): void {
    if (this.#flag === PageFlag.Branch) {
      buffer.writeUInt32LE(data - at, at);
      buffer.writeUInt32LE(key.length, at + 4);
      buffer.writeBigUInt64LE(BigInt(child), at + 8);
      return;
    }
    buffer.writeUInt32LE(flags, at);
    buffer.writeUInt32LE(data - at, at + 4);
    buffer.writeUInt32LE(key.length, at + 8);
    buffer.writeUInt32LE(value.length, at + 12);
  }
}

/** Builds one B+tree. `place` gives a full page its id and writes it. */
class TreeWriter {
  readonly #place: (page: Page) => number;
  readonly #leaf = new Page(PageFlag.Leaf);
  /** The branch page under construction of each level, from the leaves upwards. */
  readonly #branches: Page[] = [];
  #lastKey: Uint8Array = NO_BYTES;

  constructor(place: (page: Page) => number) {
    this.#place = place;
  }

  add(key: Uint8Array, value: Uint8Array, flags: number): void {
    assert(compareBytes(key, this.#lastKey) > 0, 'keys of a bucket must ascend');
    if (this.#leaf.count > 0 && !this.#leaf.fits(key, value)) this.#placeLeaf();
    this.#leaf.add({ key, value, child: 0, flags });
    this.#lastKey = key;
  }

  /** Writes what is left. Gives the tree's root page. */
  end(): number {
    if (this.#branches.length === 0) return this.#place(this.#leaf);
    if (this.#leaf.count > 0) this.#placeLeaf();
    for (let level = 0; ; level++) {
      const branch = this.#branches[level]!;
      const isTop = level === this.#branches.length - 1;
      if (isTop && branch.count === 1) return branch.first.child;
      const { key } = branch.first;
      const child = this.#place(branch);
      if (isTop) return child;
      this.#addChild(level + 1, key, child);
    }
  }

  /** As `end`; gives the value that stands for this bucket in its parent, which holds it whole if it is small. */
  endBucket(): Uint8Array {
    const inline = this.#branches.length === 0 && this.#leaf.bytes <= INLINE_BYTES_MAX;
    const header = Buffer.alloc(BUCKET_HEADER_BYTES);
    if (inline) return Buffer.concat([header, this.#leaf.encode(0, 1)]);
    header.writeBigUInt64LE(BigInt(this.end()));
    return header;
  }

  #placeLeaf(): void {
    const { key } = this.#leaf.first;
    const child = this.#place(this.#leaf);
    this.#leaf.clear();
    this.#addChild(0, key, child);
  }

  /** Of a full branch page the last child goes to the next one, so that none is ever left with one child. */
  #addChild(level: number, key: Uint8Array, child: number): void {
    this.#branches[level] ??= new Page(PageFlag.Branch);
    const branch = this.#branches[level];
    if (branch.count > BRANCH_ENTRIES_MIN && !branch.fits(key, NO_BYTES)) {
      const last = branch.removeLast();
      const first = branch.first.key;
      const id = this.#place(branch);
      branch.clear();
      branch.add(last);
      this.#addChild(level + 1, first, id);
    }
    branch.add({ key: copyOf(key), value: NO_BYTES, child, flags: 0 });
  }
}

/** Keys of leaves are views of rows or buffers that shouldn't be kept alive by a branch. */
function copyOf(key: Uint8Array): Uint8Array {
  return Uint8Array.from(asBuffer(key));
}
