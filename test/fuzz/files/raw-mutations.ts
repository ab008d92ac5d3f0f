import type { Seeded } from '../../support/seeded.ts';
import type { Sample } from './corpus.ts';
import { bomb, frameBounds, messagesOf, overlong, rawFrame, readVarint, varint } from './parts.ts';

/**
 * Changes of a file's bytes by somebody who does not know its CRCs: a disk, a network, a bad copy. A reader refuses
 * the result, or reads what the file said before.
 */

export type RawMutation = (random: Seeded, sample: Sample, others: readonly Sample[]) => Buffer;

const at = (random: Seeded, bytes: Buffer): number => random.integer(0, bytes.length);

function flipBits(random: Seeded, { bytes }: Sample): Buffer {
  const copy = Buffer.from(bytes);
  for (let count = random.integer(1, 4); count > 0; count--)
    copy[at(random, copy)]! ^= 1 << random.integer(0, 8);
  return copy;
}

function setByte(random: Seeded, { bytes }: Sample): Buffer {
  const copy = Buffer.from(bytes);
  copy[at(random, copy)] = random.pick([0, 1, 0x7f, 0x80, 0xff, random.integer(0, 256)]);
  return copy;
}

function truncate(random: Seeded, { bytes }: Sample): Buffer {
  return bytes.subarray(0, at(random, bytes));
}

function cutOut(random: Seeded, { bytes }: Sample): Buffer {
  const start = at(random, bytes);
  const end = Math.min(bytes.length, start + random.integer(1, random.pick([4, 64, bytes.length])));
  return Buffer.concat([bytes.subarray(0, start), bytes.subarray(end)]);
}

function insert(random: Seeded, { bytes }: Sample): Buffer {
  const start = at(random, bytes);
  return Buffer.concat([
    bytes.subarray(0, start),
    noise(random, random.integer(1, 20)),
    bytes.subarray(start),
  ]);
}

function overwrite(random: Seeded, { bytes }: Sample): Buffer {
  const copy = Buffer.from(bytes);
  const block =
    random.integer(0, 3) === 0 ? Buffer.alloc(random.integer(1, 600)) : noise(random, random.integer(1, 64));
  block.copy(copy, at(random, copy));
  return copy;
}

function noise(random: Seeded, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => random.integer(0, 256)));
}

function append(random: Seeded, { bytes }: Sample, others: readonly Sample[]): Buffer {
  const more = random.pick([
    noise(random, random.integer(1, 30)),
    bytes,
    random.pick(others).bytes,
    Buffer.alloc(512),
  ]);
  return Buffer.concat([bytes, more]);
}

function moveBlock(random: Seeded, { bytes }: Sample): Buffer {
  const cuts = [at(random, bytes), at(random, bytes), at(random, bytes)].sort((left, right) => left - right);
  const [first, second, third] = cuts as [number, number, number];
  return Buffer.concat([
    bytes.subarray(0, first),
    bytes.subarray(second, third),
    bytes.subarray(first, second),
    bytes.subarray(third),
  ]);
}

/** The beginning of one file and the end of another, cut anywhere. */
function splice(random: Seeded, { bytes }: Sample, others: readonly Sample[]): Buffer {
  const other = random.pick(others).bytes;
  return Buffer.concat([bytes.subarray(0, at(random, bytes)), other.subarray(at(random, other))]);
}

/** One file's header and another's body. */
function spliceAtHeader(random: Seeded, sample: Sample, others: readonly Sample[]): Buffer {
  const other = random.pick(others);
  return Buffer.concat([sample.bytes.subarray(0, sample.bodyStart), other.bytes.subarray(other.bodyStart)]);
}

/** Where the messages of an uncompressed file begin, and its end. */
function messageBounds({ bytes, isZstd, bodyStart }: Sample): number[] {
  if (isZstd) return [0, bodyStart];
  const bounds = [0];
  for (const message of messagesOf(bytes))
    bounds.push(message.byteOffset - bytes.byteOffset + message.length);
  return bounds;
}

/** Two files, each cut where one of its messages or zstd frames ends. */
function spliceAtBounds(random: Seeded, sample: Sample, others: readonly Sample[]): Buffer {
  const other = random.pick(others);
  const [head, tail] = [random.pick(boundsOf(sample)), random.pick(boundsOf(other))];
  return Buffer.concat([sample.bytes.subarray(0, head), other.bytes.subarray(tail)]);
}

function boundsOf(sample: Sample): number[] {
  return sample.isZstd ? [0, ...frameBounds(sample.bytes, sample.bodyStart)] : messageBounds(sample);
}

