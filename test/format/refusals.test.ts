import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import { InvariantError } from '../../src/shared/base/assert.ts';
import { CorruptFileError } from '../../src/shared/format/corrupt.ts';
import { crc64 } from '../../src/shared/format/crc64.ts';
import { type DecodedBody, decodeBody, decodeHeader } from '../../src/shared/format/decode.ts';
import { encodeFile, FileEncoder } from '../../src/shared/format/encode.ts';
import { FileCompression, FileKind } from '../../src/shared/format/file.ts';
import { Operation } from '../../src/shared/model/record.ts';
import { FileFooterSchema, FileHeaderSchema, RecordSchema } from './gen/netsy_pb.ts';
import { sampleHeader, samplePut } from './samples.ts';

/** Files whose CRCs are right and whose contents are not: what a faulty or hostile writer could make. */

const marshalHeader = (fields: MessageInitShape<typeof FileHeaderSchema>): Uint8Array =>
  toBinary(FileHeaderSchema, create(FileHeaderSchema, fields));
const marshalRecord = (fields: MessageInitShape<typeof RecordSchema>): Uint8Array =>
  toBinary(RecordSchema, create(RecordSchema, fields));
const marshalFooter = (fields: MessageInitShape<typeof FileFooterSchema>): Uint8Array =>
  toBinary(FileFooterSchema, create(FileFooterSchema, fields));

type HeaderFields = MessageInitShape<typeof FileHeaderSchema>;
type RecordFields = MessageInitShape<typeof RecordSchema>;
type FooterFields = MessageInitShape<typeof FileFooterSchema>;

function delimited(message: Uint8Array): Buffer {
  assert.ok(message.length < 128);
  return Buffer.concat([Buffer.from([message.length]), message]);
}

function sealedHeader(fields: HeaderFields): Buffer {
  const whole = { kind: FileKind.Chunk, compression: FileCompression.None, ...fields } as HeaderFields &
    object;
  return delimited(marshalHeader({ ...whole, crc: crc64(marshalHeader(whole)) } as HeaderFields));
}

/** A file as Netsy for Go would write it, of one record. */
function sealedFile(record: RecordFields, footer: FooterFields = {}): Buffer {
  const unsealed = marshalRecord(record);
  const sealed = marshalRecord({ ...record, crc: crc64(unsealed) } as RecordFields);
  const revision = (record as { revision?: bigint }).revision ?? 0n;
  const fields = { recordsCrc: crc64(unsealed), firstRevision: revision, lastRevision: revision, ...footer };
  const end = marshalFooter({ ...fields, crc: crc64(marshalFooter(fields as FooterFields)) } as FooterFields);
  return Buffer.concat([sealedHeader({ recordsCount: 1n }), delimited(sealed), delimited(end)]);
}

function decode(object: Uint8Array): DecodedBody {
  const { header, bodyOffset } = decodeHeader(object, 'bad.netsy');
  return decodeBody(object.subarray(bodyOffset), header, 'bad.netsy');
}

function assertRefused(object: Uint8Array, part: string, check: string, found?: string): void {
  assert.throws(
    () => decode(object),
    (error) => {
      assert.ok(error instanceof CorruptFileError, String(error));
      assert.deepEqual({ part: error.part, check: error.check }, { part, check });
      if (found !== undefined) assert.equal(error.found, found);
      return true;
    },
  );
}

test('the files made here are refused only for what is wrong with them', () => {
  assert.equal(decode(sealedFile({ revision: 5n })).records[0]?.revision, 5);
});

test('an encrypted record is refused, and the error says that encryption is not supported', () => {
  assertRefused(sealedFile({ revision: 5n, dek: 7n }), 'record', 'dek', '7');
  assert.throws(() => decode(sealedFile({ revision: 5n, dek: 7n })), /encrypted records are not supported/);
});

test('integers that JavaScript can not hold, or that are negative, are refused', () => {
  for (const revision of [-1n, 2n ** 53n, 2n ** 63n - 1n, -(2n ** 63n)]) {
    assertRefused(sealedFile({ revision }), 'record', 'revision');
    assertRefused(sealedFile({ revision: 1n, version: revision }), 'record', 'version');
    assertRefused(sealedFile({ revision: 1n, prevRevision: revision }), 'record', 'prev_revision');
    assertRefused(sealedHeader({ recordsCount: revision }), 'header', 'records_count');
    assertRefused(sealedHeader({ sequence: revision }), 'header', 'sequence');
  }
});

test('a lease may be any 64-bit value', () => {
  for (const lease of [-1n, 2n ** 63n - 1n, -(2n ** 63n)]) {
    assert.equal(decode(sealedFile({ revision: 1n, lease })).records[0]?.lease, lease);
  }
});

