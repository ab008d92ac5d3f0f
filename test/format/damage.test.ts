import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { compress } from '@mongodb-js/zstd';
import fc from 'fast-check';
import { asBuffer } from '../../src/shared/base/bytes.ts';
import { CorruptFileError } from '../../src/shared/format/corrupt.ts';
import { decodeBody, decodeHeader } from '../../src/shared/format/decode.ts';
import { encodeFile } from '../../src/shared/format/encode.ts';
import { FileCompression } from '../../src/shared/format/file.ts';
import { checkZstdFrames } from '../../src/shared/format/zstd-frame.ts';
import { decodeObject, FIXTURE_SNAPSHOT, fixtureChunks } from './fixtures.ts';
import { plain, sampleHeader, sampleRecords } from './samples.ts';

const plainFile = encodeFile(sampleHeader(), sampleRecords()).bytes;

async function compressedFile(): Promise<Buffer> {
  const file = encodeFile(sampleHeader({ compression: FileCompression.Zstd }), sampleRecords());
  return Buffer.concat([file.header, await compress(asBuffer(file.body))]);
}

function flipped(object: Uint8Array, bit: number): Buffer {
  const copy = Buffer.from(object);
  copy[bit >> 3]! ^= 1 << (bit & 7);
  return copy;
}

/** The error that decoding gives, or undefined; fails on anything but a CorruptFileError. */
async function damage(object: Uint8Array): Promise<CorruptFileError | undefined> {
  try {
    await decodeObject(object, 'damaged.netsy');
    return undefined;
  } catch (error) {
    assert.ok(error instanceof CorruptFileError, String((error as Error).stack));
    assert.match(error.message, /^damaged\.netsy: .* at byte \d+: .*: expected .*, found /);
    return error;
  }
}

for (const [name, file] of [
  ['one of ours', plainFile],
  ["one of Netsy for Go's", readFileSync(fixtureChunks()[4]!)],
] as const) {
  test(`every flipped bit of a file is found: ${name}`, async () => {
    assert.equal(await damage(file), undefined);
    for (let bit = 0; bit < file.length * 8; bit++) {
      assert.ok(await damage(flipped(file, bit)), `bit ${bit & 7} of byte ${bit >> 3}`);
    }
  });

  test(`every truncation and any byte at the end is found: ${name}`, async () => {
    for (let length = 0; length < file.length; length++) {
      assert.ok(await damage(file.subarray(0, length)), `${length} bytes`);
    }
    for (const byte of [0, 1, 0xff]) assert.ok(await damage(Buffer.concat([file, Buffer.from([byte])])));
  });
}

/**
 * zstd has bits that do not change what it decompresses to (the window's size; one of several ways to copy
 * the same bytes). Such a flip changes nothing that is read; every other one must be found.
 */
async function assertFlipsFound(object: Buffer): Promise<number> {
  const whole = await decodeObject(object, 'whole.netsy');
  let harmless = 0;
  for (let bit = 0; bit < object.length * 8; bit++) {
    const copy = flipped(object, bit);
    if (await damage(copy)) continue;
    assert.ok(bit >= whole.header.byteLength * 8, `bit ${bit} is in the header`);
    const read = await decodeObject(copy, 'flipped.netsy');
    assert.deepEqual(read.records.map(plain), whole.records.map(plain));
    assert.deepEqual(read.footer, whole.footer);
    harmless++;
  }
  return harmless;
}

test('every flipped bit of a compressed file is found, or changes nothing that is read', async (context) => {
  const ours = await compressedFile();
  context.diagnostic(`${await assertFlipsFound(ours)} of ${ours.length * 8} change nothing in our chunk`);
  const go = readFileSync(FIXTURE_SNAPSHOT);
  context.diagnostic(`${await assertFlipsFound(go)} of ${go.length * 8} change nothing in Go's snapshot`);
});

test('every truncation of a compressed file, and anything after it, is found', async () => {
  for (const file of [await compressedFile(), readFileSync(FIXTURE_SNAPSHOT)]) {
    for (let length = 0; length < file.length; length++) {
      assert.ok(await damage(file.subarray(0, length)), `${length} bytes`);
    }
    const emptyFrame = await compress(Buffer.alloc(0));
    const skippableFrame = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]);
    for (const more of [Buffer.from([0]), emptyFrame, skippableFrame, await compress(Buffer.from('more'))]) {
      assert.ok(await damage(Buffer.concat([file, more])), more.toString('hex'));
    }
  }
});

/** Overwrites, inserts and removes bytes at random places. */
const mutation = fc.array(
  fc.record({ at: fc.nat(), remove: fc.nat(9), insert: fc.uint8Array({ maxLength: 12 }) }),
  { minLength: 1, maxLength: 4 },
);

function mutated(object: Uint8Array, edits: { at: number; remove: number; insert: Uint8Array }[]): Buffer {
  let bytes = Buffer.from(object);
  for (const { at, remove, insert } of edits) {
    const start = at % (bytes.length + 1);
    bytes = Buffer.concat([bytes.subarray(0, start), insert, bytes.subarray(start + remove)]);
  }
  return bytes;
}

test('mutated files are refused, or read as before: never another error, never a hang', async (context) => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
  context.diagnostic(`seed ${seed}`);
  const files = [plainFile, await compressedFile(), readFileSync(FIXTURE_SNAPSHOT)];
  const input = fc.tuple(fc.constantFrom(...files), mutation);
  const holds = fc.asyncProperty(input, async ([file, edits]) => {
    const copy = mutated(file, edits);
    if (await damage(copy)) return;
    const whole = await decodeObject(file, 'whole.netsy');
    const read = await decodeObject(copy, 'mutated.netsy');
    assert.deepEqual(read.records.map(plain), whole.records.map(plain));
  });
  await fc.assert(holds, { seed, numRuns: 4000 });
});

test('arbitrary bytes, also behind a true header, give a CorruptFileError', (context) => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
  context.diagnostic(`seed ${seed}`);
  const { header } = decodeHeader(plainFile, 'whole.netsy');
  const refuses = fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
    assert.throws(() => decodeHeader(bytes, 'x'), CorruptFileError);
    assert.throws(() => decodeBody(bytes, header, 'x'), CorruptFileError);
    assert.throws(() => checkZstdFrames(bytes, { ...header, byteLength: 0 }, 'x', 1000), CorruptFileError);
  });
  fc.assert(refuses, { seed, numRuns: 5000 });
});
