import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { Seeded } from '../support/seeded.ts';

/** Random protobuf: what a method takes, and what is made of that by cutting, flipping, nesting and lying. */

const DEPTH_MAX = 5;
const LARGE_BYTES = 3_000_000;
/** Deeper than any decoder recurses. */
const NESTING = 20_000;

const NUMBERS = [
  0n,
  1n,
  2n,
  3n,
  100n,
  -1n,
  2n ** 31n,
  2n ** 53n + 1n,
  2n ** 63n - 1n,
  -(2n ** 63n),
  2n ** 64n - 1n,
];
/** Names of nothing and nobody: with a user `root`, auth could be enabled, and little would be tried after that. */
const TEXTS = ['', 'a', 'b', 'k/1', 'k/2', '\0', 'z', 'x'.repeat(300), 'ä€😀', 'http://127.0.0.1:1'];

export type Shape = (typeof SHAPES)[number];
const SHAPES = [
  'message',
  'cut',
  'flipped',
  'noise',
  'lying lengths',
  'groups',
  'nested',
  'repeated',
  'large',
] as const;

export interface RandomMessage {
  readonly shape: Shape;
  readonly bytes: Uint8Array;
}

/** A request of the shape that chance has. Valid ones are frequent: they get further. */
export function randomMessage(random: Seeded, schema: DescMessage): RandomMessage {
  // The large ones take their time.
  const shape =
    random.fraction() < 0.02 ? 'large' : random.pick(['message', 'message', ...SHAPES.slice(0, -1)] as const);
  return { shape, bytes: SHAPERS[shape](random, schema) };
}

const SHAPERS: Readonly<Record<Shape, (random: Seeded, schema: DescMessage) => Uint8Array>> = {
  message: (random, schema) => encodeRandom(random, schema, 0),
  cut: (random, schema) => {
    const bytes = encodeRandom(random, schema, 0);
    return bytes.subarray(0, random.integer(0, bytes.length + 1));
  },
  flipped: (random, schema) => {
    const bytes = Uint8Array.from(encodeRandom(random, schema, 0));
    for (let count = random.integer(1, 6); count > 0 && bytes.length > 0; count--) {
      bytes[random.integer(0, bytes.length)] = random.integer(0, 256);
    }
    return bytes;
  },
  noise: (random) => noise(random, random.integer(0, 60)),
  'lying lengths': (random, schema) => {
    const field = random.integer(1, schema.fields.length + 3);
    const length = random.pick([0x7f, 0xffff, 2 ** 31 - 1, 2 ** 32 - 1]);
    return new BinaryWriter()
      .tag(field, WireType.LengthDelimited)
      .uint32(length)
      .raw(noise(random, 20))
      .finish();
  },
  groups: (random) => {
    const start = new BinaryWriter().tag(random.integer(1, 30), WireType.StartGroup).finish();
    const end = new BinaryWriter().tag(random.integer(1, 30), WireType.EndGroup).finish();
    const depth = random.pick([1, 50, 200, NESTING]);
    return Buffer.concat([
      ...Array<Uint8Array>(depth).fill(start),
      ...Array<Uint8Array>(random.pick([0, depth])).fill(end),
    ]);
  },
  nested: (random, schema) => nested(random.pick([10, 300, 3_000]), schema),
  repeated: (random, schema) => {
    const bytes = encodeRandom(random, schema, 0);
    return Buffer.concat(Array<Uint8Array>(random.integer(2, 300)).fill(bytes));
  },
  large: (random, schema) => {
    const [field] = schema.fields;
    const value = Buffer.alloc(random.pick([600_000, LARGE_BYTES]), random.integer(0, 256));
    return new BinaryWriter()
      .tag(field?.number ?? 1, WireType.LengthDelimited)
      .bytes(value)
      .finish();
  },
};

function noise(random: Seeded, length: number): Uint8Array {
  return Uint8Array.from({ length }, () => random.integer(0, 256));
}

/** Each message-valued field within the last, TxnRequest's operations above all; else field 1 in itself. */
function nested(depth: number, schema: DescMessage): Uint8Array {
  const tags = schema.typeName === 'etcdserverpb.TxnRequest' ? [2, 4] : [1];
  let bytes: Uint8Array = new Uint8Array(0);
  for (let level = 0; level < depth; level++) {
    bytes = new BinaryWriter()
      .tag(tags[(depth - level) % tags.length]!, WireType.LengthDelimited)
      .bytes(bytes)
      .finish();
  }
  return bytes;
}

function encodeRandom(random: Seeded, schema: DescMessage, depth: number): Uint8Array {
  const writer = new BinaryWriter();
  for (const field of schema.fields) {
    const times = field.fieldKind === 'list' ? random.integer(0, 4) : random.fraction() < 0.6 ? 1 : 0;
    for (let time = 0; time < times; time++) encodeField(random, writer, field, depth);
  }
  return writer.finish();
}

function encodeField(random: Seeded, writer: BinaryWriter, field: DescField, depth: number): void {
  if (field.message !== undefined) {
    const inner = depth < DEPTH_MAX ? encodeRandom(random, field.message, depth + 1) : new Uint8Array(0);
    writer.tag(field.number, WireType.LengthDelimited).bytes(inner);
  } else if (field.scalar === ScalarType.STRING || field.scalar === ScalarType.BYTES) {
    const bytes = random.fraction() < 0.1 ? noise(random, 8) : Buffer.from(random.pick(TEXTS));
    writer.tag(field.number, WireType.LengthDelimited).bytes(bytes);
  } else {
    writer.tag(field.number, WireType.Varint).int64(BigInt.asIntN(64, randomNumber(random, field)));
  }
}

function randomNumber(random: Seeded, field: DescField): bigint {
  const mostly = field.enum !== undefined || field.scalar === ScalarType.BOOL;
  return mostly && random.fraction() < 0.9 ? BigInt(random.integer(0, 4)) : random.pick(NUMBERS);
}
