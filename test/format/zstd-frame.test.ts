import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { compress } from '@mongodb-js/zstd';
import { CorruptFileError } from '../../src/shared/format/corrupt.ts';
import { decodeHeader } from '../../src/shared/format/decode.ts';
import { encodeFile } from '../../src/shared/format/encode.ts';
import { checkZstdFrames } from '../../src/shared/format/zstd-frame.ts';
import { FIXTURE_SNAPSHOT } from './fixtures.ts';
import { sampleHeader } from './samples.ts';

const BLOCK_BYTES_MAX = 128 * 1024;
const { header } = decodeHeader(encodeFile(sampleHeader(), []).bytes, 'whole.netsy');

function bound(frames: Uint8Array, bytesMax: number): number {
  const object = Buffer.concat([Buffer.alloc(header.byteLength), frames]);
  return checkZstdFrames(object, header, 'bomb.netsy', bytesMax);
}

/** A frame with a 2 MiB window and no content size, of blocks that repeat one byte 128 Ki times. */
function bomb(blocks: number): Buffer {
  const block = (last: number): number[] => {
    const head = (BLOCK_BYTES_MAX << 3) | (1 << 1) | last;
    return [head & 0xff, (head >> 8) & 0xff, head >> 16, 0x61];
  };
  const bytes = Array.from({ length: blocks }, (_, index) => block(index === blocks - 1 ? 1 : 0));
  return Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0, 0x58, ...bytes.flat()]);
}

test('frames of a compressor are bounded by at most one block above their size', async () => {
  for (const size of [1, 1000, 131_072, 131_073, 1_000_000]) {
    const frame = await compress(Buffer.alloc(size, 'netsy '));
    const most = bound(frame, Number.MAX_SAFE_INTEGER);
    assert.ok(most >= size && most < size + BLOCK_BYTES_MAX, `${size} bytes: ${most}`);
    assert.equal(bound(Buffer.concat([frame, frame]), Number.MAX_SAFE_INTEGER), 2 * most);
  }
});

test('a few bytes that would expand past the bound are refused before they are decompressed', () => {
  assert.equal(bound(bomb(8), 8 * BLOCK_BYTES_MAX), 8 * BLOCK_BYTES_MAX);
  assert.throws(() => bound(bomb(9), 8 * BLOCK_BYTES_MAX), {
    name: 'CorruptFileError',
    part: 'compression',
    check: 'decompressed size',
    found: `up to ${9 * BLOCK_BYTES_MAX}`,
  });
  assert.throws(() => bound(bomb(100_000), 2 ** 30), CorruptFileError);
});

test('reserved bits, a reserved block type and oversized blocks are refused', () => {
  const alter = (at: number, bits: number): Buffer => {
    const frame = bomb(1);
    frame[at]! ^= bits;
    return frame;
  };
  for (const [at, bits] of [
    [0, 1],
    [4, 0x08],
    [4, 0x10],
    [6, 0x04],
    [6, 0x08],
  ] as const) {
    assert.throws(() => bound(alter(at, bits), 2 ** 30), CorruptFileError, `byte ${at} bits ${bits}`);
  }
});

test('a frame that states its size is bounded by it exactly, and one cut short is refused unread', () => {
  const snapshot = readFileSync(FIXTURE_SNAPSHOT);
  const { header: goHeader, bodyOffset } = decodeHeader(snapshot, 'go.netsy');
  // A two-byte content size, which counts from 256.
  const stated = snapshot.readUInt16LE(bodyOffset + 5) + 256;
  assert.equal(checkZstdFrames(snapshot, goHeader, 'go.netsy', stated), stated);
  for (let length = bodyOffset; length < snapshot.length; length++) {
    const cut = snapshot.subarray(0, length);
    assert.throws(() => checkZstdFrames(cut, goHeader, 'go.netsy', stated), { check: 'length' });
  }
});
