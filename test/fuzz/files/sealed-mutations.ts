import type { Seeded } from '../../support/seeded.ts';
import type { Sample } from './corpus.ts';
import {
  delimited,
  type Field,
  type FileParts,
  fieldsOf,
  HEADER_COUNT,
  marshal,
  overlong,
  rawFrame,
  readVarint,
  type SealOptions,
  sealFile,
  sealHeader,
  uncompressed,
  varint,
} from './parts.ts';

/**
 * Changes of what a file says, with every CRC made right again: what a faulty or hostile writer could leave, and the
 * way to the checks behind the CRCs. A reader refuses the result or reads all of it. If it says something else than
 * before, its CRC is another one, so that the chain of chunks shows it.
 */

export type SealedMutation = (random: Seeded, sample: Sample, others: readonly Sample[]) => Buffer;

type Change = (random: Seeded, fields: Field[]) => Field[];

const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

const EXTREMES = [
  0n,
  1n,
  127n,
  128n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 53n - 2n,
  2n ** 53n - 1n,
  2n ** 63n,
  2n ** 64n - 1n,
];

const dropField: Change = (random, fields) => {
  fields.splice(random.integer(0, fields.length), 1);
  return fields;
};

const repeatField: Change = (random, fields) => {
  if (fields.length > 0) fields.splice(random.integer(0, fields.length + 1), 0, random.pick(fields));
  return fields;
};

const exchangeFields: Change = (random, fields) => {
  const [one, two] = [random.integer(0, fields.length), random.integer(0, fields.length)];
  if (fields.length > 0) [fields[one], fields[two]] = [fields[two]!, fields[one]!];
  return fields;
};

const otherValue: Change = (random, fields) =>
  replaceOne(random, fields, (field) => ({ ...field, value: valueLike(random, field) }));

function valueLike(random: Seeded, { tag, value }: Field): Buffer {
  const wireType = tag & 7;
  if (wireType === VARINT) {
    const near = readVarint(value, 0).value + BigInt(random.integer(-2, 3));
    return varint(random.pick([near, random.pick(EXTREMES)]));
  }
  if (wireType !== BYTES) return Buffer.from(Array.from(value, () => random.integer(0, 256)));
  const content = Buffer.from(value.subarray(readVarint(value, 0).end));
  if (content.length > 0) content[random.integer(0, content.length)] = random.integer(0, 256);
  const cut =
    random.integer(0, 3) === 0 ? content.subarray(0, random.integer(0, content.length + 1)) : content;
  return delimited(cut);
}

const overlongNumber: Change = (random, fields) =>
  replaceOne(random, fields, (field) => {
    if ((field.tag & 7) !== VARINT) return field;
    return { ...field, value: overlong(readVarint(field.value, 0).value, random.integer(1, 9)) };
  });

/** The value ends before its varint does, or its varint has more than 64 bits. */
const brokenNumber: Change = (random, fields) =>
  replaceOne(random, fields, (field) => ({
    ...field,
    value: Buffer.alloc(random.integer(1, 13), random.pick([0x80, 0xff])),
  }));

/** The same field number with another wire type: to a decoder an unknown field. */
const otherWireType: Change = (random, fields) =>
  replaceOne(random, fields, (field) => {
    const wireType = random.pick([VARINT, FIXED64, BYTES, 3, 4, FIXED32, 6, 7]);
    return { ...field, tag: (field.tag & ~7) | wireType };
  });

const unknownField: Change = (random, fields) => {
  const number = random.pick([0, 16, 99, 150, 5_000, 2 ** 29 - 1, 2 ** 29]);
  const field = random.pick([
    { tag: number * 8 + VARINT, value: varint(BigInt(random.integer(0, 1_000))) },
    { tag: number * 8 + BYTES, value: delimited(Buffer.alloc(random.integer(0, 9))) },
    { tag: number * 8 + FIXED64, value: Buffer.alloc(8) },
    // A group that ends, and one that does not.
    { tag: number * 8 + 3, value: varint(BigInt(number * 8 + 4)) },
    { tag: number * 8 + 3, value: Buffer.alloc(0) },
  ]);
  fields.splice(random.integer(0, fields.length + 1), 0, field);
  return fields;
};

/** A change within a message that is a field of this one: a time, an epoch's claim, a snapshot's state. */
const nested: Change = (random, fields) =>
  replaceOne(random, fields, (field) => {
    if ((field.tag & 7) !== BYTES) return field;
    const inner = fieldsIfSound(field.value.subarray(readVarint(field.value, 0).end));
    if (inner === undefined || inner.length === 0) return field;
    return { ...field, value: delimited(marshal(random.pick(FLAT_CHANGES)(random, inner))) };
  });

function fieldsIfSound(message: Buffer): Field[] | undefined {
  try {
    const fields = fieldsOf(message);
    return marshal(fields).equals(message) ? fields : undefined;
  } catch {
    return undefined;
  }
}

function replaceOne(random: Seeded, fields: Field[], change: (field: Field) => Field): Field[] {
  if (fields.length === 0) return fields;
  const index = random.integer(0, fields.length);
  fields[index] = change(fields[index]!);
  return fields;
}

