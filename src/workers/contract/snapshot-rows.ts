import type { LogRecord } from '../../shared/model/record.ts';

/**
 * A snapshot's puts and deletes on their way from the pool to the writer: those of a piece in one buffer. A row
 * is `ordinal, previousOrdinal, revision, createRevision, version` as f64, `lease` as 8 bytes big-endian, `sub,
 * deleted, keyLength, kvLength` as u32, the key, and the encoded KeyValue.
 */

const HEADER_BYTES = 64;
const INITIAL_BYTES = 64 * 1024;

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

/** Packs rows. Not reusable after `finish`. */
export class SnapshotRowWriter {
  #bytes = new Uint8Array(INITIAL_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  add(record: LogRecord, kv: Uint8Array): void {
    const start = this.#length;
    this.#reserve(HEADER_BYTES + record.key.length + kv.length);
    const view = this.#view;
    view.setFloat64(start, record.ordinal ?? 0, true);
    view.setFloat64(start + 8, record.previousOrdinal ?? 0, true);
    view.setFloat64(start + 16, record.revision, true);
    view.setFloat64(start + 24, record.createRevision, true);
    view.setFloat64(start + 32, record.version, true);
    view.setBigInt64(start + 40, record.lease);
    view.setUint32(start + 48, record.sub, true);
    view.setUint32(start + 52, record.deleted ? 1 : 0, true);
    view.setUint32(start + 56, record.key.length, true);
    view.setUint32(start + 60, kv.length, true);
    this.#bytes.set(record.key, start + HEADER_BYTES);
    this.#bytes.set(kv, start + HEADER_BYTES + record.key.length);
    this.#length = start + HEADER_BYTES + record.key.length + kv.length;
  }

  /** The packed rows, in a buffer of their own that may be transferred. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length);
  }

  #reserve(extra: number): void {
    const needed = this.#length + extra;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
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
