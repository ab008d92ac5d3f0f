import type { Log } from '../../shared/base/log.ts';
import { EtcdError } from '../../shared/etcd/errors.ts';
import { delimitedSize, varintSize, Writer } from '../../shared/etcd/wire.ts';
import type { ReadGate } from '../commit/read-gate.ts';
import type { Snapshot } from '../state/snapshot-client.ts';
import { checkMessage, failStream, type StreamingCall, sendMessage } from './service.ts';

export interface SnapshotStreamParts {
  gate: ReadGate;
  log: Log;
  open(): Snapshot;
  /** etcd's storage version. */
  storageVersion(): string;
}

/** As etcd's. */
const BLOB_BYTES = 32 * 1024;
const PIECE_BYTES = 32 * BLOB_BYTES;
/** Each builds a file as large as the database. */
const SNAPSHOTS_MAX = 2;
/** SnapshotResponse.remaining_bytes, blob and version. etcd sends no header. */
const TAGS = { remainingBytes: 16, blob: 26, version: 34 } as const;

/**
 * Serves Maintenance.Snapshot: etcd's database file in blobs, then its SHA-256. The file has everything that was
 * durable when the call arrived. A client that is slow is waited for, one that is gone ends the work.
 */
export class SnapshotStreams {
  readonly #parts: SnapshotStreamParts;
  #open = 0;

  constructor(parts: SnapshotStreamParts) {
    this.#parts = parts;
  }

  async stream(call: StreamingCall): Promise<void> {
    try {
      checkMessage(call.request);
      await this.#passGate();
      if (call.cancelled) return;
      if (this.#open >= SNAPSHOTS_MAX) throw new EtcdError('RequestTooManyRequests');
      await this.#send(call);
      call.end();
    } catch (error) {
      if (!call.cancelled) failStream(call, error);
    }
  }

  async #send(call: StreamingCall): Promise<void> {
    const { log, open, storageVersion } = this.#parts;
    this.#open++;
    const snapshot = open();
    const close = (): void => snapshot.close();
    call.once('cancelled', close);
    try {
      const bytes = await snapshot.built();
      log.info('sending a snapshot', { bytes });
      await sendFile(call, snapshot, bytes, Buffer.from(storageVersion()));
      log.info('sent a snapshot', { bytes });
    } finally {
      call.removeListener('cancelled', close);
      snapshot.close();
      this.#open--;
    }
  }

  async #passGate(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#parts.gate.enter((error) => (error === undefined ? resolve() : reject(error)), false);
    });
  }
}

async function sendFile(
  call: StreamingCall,
  snapshot: Snapshot,
  total: number,
  version: Uint8Array,
): Promise<void> {
  let remaining = total;
  while (true) {
    const { bytes, digest } = await snapshot.next(PIECE_BYTES);
    for (let start = 0; start < bytes.length; start += BLOB_BYTES) {
      const blob = bytes.subarray(start, start + BLOB_BYTES);
      remaining -= blob.length;
      await sendMessage(call, encodeResponse(remaining, blob, version));
    }
    if (digest === undefined) continue;
    await sendMessage(call, encodeResponse(0, digest, version));
    return;
  }
}

function encodeResponse(remaining: number, blob: Uint8Array, version: Uint8Array): Uint8Array {
  const size = 1 + varintSize(remaining) + 1 + delimitedSize(blob.length) + 1 + delimitedSize(version.length);
  const writer = new Writer(size);
  if (remaining > 0) {
    writer.varint(TAGS.remainingBytes);
    writer.varint(remaining);
  }
  writer.varint(TAGS.blob);
  writer.delimited(blob);
  writer.varint(TAGS.version);
  writer.delimited(version);
  return writer.view();
}