const FLAT_CHANGES: readonly Change[] = [
  dropField,
  repeatField,
  exchangeFields,
  otherValue,
  overlongNumber,
  brokenNumber,
  otherWireType,
  unknownField,
];

function copyOf({ header, records, footer }: FileParts): FileParts {
  return { header: [...header], records: records.map((record) => [...record]), footer: [...footer] };
}

/** The change in one of the file's messages. */
const inMessage =
  (change: Change): SealedMutation =>
  (random, { parts }) => {
    const copy = copyOf(parts);
    const where = random.integer(0, 6);
    if (where === 0) copy.header = change(random, copy.header);
    else if (where === 1) copy.footer = change(random, copy.footer);
    else {
      const index = random.integer(0, copy.records.length);
      copy.records[index] = change(random, copy.records[index]!);
    }
    return sealFile(copy, { agree: random.integer(0, 2) === 0 });
  };

/** Whole records dropped, repeated or exchanged, with counts and revisions that agree, or as they were. */
const reorderRecords: SealedMutation = (random, { parts }) => {
  const copy = copyOf(parts);
  const { records } = copy;
  const [one, two] = [random.integer(0, records.length), random.integer(0, records.length)];
  const kind = random.integer(0, 3);
  if (kind === 0) records.splice(one, 1);
  else if (kind === 1) records.splice(two, 0, records[one]!);
  else [records[one], records[two]] = [records[two]!, records[one]!];
  return sealFile(copy, { agree: random.integer(0, 2) === 0 });
};

/** Records of another file among this one's. */
const foreignRecords: SealedMutation = (random, { parts }, others) => {
  const copy = copyOf(parts);
  const withRecords = others.filter((other) => other.parts.records.length > 0);
  copy.records.splice(
    random.integer(0, copy.records.length + 1),
    0,
    random.pick(random.pick(withRecords).parts.records),
  );
  return sealFile(copy, { agree: random.integer(0, 4) > 0 });
};

const otherCount: SealedMutation = (random, { parts }) => {
  const count = random.pick([...EXTREMES, BigInt(parts.records.length + random.integer(-2, 3))]);
  const header = parts.header.map((field) =>
    field.tag === HEADER_COUNT ? { ...field, value: varint(count) } : field,
  );
  return sealFile({ ...parts, header }, { agree: false });
};

/** The same file, told in another way that the format allows. */
const sameOtherwise: SealedMutation = (random, sample) => {
  const crcAt = random.pick<NonNullable<SealOptions['crcAt']>>([
    () => 0,
    (fields) => fields,
    (fields) => fields >> 1,
  ]);
  if (!sample.isZstd) return sealFile(sample.parts, { crcAt });
  const pieces = (records: readonly Buffer[]): Buffer[] => {
    const cut = random.integer(0, records.length + 1);
    return [records.slice(0, cut), records.slice(cut)]
      .filter((part) => part.length > 0)
      .map((part) => Buffer.concat(part));
  };
  const store: SealOptions['store'] = (records, footer) =>
    Buffer.concat([...pieces(records), footer].map((piece) => rawFrame(piece)));
  return sealFile(sample.parts, { crcAt, store });
};

/** A compressed body under a header that says it is not, or the reverse. */
const otherCompression: SealedMutation = (random, sample) => {
  const plain = uncompressed(sample.parts);
  if (!sample.isZstd)
    return sealFile(plain, { store: (records, footer) => rawFrame(Buffer.concat([...records, footer])) });
  if (random.integer(0, 2) === 0) return sealFile(plain);
  return Buffer.concat([
    sealFile({ ...plain, records: [] }).subarray(0, sample.bodyStart),
    sample.bytes.subarray(sample.bodyStart),
  ]);
};

/** By name. */
export const SEALED_MUTATIONS: Readonly<Record<string, SealedMutation>> = {
  'sealed: a field dropped': inMessage(dropField),
  'sealed: a field repeated': inMessage(repeatField),
  'sealed: fields exchanged': inMessage(exchangeFields),
  'sealed: another value': inMessage(otherValue),
  'sealed: an overlong varint': inMessage(overlongNumber),
  'sealed: a broken varint': inMessage(brokenNumber),
  'sealed: another wire type': inMessage(otherWireType),
  'sealed: an unknown field': inMessage(unknownField),
  'sealed: within a nested message': inMessage(nested),
  'sealed: records dropped, repeated, exchanged': reorderRecords,
  "sealed: another file's records": foreignRecords,
  'sealed: another count': otherCount,
  'sealed: the same otherwise': sameOtherwise,
  'sealed: another compression': otherCompression,
};

/** Of what only a pack has: the list of its frames. */
export const PACK_MUTATIONS: Readonly<Record<string, SealedMutation>> = {
  "sealed: a pack's header": (random, { parts, bytes, bodyStart }) => {
    const header = random.pick([...FLAT_CHANGES, nested, nested, nested])(random, [...parts.header]);
    return Buffer.concat([sealHeader(header), bytes.subarray(bodyStart)]);
  },
};
