import type { TaskPool } from '../../src/main/pool/pool.ts';
import type { LogReaderParts } from '../../src/main/recovery/log-reader.ts';
import { readSnapshot, type SnapshotReaderParts } from '../../src/main/recovery/snapshot-reader.ts';
import type { ObjectStore } from '../../src/main/store/store.ts';
import { snapshotKey } from '../../src/shared/format/names.ts';
import type { LogSnapshotData } from '../../src/workers/contract/log-snapshot.ts';
import type { SnapshotPiece } from '../../src/workers/contract/task.ts';
import { SnapshotSource } from '../../src/workers/sqlite/snapshot-source.ts';
import { compressBody } from '../../src/workers/task/compress.ts';
import { inflateFrame, openChunk, openFrame } from '../../src/workers/task/open.ts';
import { packFrame } from '../../src/workers/task/pack.ts';
import { openPiece } from '../../src/workers/task/piece.ts';

/** The pool's tasks without its threads. */
export const localPool: SnapshotReaderParts['pool'] &
  LogReaderParts['pool'] &
  Pick<TaskPool, 'compress' | 'packFrame'> = {
  open: openChunk,
  openFrame,
  compress: (body) => compressBody(body, 1),
  packFrame: (chunks) => packFrame({ chunks, level: 1 }),
  openPiece: (task) => openPiece({ type: 'piece', ...task }),
  inflate: (frame, name, offset) => inflateFrame(frame, name, offset),
};

function snapshotData(cacheFile: string): LogSnapshotData {
  return { cacheFile, nodeId: 'test', createdAtMs: 1_790_000_000_000, nonce: 5n };
}

/** The object of a snapshot of `cacheFile`, without the thread that makes it; `begun` is called before it reads rows. */
export async function snapshotObject(
  cacheFile: string,
  over: Partial<LogSnapshotData> = {},
  begun: () => void = () => undefined,
): Promise<{ sequence: number; object: Buffer }> {
  const source = new SnapshotSource({ ...snapshotData(cacheFile), ...over });
  try {
    const pieces: Uint8Array[] = [source.next()!];
    begun();
    for (let piece = source.next(); piece !== undefined; piece = source.next()) {
      pieces.push(await compressBody(piece, 3));
    }
    return { sequence: source.position.sequence, object: Buffer.concat(pieces) };
  } finally {
    source.close();
  }
}

/** Reads what `store` has under a snapshot's name, whose size is `size`. */
export async function readStored(
  store: Pick<ObjectStore, 'getRange'>,
  sequence: number,
  size: number,
): Promise<{ pieces: SnapshotPiece[]; header: Awaited<ReturnType<typeof readSnapshot>>['header'] }> {
  const pieces: SnapshotPiece[] = [];
  const { header } = await readSnapshot(
    { store, pool: localPool },
    { key: snapshotKey(sequence), size, sequence, modifiedMs: 0 },
    { begin: async () => {}, take: async (piece) => void pieces.push(piece) },
  );
  return { pieces, header };
}
