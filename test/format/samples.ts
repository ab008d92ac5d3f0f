import fc from 'fast-check';
import type { NewFileHeader } from '../../src/shared/format/encode.ts';
import { FileCompression, FileKind, SCHEMA_VERSION } from '../../src/shared/format/file.ts';
import { type LogRecord, Operation, systemRecord } from '../../src/shared/model/record.ts';

/** Headers and records to test with: one fixed pair, and arbitraries for the rest. */

export function sampleHeader(over: Partial<NewFileHeader> = {}): NewFileHeader {
  return {
    schemaVersion: SCHEMA_VERSION,
    kind: FileKind.Chunk,
    compression: FileCompression.None,
    leaderId: 'node-1',
    createdAtMs: 1_790_000_000_123,
    sequence: 77,
    epoch: 3,
    previousChunkCrc: 0xf123_4567_89ab_cdefn,
    nonce: 0x8000_0000_0000_0001n,
    ...over,
  };
}

export function samplePut(over: Partial<LogRecord> = {}): LogRecord {
  return {
    operation: Operation.KeyValue,
    revision: 1001,
    sub: 0,
    key: Buffer.from('/registry/pods/default/a'),
    created: true,
    deleted: false,
    createRevision: 1001,
    prevRevision: 0,
    version: 1,
    lease: 0n,
    value: Buffer.from('value value value value value'),
    createdAtMs: 1_790_000_000_456,
    ...over,
  };
}

/** One record of every operation. */
export function sampleRecords(): LogRecord[] {
  const operation = { revision: 0, key: new Uint8Array(0), value: new Uint8Array(0), created: false };
  const none = { ...operation, createRevision: 0, version: 0 };
  const claim = { epoch: 3, skipTo: 143, holder: 'node-1', clusterId: 0x7fff_0000_0000_0001n };
  return [
    samplePut({ lease: -2n }),
    samplePut({
      sub: 1,
      created: false,
      deleted: true,
      version: 0,
      value: new Uint8Array(0),
      prevRevision: 9,
    }),
    samplePut({ ...none, operation: Operation.LeaseGrant, lease: 2n ** 62n + 1n, leaseTtlSeconds: 3600 }),
    samplePut({ ...none, operation: Operation.LeaseRevoke, lease: 7n }),
    samplePut({ ...none, operation: Operation.Compaction, compactRevision: 990 }),
    systemRecord({ name: 'auth/users/root', value: Buffer.from([1, 2, 3]) }, 1_700_000_000_123),
    samplePut({ ...none, operation: Operation.Epoch, epoch: claim }),
    samplePut({
      ...none,
      operation: Operation.ImportEnd,
      importEnd: { revision: 1000, records: 20, leases: 3 },
    }),
  ];
}

/** Numbers of every varint length, the ends included. */
const count = fc.oneof(
  fc.nat(300),
  fc.maxSafeNat().map((value) => Math.min(value, Number.MAX_SAFE_INTEGER - 1)),
  fc.constantFrom(0, 1, 127, 128, 2 ** 28, 2 ** 31, 2 ** 32, 2 ** 35, 2 ** 53 - 2),
);
const uint64 = fc.oneof(fc.constantFrom(0n, 1n, 2n ** 63n, 2n ** 64n - 1n), fc.bigInt(0n, 2n ** 64n - 1n));
const int64 = uint64.map((value) => BigInt.asIntN(64, value));
const text = fc.string({ unit: 'grapheme', maxLength: 40 });
const bytes = fc.uint8Array({ maxLength: 300 });
const milliseconds = fc.oneof(
  fc.constantFrom(0, 999, 1000, -1),
  fc.integer({ min: -62_135_596_800_000, max: 253_402_300_799_999 }),
);

const compaction = fc.oneof(fc.constant(-1), count);

const anySnapshotState = fc.record(
  {
    clusterId: uint64,
    nextSequence: count,
    revision: count,
    compactRevision: compaction,
    compactedRevision: compaction,
    nextOrdinal: count,
  },
  { noNullPrototype: true },
);

const anyPlainHeader: fc.Arbitrary<NewFileHeader> = fc.record({
  schemaVersion: fc.nat(2 ** 32 - 1),
  kind: fc.constantFrom(FileKind.Chunk, FileKind.Snapshot),
  compression: fc.constantFrom(FileCompression.None, FileCompression.Zstd),
  leaderId: text,
  createdAtMs: milliseconds,
  sequence: count,
  epoch: count,
  previousChunkCrc: uint64,
  nonce: uint64,
});

export const anyHeader: fc.Arbitrary<NewFileHeader> = fc
  .tuple(anyPlainHeader, fc.option(anySnapshotState, { nil: undefined }))
  .map(([header, snapshot]) => (snapshot === undefined ? header : { ...header, snapshot }));

const anyEpoch = fc.record(
  { epoch: count, skipTo: count, holder: text, clusterId: uint64 },
  { noNullPrototype: true },
);

const anyImportEnd = fc.record({ revision: count, records: count, leases: count }, { noNullPrototype: true });

const anyCommon = fc.record({
  revision: count,
  sub: count,
  key: bytes,
  created: fc.boolean(),
  deleted: fc.boolean(),
  createRevision: count,
  prevRevision: count,
  version: count,
  lease: int64,
  value: bytes,
  createdAtMs: milliseconds,
});

const anyDetail = fc.oneof(
  fc.record({ operation: fc.constant(Operation.KeyValue) }),
  fc.record({
    operation: fc.constant(Operation.KeyValue),
    ordinal: count.map((value) => Math.min(value + 1, 2 ** 53 - 2)),
    previousOrdinal: count.map((value) => Math.min(value + 1, 2 ** 53 - 2)),
  }),
  fc.record({ operation: fc.constant(Operation.LeaseGrant), leaseTtlSeconds: count }),
  fc.record({ operation: fc.constant(Operation.LeaseRevoke) }),
  fc.record({ operation: fc.constant(Operation.Compaction), compactRevision: count }),
  fc.record({ operation: fc.constant(Operation.System) }),
  fc.record({ operation: fc.constant(Operation.Epoch), epoch: anyEpoch }),
  fc.record({ operation: fc.constant(Operation.ImportEnd), importEnd: anyImportEnd }),
);

export const anyRecord: fc.Arbitrary<LogRecord> = fc.tuple(anyCommon, anyDetail).map(([common, detail]) => {
  const revision = detail.operation === Operation.KeyValue ? Math.max(1, common.revision) : common.revision;
  return { ...common, ...detail, revision } as LogRecord;
});

/** Equal contents in one form, whatever kind of byte array they are in. */
export function plain(record: LogRecord): object {
  const { key, value, ...rest } = record;
  return {
    ...rest,
    key: Buffer.from(key).toString('hex'),
    value: Buffer.from(value).toString('hex'),
  };
}
