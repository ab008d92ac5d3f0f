import assert from 'node:assert/strict';
import { fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import fc from 'fast-check';
import { crc64 } from '../../src/shared/format/crc64.ts';
import { decodeBody, decodeHeader } from '../../src/shared/format/decode.ts';
import {
  type EncodedFile,
  encodeFile,
  FileEncoder,
  type NewFileHeader,
} from '../../src/shared/format/encode.ts';
import type { LogRecord } from '../../src/shared/model/record.ts';
import { property } from '../etcd/property.ts';
import { FileFooterSchema, FileHeaderSchema, RecordSchema } from './gen/netsy_pb.ts';
import { anyHeader, anyRecord, plain } from './samples.ts';

/** The hand-written codec against code generated from `proto/netsy.proto`, which shares nothing with it. */

const anyFile = fc.tuple(anyHeader, fc.array(anyRecord, { maxLength: 5 }));

/** Splits messages after their lengths. */
function* messages(bytes: Uint8Array): Generator<Uint8Array> {
  let position = 0;
  while (position < bytes.length) {
    let length = 0;
    let factor = 1;
    let byte = 0x80;
    for (; byte >= 0x80; factor *= 128) {
      byte = bytes[position++]!;
      length += (byte & 0x7f) * factor;
    }
    yield bytes.subarray(position, position + length);
    position += length;
  }
}

/** What the CRC must be by the format's own words: that of the message marshalled with its crc 0. */
function crcOf<T extends { crc: bigint }>(message: T, marshal: (message: T) => Uint8Array): bigint {
  return crc64(marshal({ ...message, crc: 0n }));
}

function asRecord(from: MessageShape<typeof RecordSchema>): object {
  const { epochClaim: claim, importEnd: end } = from;
  return {
    operation: from.operation,
    revision: Number(from.revision),
    sub: Number(from.sub),
    key: Buffer.from(from.key).toString('hex'),
    created: from.created,
    deleted: from.deleted,
    createRevision: Number(from.createRevision),
    prevRevision: Number(from.prevRevision),
    version: Number(from.version),
    lease: from.lease,
    value: Buffer.from(from.value).toString('hex'),
    createdAtMs: timestampMs(from.createdAt!),
    ...(from.operation === 1 ? { leaseTtlSeconds: Number(from.leaseTtl) } : {}),
    ...(from.operation === 3 ? { compactRevision: Number(from.compactRevision) } : {}),
    ...(from.ordinal > 0n
      ? { ordinal: Number(from.ordinal), previousOrdinal: Number(from.previousOrdinal) }
      : {}),
    ...(claim && {
      epoch: {
        epoch: Number(claim.epoch),
        skipTo: Number(claim.skipTo),
        holder: claim.holder,
        clusterId: claim.clusterId,
      },
    }),
    ...(end && {
      importEnd: {
        revision: Number(end.revision),
        records: Number(end.records),
        leases: Number(end.leases),
      },
    }),
  };
}

function assertHeader(file: EncodedFile, header: NewFileHeader, records: LogRecord[]): bigint {
  const bytes = [...messages(file.header)][0]!;
  const message = fromBinary(FileHeaderSchema, bytes);
  assert.deepEqual(Buffer.from(toBinary(FileHeaderSchema, message)), Buffer.from(bytes));
  assert.equal(
    message.crc,
    crcOf(message, (unsealed) => toBinary(FileHeaderSchema, unsealed)),
  );
  const seen = {
    schemaVersion: message.schemaVersion,
    kind: message.kind,
    compression: message.compression,
    recordsCount: Number(message.recordsCount),
    leaderId: message.leaderId,
    createdAtMs: timestampMs(message.createdAt!),
    sequence: Number(message.sequence),
    epoch: Number(message.epoch),
    previousChunkCrc: message.previousChunkCrc,
    nonce: message.nonce,
    ...(message.snapshot && {
      snapshot: {
        clusterId: message.snapshot.clusterId,
        nextSequence: Number(message.snapshot.nextSequence),
        revision: Number(message.snapshot.revision),
        compactRevision: Number(message.snapshot.compactRevision),
        compactedRevision: Number(message.snapshot.compactedRevision),
        nextOrdinal: Number(message.snapshot.nextOrdinal),
      },
    }),
  };
  assert.deepEqual(seen, { ...header, recordsCount: records.length });
  return message.crc;
}

function assertBody(file: EncodedFile, headerCrc: bigint, records: LogRecord[]): void {
  const all = [...messages(file.body)];
  const footer = fromBinary(FileFooterSchema, all.pop()!);
  const unsealed = all.map((bytes, index) => {
    const message = fromBinary(RecordSchema, bytes);
    assert.deepEqual(Buffer.from(toBinary(RecordSchema, message)), Buffer.from(bytes));
    assert.deepEqual(asRecord(message), plain(records[index]!));
    assert.equal(
      message.crc,
      crcOf(message, (record) => toBinary(RecordSchema, record)),
    );
    return toBinary(RecordSchema, { ...message, crc: 0n });
  });
  const revisions = records.map((record) => record.revision).filter((revision) => revision > 0);
  assert.equal(footer.recordsCrc, crc64(Buffer.concat(unsealed)));
  assert.equal(footer.firstRevision, BigInt(Math.min(...revisions, revisions[0] ?? 0)));
  assert.equal(footer.lastRevision, BigInt(Math.max(0, ...revisions)));
  assert.equal(footer.headerCrc, headerCrc);
  assert.equal(
    footer.crc,
    crcOf(footer, (message) => toBinary(FileFooterSchema, message)),
  );
  assert.equal(footer.crc, file.crc);
}

property('an encoded file is, byte for byte, what generated code marshals', anyFile, ([header, records]) => {
  const file = encodeFile(header, records);
  assert.deepEqual(Buffer.from(file.bytes), Buffer.concat([file.header, file.body]));
  const headerCrc = assertHeader(file, header, records);
  assertBody(file, headerCrc, records);
});

property('a file that is encoded and decoded is the same', anyFile, ([header, records]) => {
  const file = encodeFile(header, records);
  const { header: decoded, bodyOffset } = decodeHeader(file.bytes, 'file');
  const { crc, byteLength, ...fields } = decoded;
  assert.deepEqual(fields, { ...header, recordsCount: records.length });
  assert.equal(byteLength, bodyOffset);
  const body = decodeBody(file.bytes.subarray(bodyOffset), decoded, 'file');
  assert.deepEqual(body.records.map(plain), records.map(plain));
  assert.equal(body.footer.crc, file.crc);
  assert.equal(body.footer.headerCrc, crc);
});

property('pieces taken one by one are the file', anyFile, ([header, records]) => {
  const encoder = new FileEncoder({ ...header, recordsCount: records.length });
  const pieces = [encoder.take()];
  for (const record of records) {
    encoder.add(record);
    pieces.push(encoder.take());
  }
  encoder.end();
  pieces.push(encoder.take());
  assert.deepEqual(Buffer.concat(pieces), Buffer.from(encodeFile(header, records).bytes));
});
