import { parentPort, workerData } from 'node:worker_threads';
import type { LogSnapshotData, LogSnapshotReply, LogSnapshotRequest } from './contract/log-snapshot.ts';
import { stepBack } from './priority.ts';
import { SnapshotSource } from './sqlite/snapshot-source.ts';
import { compressBody } from './task/compress.ts';

/**
 * The thread of one snapshot. It makes the next piece while the last one is compressed (by a thread of zstd's)
 * and on its way, and no more: what it holds does not depend on how much there is.
 */

/** Better than the chunks' level: nobody waits, and what is stored is kept and read again. */
const ZSTD_LEVEL = 3;

/** Nobody waits for it, but the log must not grow far beyond it either: beside a thread that wants the same core, a quarter. */
const NICE = 5;

stepBack(NICE);
const port = parentPort!;
const source = new SnapshotSource(workerData as LogSnapshotData);
const pieces = compressedPieces();

async function* compressedPieces(): AsyncGenerator<Uint8Array> {
  // The header is not compressed.
  yield source.next()!;
  let underWay = compressNext();
  for (;;) {
    const piece = await underWay;
    if (piece === undefined) return;
    underWay = compressNext();
    // Its failure is met when its turn comes.
    underWay.catch(() => undefined);
    yield piece;
  }
}

async function compressNext(): Promise<Uint8Array | undefined> {
  const piece = source.next();
  return piece && compressBody(piece, ZSTD_LEVEL);
}

function reply(message: LogSnapshotReply, transfer: ArrayBuffer[] = []): void {
  port.postMessage(message, transfer);
}

async function sendNext(): Promise<void> {
  const { value, done } = await pieces.next();
  if (done === true) {
    // Not held open while the file is read back: meanwhile SQLite's write-ahead log can't start anew.
    source.close();
    return reply({ type: 'end', crc: source.crc! });
  }
  const bytes = value.byteLength === value.buffer.byteLength ? value : value.slice();
  reply({ type: 'piece', bytes, records: source.recordsTaken }, [bytes.buffer as ArrayBuffer]);
}

port.on('message', (request: LogSnapshotRequest) => {
  if (request.type === 'next') {
    sendNext().catch((error: unknown) => reply({ type: 'failed', message: String(error) }));
    return;
  }
  source.close();
  port.close();
});
reply({ type: 'begun', sequence: source.position.sequence, records: source.records });
