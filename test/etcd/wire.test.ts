import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  bigint64Size,
  delimitedSize,
  int64Size,
  MalformedMessageError,
  Reader,
  varintSize,
  Writer,
} from '../../src/shared/etcd/wire.ts';
import { anyBigint, safeNumber, varint } from './fields.ts';
import { property } from './property.ts';

const anyVarint = fc
  .tuple(anyBigint, fc.nat(10))
  .map(([value, padding]) => ({ value, bytes: varint(value, padding) }));

function clamped(value: bigint): number {
  const max = BigInt(Number.MAX_SAFE_INTEGER);
  return Number(value > max ? max : value < -max ? -max : value);
}

property('every varint reads as Go reads it, whatever its length', anyVarint, ({ value, bytes }) => {
  assert.equal(new Reader(bytes).bigint64(), value);
  assert.equal(new Reader(bytes).int64(), clamped(value));
  assert.equal(new Reader(bytes).varint(), clamped(BigInt.asUintN(64, value)));
  assert.equal(new Reader(bytes).int32(), Number(BigInt.asIntN(32, value)));
  assert.equal(new Reader(bytes).bool(), value !== 0n);
});

property('a varint cut short is malformed', anyVarint, ({ bytes }) => {
  const cut = bytes.subarray(0, bytes.length - 1);
  for (const read of ['varint', 'int64', 'bigint64', 'int32', 'bool'] as const) {
    assert.throws(() => new Reader(cut)[read](), MalformedMessageError);
  }
});

property('clamping keeps the order of any two numbers', fc.tuple(anyBigint, anyBigint), ([a, b]) => {
  const [first, second] = [a, b].map((value) => new Reader(varint(value, 0)).int64()) as [number, number];
  assert.ok(a <= b ? first <= second : first >= second);
});

property(
  'what is written is the shortest varint, of the size foretold',
  fc.tuple(safeNumber, anyBigint),
  (input) => {
    const [number, bigint] = input;
    const writer = new Writer(0);
    writer.int64(number);
    assert.deepEqual(writer.view(), varint(BigInt(number), 0));
    assert.equal(writer.length, int64Size(number));
    writer.reset();
    writer.bigint64(bigint);
    assert.deepEqual(writer.view(), varint(bigint, 0));
    assert.equal(writer.length, bigint64Size(bigint));
  },
);

const sizes = fc
  .integer({ min: 0, max: 53 })
  .chain((bits) => fc.constantFrom(2 ** bits - 1, Math.min(2 ** bits, Number.MAX_SAFE_INTEGER)));
property('sizes are right at every power of two', sizes, (value) => {
  assert.equal(varintSize(value), varint(BigInt(value), 0).length);
  assert.equal(delimitedSize(value), value + varintSize(value));
});

test('the tenth byte of a varint may hold one bit', () => {
  const nines = new Array(9).fill(0xff);
  assert.equal(new Reader(new Uint8Array([...nines, 1])).bigint64(), -1n);
  for (const last of [2, 0x7f, 0x81]) {
    assert.throws(() => new Reader(new Uint8Array([...nines, last, 0])).bigint64(), MalformedMessageError);
  }
});

test('field numbers are 1 to 2^29 − 1', () => {
  const tag = (value: bigint): number => new Reader(varint(value, 0)).tag();
  assert.equal(tag(8n), 8);
  assert.equal(tag((1n << 32n) - 8n), 2 ** 32 - 8);
  for (const value of [0n, 7n, 1n << 32n, (1n << 64n) - 1n]) {
    assert.throws(() => tag(value), MalformedMessageError);
  }
});

test('a length that reaches past the message is malformed, even if the buffer goes on', () => {
  const reader = new Reader(new Uint8Array([2, 5, 1, 1, 1, 1, 1]));
  reader.enter();
  assert.throws(() => reader.bytes(), MalformedMessageError);
  for (const length of [
    [0xff, 0xff, 0xff, 0xff, 0x0f],
    [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
  ]) {
    assert.throws(() => new Reader(new Uint8Array([...length, 0])).bytes(), MalformedMessageError);
  }
});

test('a nested message ends where its length says, in the midst of a varint or a tag', () => {
  for (const inner of [
    [1, 0x80, 0x01],
    [0, 0x08],
  ]) {
    const reader = new Reader(new Uint8Array(inner));
    reader.enter();
    assert.throws(() => reader.int64(), MalformedMessageError);
  }
});

function skips(...bytes: number[]): number {
  const reader = new Reader(new Uint8Array(bytes));
  reader.skip(reader.tag());
  return reader.position;
}

test('unknown fields of every wire type are skipped, groups with all that is in them', () => {
  assert.equal(skips(8, 0x80, 1, 99), 3);
  assert.equal(skips(9, 1, 2, 3, 4, 5, 6, 7, 8, 99), 9);
  assert.equal(skips(10, 2, 1, 2, 99), 4);
  assert.equal(skips(13, 1, 2, 3, 4, 99), 5);
  assert.equal(skips(11, 19, 8, 1, 20, 12, 99), 6);
});

test('a group that ends wrongly, an end without a start and unused wire types are malformed', () => {
  for (const bytes of [[11, 20], [11, 8, 1], [11], [12], [14], [15], [11, 14, 12], [9, 1, 2], [13, 1]]) {
    assert.throws(() => skips(...bytes), MalformedMessageError);
  }
});

test("groups nested deeper than Go's decoder follows are refused and do not overflow the stack", () => {
  const nested = (depth: number): Reader => {
    const bytes = new Uint8Array(2 * depth).fill(11, 0, depth).fill(12, depth);
    return new Reader(bytes);
  };
  const allowed = nested(9999);
  allowed.skip(allowed.tag());
  assert.equal(allowed.more(), false);
  for (const depth of [10_002, 1_000_000]) {
    const reader = nested(depth);
    assert.throws(() => reader.skip(reader.tag()), MalformedMessageError);
  }
});

test('a finished writer shares nothing with what it gave', () => {
  for (const capacity of [2, 1, 64]) {
    const writer = new Writer(capacity);
    writer.raw(new Uint8Array([1, 2]));
    const bytes = writer.finish();
    assert.equal(bytes.buffer.byteLength, 2);
    writer.raw(new Uint8Array([3, 4, 5]));
    assert.deepEqual([...bytes], [1, 2]);
    assert.deepEqual([...writer.view()], [3, 4, 5]);
  }
});