/** Drops, repeats or exchanges whole messages, or whole frames, whose own CRCs stay right. */
function reorder(random: Seeded, sample: Sample): Buffer {
  const bounds = boundsOf(sample);
  const pieces = bounds.slice(1).map((end, index) => sample.bytes.subarray(bounds[index], end));
  const [one, two] = [random.integer(0, pieces.length), random.integer(0, pieces.length)];
  const kind = random.integer(0, 3);
  if (kind === 0) pieces.splice(one, 1);
  else if (kind === 1) pieces.splice(two, 0, pieces[one]!);
  else [pieces[one], pieces[two]] = [pieces[two]!, pieces[one]!];
  return Buffer.concat(pieces);
}

/** A message's length, which no CRC covers: another one, a huge one, or the same one in more bytes. */
function lengthPrefix(random: Seeded, sample: Sample): Buffer {
  const start = random.pick(messageBounds(sample).slice(0, -1));
  const { value, end } = readVarint(sample.bytes, start);
  const other = random.pick([
    varint(value + BigInt(random.integer(-3, 4))),
    varint(2n ** BigInt(random.integer(7, 64)) - BigInt(random.integer(0, 2))),
    overlong(value, random.integer(1, 9)),
    Buffer.alloc(random.integer(1, 12), 0xff),
  ]);
  return Buffer.concat([sample.bytes.subarray(0, start), other, sample.bytes.subarray(end)]);
}

function zstdHeader(random: Seeded, { bytes, bodyStart }: Sample): Buffer {
  const copy = Buffer.from(bytes);
  const start = random.pick(frameBounds(bytes, bodyStart).slice(0, -1));
  for (let count = random.integer(1, 4); count > 0; count--) {
    const place = Math.min(start + random.integer(0, 14), copy.length - 1);
    copy[place] = random.pick([copy[place]! ^ (1 << random.integer(0, 8)), random.integer(0, 256)]);
  }
  return copy;
}

function zstdContent(random: Seeded, { bytes, bodyStart }: Sample): Buffer {
  const copy = Buffer.from(bytes);
  copy[random.integer(bodyStart + 8, copy.length)]! ^= 1 << random.integer(0, 8);
  return copy;
}

const SKIPPABLE_FRAME = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]);

/** A frame more, at the beginning, the end or between. */
function zstdExtraFrame(random: Seeded, { bytes, bodyStart }: Sample): Buffer {
  const place = random.pick(frameBounds(bytes, bodyStart));
  const frame = random.pick([rawFrame(Buffer.alloc(0)), rawFrame(noise(random, 9)), SKIPPABLE_FRAME]);
  return Buffer.concat([bytes.subarray(0, place), frame, bytes.subarray(place)]);
}

/** A few kilobytes that say they are gigabytes. */
function zstdBomb(random: Seeded, { bytes, bodyStart }: Sample): Buffer {
  const frame = bomb(random.pick([8, 5_000, 20_000]));
  return Buffer.concat([bytes.subarray(0, random.pick(frameBounds(bytes, bodyStart))), frame]);
}

function several(random: Seeded, sample: Sample, others: readonly Sample[]): Buffer {
  let { bytes } = sample;
  for (let count = random.integer(2, 5); count > 0 && bytes.length > 0; count--) {
    bytes = random.pick(ANYWHERE)(random, { ...sample, bytes }, others);
  }
  return bytes;
}

const ANYWHERE: readonly RawMutation[] = [
  flipBits,
  setByte,
  truncate,
  cutOut,
  insert,
  overwrite,
  append,
  moveBlock,
  splice,
];

/** By name; those of `ZSTD_MUTATIONS` are for compressed files. */
export const RAW_MUTATIONS: Readonly<Record<string, RawMutation>> = {
  'bits flipped': flipBits,
  'a byte set': setByte,
  truncated: truncate,
  'bytes cut out': cutOut,
  'bytes inserted': insert,
  'bytes overwritten': overwrite,
  appended: append,
  'a block moved': moveBlock,
  'two files spliced': splice,
  "another file's body": spliceAtHeader,
  'two files spliced at bounds': spliceAtBounds,
  'messages or frames dropped, repeated, exchanged': reorder,
  'a length prefix': lengthPrefix,
  'several of these': several,
};

export const ZSTD_MUTATIONS: Readonly<Record<string, RawMutation>> = {
  'zstd: header bytes': zstdHeader,
  'zstd: a bit of the content': zstdContent,
  'zstd: a frame more': zstdExtraFrame,
  'zstd: a bomb': zstdBomb,
};
