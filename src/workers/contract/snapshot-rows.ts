import { Writer } from '../../shared/etcd/wire.ts';
import type { LogRecord } from '../../shared/model/record.ts';

/**
 * A snapshot's puts and deletes on their way from the pool to the writer: those of a piece in one buffer. A row
 * is `ordinal, previousOrdinal, revision, createRevision, version` as f64, `lease` as 8 bytes big-endian, `sub,
 * deleted, keyLength, kvLength` as u32, the key, and the encoded KeyValue.
 */

const HEADER_BYTES = 64;

/** One row as the cache wants it. */
export interface SnapshotRow {
  ordinal: number;
  previousOrdinal: number;
  revision: number;
  createRevision: number;
  version: number;
  /** 8 bytes; undefined for none. */
  lease: Uint8Array | undefined;
  sub: number;
  deleted: boolean;
  key: Uint8Array;
  kv: Uint8Array;
}

/** Packs rows. */
export class SnapshotRowWriter {
  readonly #packed = new Writer();
  readonly #header = new Uint8Array(HEADER_BYTES);
  readonly #view = new DataView(this.#header.buffer);

  add(record: LogRecord, kv: Uint8Array): void {
    const view = this.#view;
    view.setFloat64(0, record.ordinal ?? 0, true);
    view.setFloat64(8, record.previousOrdinal ?? 0, true);
    view.setFloat64(16, record.revision, true);
    view.setFloat64(24, record.createRevision, true);
    view.setFloat64(32, record.version, true);
    view.setBigInt64(40, record.lease);
    view.setUint32(48, record.sub, true);
    view.setUint32(52, record.deleted ? 1 : 0, true);
    view.setUint32(56, record.key.length, true);
    view.setUint32(60, kv.length, true);
    this.#packed.raw(this.#header);
    this.#packed.raw(record.key);
    this.#packed.raw(kv);
  }

  /** The packed rows, in a buffer of their own that may be transferred. Empties the writer. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#packed.finish();
  }
}

/** The rows of a packed buffer, in order; keys, values and leases are views into it. */
export function* readSnapshotRows(packed: Uint8Array): Generator<SnapshotRow> {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  for (let start = 0; start < packed.length; ) {
    const keyStart = start + HEADER_BYTES;
    const kvStart = keyStart + view.getUint32(start + 56, true);
    const end = kvStart + view.getUint32(start + 60, true);
    const hasLease = view.getInt32(start + 40) !== 0 || view.getInt32(start + 44) !== 0;
    yield {
      ordinal: view.getFloat64(start, true),
      previousOrdinal: view.getFloat64(start + 8, true),
      revision: view.getFloat64(start + 16, true),
      createRevision: view.getFloat64(start + 24, true),
      version: view.getFloat64(start + 32, true),
      lease: hasLease ? packed.subarray(start + 40, start + 48) : undefined,
      sub: view.getUint32(start + 48, true),
      deleted: view.getUint32(start + 52, true) !== 0,
      key: packed.subarray(keyStart, kvStart),
      kv: packed.subarray(kvStart, end),
    };
    start = end;
  }
}
