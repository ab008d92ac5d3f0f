import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import fc from 'fast-check';

/**
 * Messages as senders may lay them out: fields in any order, repeated, with defaults written out, with
 * varints longer than they must be and with unknown fields between. What a generator of values and one
 * encoder would never make.
 */

/** The fields of a message by number; a nested message is given by a function, since they recur. */
export interface Shape {
  [number: number]: 'bytes' | 'number' | 'bigint' | 'bool' | 'enum' | 'packed' | (() => Shape);
}

type Bytes = fc.Arbitrary<Uint8Array>;

const shortBytes = fc.uint8Array({ maxLength: 12 });
const EDGES = [0, 1, -1, 127, 128, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 35, 2 ** 42, 2 ** 49];

/** Numbers that survive the clamping of `Reader.int64`. */
export const safeNumber = fc.oneof(
  fc.constantFrom(...EDGES, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER),
  fc.maxSafeInteger(),
);

/** Every int64. */
export const anyBigint = fc.oneof(
  fc.constantFrom(0n, 1n, -1n, 1n << 53n, 1n << 56n, (1n << 63n) - 1n, -(1n << 63n)),
  fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n }),
);

/** A message of this shape. */
export function message(shape: Shape, depth = 4): Bytes {
  const known = Object.entries(shape).flatMap(([number, kind]) => {
    if (typeof kind !== 'function') return [scalar(Number(number), kind)];
    return depth === 0 ? [] : [delimited(Number(number), message(kind(), depth - 1))];
  });
  const field = fc.oneof({ weight: 8, arbitrary: fc.oneof(...known, unknown()) }, unknown());
  return fc.array(field, { maxLength: 7 }).map((fields) => new Uint8Array(Buffer.concat(fields)));
}

function scalar(number: number, kind: Exclude<Shape[number], () => Shape>): Bytes {
  if (kind === 'bytes') return delimited(number, shortBytes);
  if (kind === 'packed') return delimited(number, packed());
  const tag = varint(BigInt(number * 8 + WireType.Varint), 0);
  return fc.tuple(scalarValue(kind), fc.nat(10)).map(([value, padding]) => {
    return new Uint8Array(Buffer.concat([tag, varint(value, padding)]));
  });
}

function scalarValue(kind: 'number' | 'bigint' | 'bool' | 'enum'): fc.Arbitrary<bigint> {
  if (kind === 'number') return safeNumber.map(BigInt);
  if (kind === 'bigint') return anyBigint;
  if (kind === 'bool') return fc.oneof(fc.constantFrom(0n, 1n), anyBigint);
  return fc.oneof(fc.bigInt(0n, 5n), anyBigint);
}

function packed(): Bytes {
  const values = fc.array(fc.bigInt(0n, 300n), { maxLength: 4 });
  return values.map((list) => new Uint8Array(Buffer.concat(list.map((value) => varint(value, 0)))));
}

function delimited(number: number, bytes: Bytes): Bytes {
  return bytes.map((value) => new BinaryWriter().tag(number, WireType.LengthDelimited).bytes(value).finish());
}

/** A field that no message of etcd has, of every wire type. */
function unknown(): Bytes {
  const simple = fc.oneof(
    shortBytes.map((value) => new BinaryWriter().tag(900, WireType.LengthDelimited).bytes(value).finish()),
    anyBigint.map((value) => new BinaryWriter().tag(901, WireType.Varint).int64(value).finish()),
    fc.constant(new BinaryWriter().tag(902, WireType.Bit64).fixed64(7n).finish()),
    fc.constant(new BinaryWriter().tag(903, WireType.Bit32).fixed32(7).finish()),
  );
  const group = fc.array(simple, { maxLength: 2 }).map((fields) => {
    const inner = new BinaryWriter().tag(904, WireType.StartGroup).raw(new Uint8Array(Buffer.concat(fields)));
    return inner.tag(904, WireType.EndGroup).finish();
  });
  return fc.oneof(simple, group);
}

/** A varint, with up to `padding` bytes more than it needs (never more than ten in all). */
export function varint(value: bigint, padding: number): Uint8Array {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  for (; rest >= 0x80n; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  bytes.push(Number(rest));
  for (let added = 0; added < padding && bytes.length < 10; added++) {
    bytes[bytes.length - 1] = (bytes[bytes.length - 1] as number) | 0x80;
    bytes.push(0);
  }
  return new Uint8Array(bytes);
}
