import '../shared/base/base64.ts';
import { move, transferableSymbol, valueSymbol } from 'piscina';
import { CorruptFileError } from '../shared/format/corrupt.ts';
import type {
  CacheComparison,
  LogCopy,
  PackedFrame,
  SnapshotPiece,
  TaskCorrupt,
  TaskRefused,
  TaskRequest,
} from './contract/task.ts';
import type { LoadedChunk } from './contract/writer.ts';
import { compressBody } from './task/compress.ts';
import { inflateFrame, openChunk, openFrame } from './task/open.ts';
import { packFrame } from './task/pack.ts';
import { openPiece } from './task/piece.ts';

/** Runs one task of the piscina pool. */
export default async function run(
  task: TaskRequest,
): Promise<
  | Uint8Array
  | LoadedChunk
  | LoadedChunk[]
  | PackedFrame
  | SnapshotPiece
  | CacheComparison
  | LogCopy
  | TaskCorrupt
  | TaskRefused
> {
  switch (task.type) {
    case 'compress':
      return compressed(task);
    case 'open':
      return corruptAsData(async () => {
        const chunk = await openChunk(task.name, task.sequence, task.object, task.form);
        return handedOver(chunk, partsOf(chunk));
      });
    case 'frame':
      return corruptAsData(async () => {
        const chunks = await openFrame(task);
        return handedOver(chunks, chunks.flatMap(partsOf));
      });
    case 'pack':
      return corruptAsData(async () => {
        const packed = await packFrame(task);
        return handedOver(packed, [packed.stored]);
      });
    case 'piece':
      return corruptAsData(async () => {
        const piece = await openPiece(task);
        return handedOver(piece, [piece.rows]);
      });
    case 'inflate':
      return corruptAsData(() => inflateFrame(task.frame, task.name, task.offset));
    case 'checkpoint':
      return (await import('./task/checkpoint.ts')).checkpoint(task.cacheFile);
    case 'compareCaches': {
      const { compareCaches } = await import('./sqlite/cache-differences.ts');
      return compareCaches(task.expectedFile, task.foundFile, task.differencesMax);
    }
    case 'bodyToMessage':
      return (await json()).readJson(task.message, task.body);
    case 'messageToJson':
      return (await json()).writeJson(task.message, task.bytes, task.place);
  }
}

/** As SQLite loaded by the thread that needs it: the descriptors of all messages took longer than all else. */
function json(): Promise<typeof import('./task/json.ts')> {
  return import('./task/json.ts');
}

async function compressed({
  body,
  plain,
  level,
}: Extract<TaskRequest, { type: 'compress' }>): Promise<Uint8Array> {
  const frame = await compressBody(body.subarray(plain), level);
  // zstd's own buffer can't be handed over.
  const out = new Uint8Array(plain + frame.length);
  out.set(body.subarray(0, plain));
  out.set(frame, plain);
  return handedOver(out, [out]);
}

async function corruptAsData<T>(open: () => Promise<T>): Promise<T | TaskCorrupt> {
  try {
    return await open();
  } catch (error) {
    if (!(error instanceof CorruptFileError)) throw error;
    const { object, part, index, offset, check, expected, found } = error;
    return { type: 'corrupt', place: { object, part, index, offset }, check, expected, found };
  }
}

function partsOf({ header, body, rows }: LoadedChunk): Uint8Array[] {
  return rows === undefined ? [header, body] : [rows.rows];
}

/** `value`, whose large `parts` are handed to the other thread instead of being copied. */
function handedOver<T extends object>(value: T, parts: Uint8Array[]): T {
  const buffers = [...new Set(parts.map(({ buffer }) => buffer as ArrayBuffer))].filter(
    ({ byteLength }) => byteLength > 0,
  );
  return move({ [transferableSymbol]: buffers, [valueSymbol]: value }) as T;
}
