import { Reader } from '../etcd/wire.ts';
import {
  type EpochClaim,
  type ImportEnd,
  type LogRecord,
  Operation,
  operationRecord,
} from '../model/record.ts';
import { Fault } from './corrupt.ts';
import {
  EpochClaimTag,
  ImportEndTag,
  RecordTag,
  readCount,
  readFixed64,
  readString,
  readTimestamp,
} from './fields.ts';

const OPERATION_MAX = Math.max(...Object.values(Operation));

/**
 * Decodes one Record message. Key and value are views of `message`, not copies. Throws `Fault` or
 * `MalformedMessageError`.
 */
export function decodeRecord(message: Uint8Array): LogRecord {
  const record = operationRecord(Operation.KeyValue, 0);
  const reader = new Reader(message);
  while (reader.more()) {
    const tag = reader.tag();
    if (tag <= RecordTag.createdAt) readNetsyField(reader, tag, record);
    else readOurField(reader, tag, record);
  }
  checkRecord(record);
  return record;
}

/** Fields 1 to 12. */
function readNetsyField(reader: Reader, tag: number, record: LogRecord): void {
  switch (tag) {
    case RecordTag.revision:
      record.revision = readCount(reader, 'revision');
      break;
    case RecordTag.key:
      record.key = reader.bytes();
      break;
    case RecordTag.created:
      record.created = reader.bool();
      break;
    case RecordTag.deleted:
      record.deleted = reader.bool();
      break;
    case RecordTag.createRevision:
      record.createRevision = readCount(reader, 'create_revision');
      break;
    case RecordTag.prevRevision:
      record.prevRevision = readCount(reader, 'prev_revision');
      break;
    case RecordTag.version:
      record.version = readCount(reader, 'version');
      break;
    case RecordTag.lease:
      record.lease = reader.bigint64();
      break;
    case RecordTag.dek:
      refuseEncrypted(reader.bigint64());
      break;
    case RecordTag.value:
      record.value = reader.bytes();
      break;
    case RecordTag.createdAt:
      record.createdAtMs = readTimestamp(reader);
      break;
    default:
      reader.skip(tag);
  }
}

/** Fields 100 and up, and those that nobody here needs. */
function readOurField(reader: Reader, tag: number, record: LogRecord): void {
  switch (tag) {
    case RecordTag.compactedAt:
      record.compacted = true;
      reader.skip(tag);
      break;
    case RecordTag.sub:
      record.sub = readCount(reader, 'sub');
      break;
    case RecordTag.operation:
      record.operation = readOperation(reader);
      break;
    case RecordTag.leaseTtl:
      record.leaseTtlSeconds = readCount(reader, 'lease_ttl');
      break;
    case RecordTag.compactRevision:
      record.compactRevision = readCount(reader, 'compact_revision');
      break;
    case RecordTag.epochClaim:
      record.epoch = decodeEpochClaim(reader.bytes());
      break;
    case RecordTag.importEnd:
      record.importEnd = decodeImportEnd(reader.bytes());
      break;
    case RecordTag.ordinal:
      record.ordinal = readCount(reader, 'ordinal');
      break;
    case RecordTag.previousOrdinal:
      record.previousOrdinal = readCount(reader, 'previous_ordinal');
      break;
    default:
      reader.skip(tag);
  }
}

function refuseEncrypted(dek: bigint): void {
  if (dek !== 0n) throw new Fault('dek', '0 (encrypted records are not supported)', String(dek));
}

/** An operation that is not known can't be applied, so it can't be passed over either. */
function readOperation(reader: Reader): Operation {
  const operation = reader.int32();
  if (operation < 0 || operation > OPERATION_MAX) {
    throw new Fault('operation', `one of 0 to ${OPERATION_MAX}`, String(operation));
  }
  return operation as Operation;
}

function decodeEpochClaim(message: Uint8Array): EpochClaim {
  const claim: EpochClaim = { epoch: 0, skipTo: 0, holder: '', clusterId: 0n };
  const reader = new Reader(message);
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === EpochClaimTag.epoch) claim.epoch = readCount(reader, 'epoch');
    else if (tag === EpochClaimTag.skipTo) claim.skipTo = readCount(reader, 'skip_to');
    else if (tag === EpochClaimTag.holder) claim.holder = readString(reader, 'holder');
    else if (tag === EpochClaimTag.clusterId) claim.clusterId = readFixed64(reader, message, tag);
    else reader.skip(tag);
  }
  return claim;
}

function decodeImportEnd(message: Uint8Array): ImportEnd {
  const end: ImportEnd = { revision: 0, records: 0, leases: 0 };
  const reader = new Reader(message);
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === ImportEndTag.revision) end.revision = readCount(reader, 'revision');
    else if (tag === ImportEndTag.records) end.records = readCount(reader, 'records');
    else if (tag === ImportEndTag.leases) end.leases = readCount(reader, 'leases');
    else reader.skip(tag);
  }
  return end;
}

/** Fills in what proto3 leaves out, and refuses a record that can't be applied. */
function checkRecord(record: LogRecord): void {
  const { operation } = record;
  if (operation === Operation.KeyValue) {
    if (record.revision === 0) throw new Fault('revision', '1 or more', '0');
    return;
  }
  if (operation === Operation.LeaseGrant) record.leaseTtlSeconds ??= 0;
  else if (operation === Operation.Compaction) record.compactRevision ??= 0;
  else if (operation === Operation.Epoch && record.epoch === undefined) {
    throw new Fault('epoch_claim', 'one in an epoch record', 'none');
  } else if (operation === Operation.ImportEnd && record.importEnd === undefined) {
    throw new Fault('import_end', 'one in an import end record', 'none');
  }
}