test('a put or delete without a revision, and an operation that is not known, are refused', () => {
  assertRefused(sealedFile({}), 'record', 'revision');
  assertRefused(sealedFile({ operation: 8 as never }), 'record', 'operation', '8');
  assertRefused(sealedFile({ operation: -1 as never }), 'record', 'operation', '-1');
  assertRefused(sealedFile({ operation: 5 }), 'record', 'epoch_claim');
  assertRefused(sealedFile({ operation: 6 }), 'record', 'import_end');
});

test('a file kind or compression that is not known is refused', () => {
  assertRefused(sealedHeader({ kind: 0 }), 'header', 'kind');
  assertRefused(sealedHeader({ compression: 3 as never }), 'header', 'compression');
});

test('times outside a Timestamp are refused; nanoseconds are rounded down', () => {
  const at = (seconds: bigint, nanos: number): Buffer =>
    sealedFile({ revision: 1n, createdAt: { seconds, nanos } });
  assertRefused(at(253_402_300_800n, 0), 'record', 'message');
  assertRefused(at(0n, 1_000_000_000), 'record', 'message');
  assertRefused(at(0n, -1), 'record', 'message');
  assert.equal(decode(at(5n, 1_999_999)).records[0]?.createdAtMs, 5001);
  assert.equal(decode(at(-1n, 999_000_000)).records[0]?.createdAtMs, -1);
});

test('a count of records that the file can not hold costs neither time nor memory', () => {
  assertRefused(sealedHeader({ recordsCount: 2n ** 53n - 2n }), 'record', 'message', 'truncated');
});

test("a footer that states other revisions, or another record CRC than its records', is refused", () => {
  assertRefused(sealedFile({ revision: 5n }, { firstRevision: 4n }), 'footer', 'first_revision', '5');
  assertRefused(sealedFile({ revision: 5n }, { lastRevision: 6n }), 'footer', 'last_revision', '5');
  assertRefused(sealedFile({ revision: 5n }, { recordsCrc: 1n }), 'records', 'CRC64');
});

test("one of our files with another file's header is refused, though every message's CRC is right", () => {
  const records = [samplePut()];
  const file = encodeFile(sampleHeader(), records);
  const other = encodeFile(sampleHeader({ sequence: 78 }), records);
  assertRefused(Buffer.concat([other.header, file.body]), 'footer', 'header CRC64');
  const without = sealedFile({ revision: 5n }).subarray(sealedHeader({ recordsCount: 1n }).length);
  const ours = sealedHeader({ recordsCount: 1n, sequence: 9n });
  assertRefused(Buffer.concat([ours, without]), 'footer', 'header CRC64');
});

test('a wrong CRC of header, record or footer is told apart, and its place named', () => {
  const { bytes, header } = encodeFile(sampleHeader(), [samplePut()]);
  const footerStart = header.length + 1 + bytes[header.length]!;
  const places = [
    { at: 20, part: 'header', index: undefined, offset: 0 },
    { at: footerStart - 3, part: 'record', index: 0, offset: header.length },
    { at: footerStart + 4, part: 'footer', index: undefined, offset: footerStart },
  ];
  for (const { at, ...place } of places) {
    const copy = Buffer.from(bytes);
    copy[at]! ^= 1;
    assert.throws(() => decode(copy), { name: 'CorruptFileError', check: 'CRC64', ...place });
  }
});

test('an unknown field is passed over, and its bytes count for the CRC', () => {
  const unknown = Buffer.concat([marshalRecord({ revision: 5n }), Buffer.from([0xf8, 0x07, 1])]);
  const crcField = marshalRecord({ crc: crc64(unknown) });
  const footer = { recordsCrc: crc64(unknown), firstRevision: 5n, lastRevision: 5n };
  const end = marshalFooter({ ...footer, crc: crc64(marshalFooter(footer)) });
  for (const record of [Buffer.concat([crcField, unknown]), Buffer.concat([unknown, crcField])]) {
    const file = Buffer.concat([sealedHeader({ recordsCount: 1n }), delimited(record), delimited(end)]);
    assert.equal(decode(file).records[0]?.revision, 5);
    file[file.indexOf(Buffer.from([0xf8, 0x07, 1])) + 2]! ^= 2;
    assertRefused(file, 'record', 'CRC64');
  }
});

test('a record that no reader would accept is not written', () => {
  const records = [
    samplePut({ revision: 0 }),
    samplePut({ revision: 2 ** 53 }),
    samplePut({ operation: Operation.Epoch }),
  ];
  for (const record of records) assert.throws(() => encodeFile(sampleHeader(), [record]), InvariantError);
  const encoder = new FileEncoder({ ...sampleHeader(), recordsCount: 1 });
  assert.throws(() => encoder.end(), InvariantError);
  encoder.add(samplePut());
  assert.throws(() => encoder.add(samplePut()), InvariantError);
});
