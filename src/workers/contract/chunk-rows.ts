import { NO_BYTES } from '../../shared/base/bytes.ts';
import { keyValueBytes } from '../../shared/etcd/responses.ts';
import { type LogRecord, Operation } from '../../shared/model/record.ts';

/**
 * A chunk's records on their way from the pool, which has checked them, to the writer: puts and deletes in one buffer,
 * ready to be applied, and the few others as they are. A row is `revision, createRevision, version` as f64, `lease` as
 * i64, `sub, flags, keyLength, kvLength` as u32, the key, and the encoded KeyValue.
 */
export interface ChunkRows {
  readonly rows: Uint8Array<ArrayBuffer>;
  /** In order; each has its place among the rows. */
  readonly others: readonly LogRecord[];
}

/** A record to apply; a put's or delete's has no value, which stands in its KeyValue. */
export interface LoadedChange {
  readonly record: LogRecord;
  readonly kv?: Uint8Array;
}

const HEADER_BYTES = 48;
const DELETED = 1;
const CREATED = 2;
/** The next of the others stands here. */
const OTHER = 4;

/** The KeyValue that a put or delete leaves in the history; a delete's has only key and mod_revision. */
export function kvOfRecord(record: LogRecord): Uint8Array {
  const { key, createRevision, revision: modRevision, version, value, lease } = record;
  // What `etcdutl snapshot restore --bump-revision` leaves in an etcd database: a revision without a key.
  if (key.length === 0) return NO_BYTES;
  return keyValueBytes({ key, createRevision, modRevision, version, value, lease });
}

/** Packs a chunk's records. Nothing in it is a view of what they are views of. */
export function packChunkRows(records: readonly LogRecord[]): ChunkRows {
  const kvs = records.map((record) =>
    record.operation === Operation.KeyValue ? kvOfRecord(record) : undefined,
  );
  const bytes = records.reduce((sum, { key }, index) => {
    const kv = kvs[index];
    return sum + HEADER_BYTES + (kv === undefined ? 0 : key.length + kv.length);
  }, 0);
  const rows = new Uint8Array(bytes);
  const view = new DataView(rows.buffer);
  const others: LogRecord[] = [];
  let at = 0;
  for (const [index, record] of records.entries()) {
    const kv = kvs[index];
    if (kv === undefined) {
      view.setUint32(at + 36, OTHER, true);
      others.push({ ...record, key: record.key.slice(), value: record.value.slice() });
      at += HEADER_BYTES;
      continue;
    }
    const { key } = record;
    view.setFloat64(at, record.revision, true);
    view.setFloat64(at + 8, record.createRevision, true);
    view.setFloat64(at + 16, record.version, true);
    if (record.lease !== 0n) view.setBigInt64(at + 24, record.lease, true);
    view.setUint32(at + 32, record.sub, true);
    view.setUint32(at + 36, (record.deleted ? DELETED : 0) | (record.created ? CREATED : 0), true);
    view.setUint32(at + 40, key.length, true);
    view.setUint32(at + 44, kv.length, true);
    rows.set(key, at + HEADER_BYTES);
    rows.set(kv, at + HEADER_BYTES + key.length);
    at += HEADER_BYTES + key.length + kv.length;
  }
  return { rows, others };
}

/** The records of packed rows; keys and KeyValues are views of them. */
export function unpackChunkRows({ rows, others }: ChunkRows): LoadedChange[] {
  const view = new DataView(rows.buffer, rows.byteOffset, rows.byteLength);
  const changes: LoadedChange[] = [];
  let other = 0;
  for (let at = 0; at < rows.length; ) {
    const flags = view.getUint32(at + 36, true);
    if ((flags & OTHER) !== 0) {
      changes.push({ record: others[other++]! });
      at += HEADER_BYTES;
      continue;
    }
    const keyStart = at + HEADER_BYTES;
    const kvStart = keyStart + view.getUint32(at + 40, true);
    const end = kvStart + view.getUint32(at + 44, true);
    const hasLease = view.getInt32(at + 24, true) !== 0 || view.getInt32(at + 28, true) !== 0;
    const record: LogRecord = {
      operation: Operation.KeyValue,
      revision: view.getFloat64(at, true),
      sub: view.getUint32(at + 32, true),
      key: rows.subarray(keyStart, kvStart),
      created: (flags & CREATED) !== 0,
      deleted: (flags & DELETED) !== 0,
      createRevision: view.getFloat64(at + 8, true),
      // Not what `apply` goes by.
      prevRevision: 0,
      version: view.getFloat64(at + 16, true),
      lease: hasLease ? view.getBigInt64(at + 24, true) : 0n,
      value: NO_BYTES,
      createdAtMs: 0,
    };
    changes.push({ record, kv: rows.subarray(kvStart, end) });
    at = end;
  }
  return changes;
}
