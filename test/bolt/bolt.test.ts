import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { compareBytes } from '../../src/shared/base/bytes.ts';
import { BoltReader, CorruptBoltError } from '../../src/shared/bolt/reader.ts';
import { type BoltEntry, BoltWriter, PAGE_BYTES } from '../../src/shared/bolt/writer.ts';
import { property } from '../etcd/property.ts';
import { MemoryFile } from './memory-file.ts';

const BUCKET = 'bucket';

function write(buckets: Readonly<Record<string, Iterable<BoltEntry>>>): MemoryFile {
  const file = new MemoryFile();
  const writer = new BoltWriter(file.write);
  for (const [name, entries] of Object.entries(buckets)) writer.addBucket(name, entries);
  assert.equal(writer.end(), file.bytes.length);
  return file;
}

function readAll(file: MemoryFile, name = BUCKET): BoltEntry[] {
  const reader = new BoltReader(file.read, file.bytes.length);
  return [...reader.entries(name)].map(({ key, value }) => ({
    key: Uint8Array.from(key),
    value: Uint8Array.from(value),
  }));
}

function* numbered(count: number, valueBytes: number): Generator<BoltEntry> {
  for (let index = 0; index < count; index++) {
    const key = Buffer.alloc(17);
    key.writeUInt32BE(index);
    yield { key, value: new Uint8Array(valueBytes).fill(index) };
  }
}

const anyEntries = fc
  .uniqueArray(
    fc.record({
      key: fc.uint8Array({ minLength: 1, maxLength: 40 }),
      value: fc.oneof(fc.uint8Array({ maxLength: 60 }), fc.integer({ max: 9000, min: 0 }).map(zeros)),
    }),
    { selector: ({ key }) => Buffer.from(key).toString('hex'), maxLength: 300, size: 'max' },
  )
  .map((entries) => entries.sort((a, b) => compareBytes(a.key, b.key)));

function zeros(length: number): Uint8Array {
  return new Uint8Array(length);
}

property(
  'what was written is read again, whatever the sizes',
  fc.tuple(anyEntries, anyEntries),
  (both) => {
    const file = write({ [BUCKET]: both[0], other: both[1] });
    assert.deepEqual(readAll(file), both[0].map(plain));
    assert.deepEqual(readAll(file, 'other'), both[1].map(plain));
    assert.deepEqual(readAll(file, 'none'), []);
  },
  100,
);

function plain({ key, value }: BoltEntry): BoltEntry {
  return { key: Uint8Array.from(key), value: Uint8Array.from(value) };
}

test('no branch page has a single child, because bbolt may not delete from such', () => {
  for (const count of [1, 145, 146, 17_000, 17_500, 17_521, 18_000]) {
    const file = write({ [BUCKET]: numbered(count, 8) });
    for (let at = 0; at < file.bytes.length; at += PAGE_BYTES) {
      const isBranch = file.bytes.readUInt16LE(at + 8) === 0x01;
      if (isBranch) assert.ok(file.bytes.readUInt16LE(at + 10) >= 2, `${count} entries: page at ${at}`);
    }
    assert.equal(readAll(file).length, count);
  }
});

test('the memory of writing and reading does not grow with the number of entries', () => {
  let offset = 0;
  let live = 0;
  const writer = new BoltWriter((at, pages) => {
    offset = Math.max(offset, at + pages.length);
  });
  const entries = function* (): Generator<BoltEntry> {
    for (const entry of numbered(400_000, 100)) {
      if (entry.key[3] === 0 && entry.key[2]! % 64 === 0) {
        live = Math.max(live, process.memoryUsage().arrayBuffers);
      }
      yield entry;
    }
  };
  const before = process.memoryUsage().arrayBuffers;
  writer.addBucket(BUCKET, entries());
  writer.end();
  assert.ok(offset > 50_000_000);
  assert.ok(live - before < 48_000_000, `${live - before} bytes`);
});

property(
  'a file with flipped bytes is read, or refused by place; it never hangs or fails otherwise',
  fc.tuple(
    fc.constantFrom(3, 400, 6000),
    fc.array(fc.tuple(fc.double({ min: 0, max: 1, noNaN: true }), fc.integer({ min: 1, max: 255 })), {
      minLength: 1,
      maxLength: 4,
    }),
  ),
  ([count, flips]) => {
    const file = cached(count).copy();
    for (const [where, mask] of flips) {
      // Headers and elements are at the starts of pages: most flips there.
      const page = Math.floor((where * file.bytes.length) / PAGE_BYTES) * PAGE_BYTES;
      const at = page + (Math.floor(where * 1e9) % 64);
      if (at < file.bytes.length) file.bytes[at]! ^= mask;
    }
    readsOrRefuses(file);
  },
  300,
);

property(
  'a file that is cut short is refused',
  fc.tuple(fc.constantFrom(3, 400), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })),
  ([count, share]) => {
    const file = cached(count).copy();
    file.bytes = file.bytes.subarray(0, Math.floor(file.bytes.length * share));
    assert.throws(() => readAll(file), CorruptBoltError);
  },
);

const files = new Map<number, MemoryFile>();

function cached(count: number): MemoryFile {
  const file = files.get(count) ?? write({ [BUCKET]: numbered(count, 20) });
  files.set(count, file);
  return file;
}

function readsOrRefuses(file: MemoryFile): void {
  try {
    readAll(file);
  } catch (error) {
    assert.ok(error instanceof CorruptBoltError, String((error as Error).stack));
    assert.match(error.message, /page|meta|truncated|root bucket/);
  }
}

function damaged(change: (bytes: Buffer) => void): () => void {
  const file = cached(6000).copy();
  change(file.bytes);
  return () => readAll(file);
}

/** The bucket's root: the highest branch page. */
function rootBranch(bytes: Buffer): number {
  let found = 0;
  for (let at = 0; at < bytes.length; at += PAGE_BYTES) if (bytes.readUInt16LE(at + 8) === 0x01) found = at;
  return found;
}

test('pages that go in circles, stand elsewhere, or have keys out of order are refused', () => {
  const circle = damaged((bytes) => {
    const root = rootBranch(bytes);
    bytes.writeBigUInt64LE(BigInt(root / PAGE_BYTES), root + 16 + 8);
  });
  assert.throws(circle, { name: 'CorruptBoltError', message: /circles|order/ });
  const twice = damaged((bytes) => {
    const root = rootBranch(bytes);
    bytes.copy(bytes, root + 16 + 8, root + 32 + 8, root + 32 + 16);
  });
  assert.throws(twice, { message: /out of order/ });
  const elsewhere = damaged((bytes) => bytes.writeBigUInt64LE(77n, 5 * PAGE_BYTES));
  assert.throws(elsewhere, { message: /^page 5 \(bucket bucket\): the page says that it is page 77$/ });
  const outside = damaged((bytes) => bytes.writeBigUInt64LE(1_000_000n, rootBranch(bytes) + 16 + 8));
  assert.throws(outside, { message: /page 1000000 .*outside/ });
  const kind = damaged((bytes) => bytes.writeUInt16LE(0x10, 5 * PAGE_BYTES + 8));
  assert.throws(kind, { message: /page 5 .*flags are 0x10/ });
  const huge = damaged((bytes) => bytes.writeUInt32LE(2 ** 31, 5 * PAGE_BYTES + 12));
  assert.throws(huge, { message: /page 5 .*beyond the end/ });
  const long = damaged((bytes) => bytes.writeUInt32LE(5000, 5 * PAGE_BYTES + 16 + 12));
  assert.throws(long, { message: /page 5 .*element 0: .*not within the page/ });
  const inside = damaged((bytes) => bytes.writeUInt32LE(8, 5 * PAGE_BYTES + 16 + 4));
  assert.throws(inside, { message: /page 5 .*element 0: .*not within the page/ });
  const beyond = damaged((bytes) => bytes.writeUInt32LE(3, bytes.length - PAGE_BYTES + 12));
  assert.throws(beyond, { message: /page \d+ \(root bucket\): 3 more pages would be beyond the end/ });
  const cut = cached(6000).copy();
  cut.bytes = cut.bytes.subarray(0, cut.bytes.length - PAGE_BYTES);
  assert.throws(() => readAll(cut), { message: /^the file is truncated: its meta says \d+ pages/ });
});

test('of two metas the valid one counts, and with neither the file is refused', () => {
  const first = cached(3).copy();
  first.bytes[20] = 0xff;
  assert.equal(readAll(first).length, 3);
  const second = cached(3).copy();
  second.bytes[PAGE_BYTES + 60]! ^= 1;
  assert.equal(readAll(second).length, 3);
  second.bytes[60]! ^= 1;
  assert.throws(() => readAll(second), { message: /page 0: .*checksum/ });
});
