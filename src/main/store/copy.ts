import { link } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeDirectory, syncDirectory } from '../../shared/base/directory.ts';
import { CorruptFileError } from '../../shared/format/corrupt.ts';
import { PART_BYTES } from './s3-multipart.ts';
import type { ObjectStore, ReadableStore } from './store.ts';

/**
 * Gives `to` the object of `size` bytes that `from` has under the same key. Two directories on one file system share it
 * ('linked'): objects are never changed in place. Else its bytes go through here ('copied'), a part at a time.
 */
export async function copyObject(
  from: ReadableStore,
  to: ObjectStore,
  { key, size }: { readonly key: string; readonly size: number },
  signal: AbortSignal,
  progress: (bytes: number) => void,
): Promise<'linked' | 'copied'> {
  if (from.url.startsWith('file:') && to.url.startsWith('file:') && (await linked(from, to, key)))
    return 'linked';
  await to.putMultipart(key, partsOf(from, key, size, signal, progress), signal);
  return 'copied';
}

async function linked(from: ReadableStore, to: ObjectStore, key: string): Promise<boolean> {
  const path = pathOf(to.url, key);
  try {
    makeDirectory(dirname(path));
    await link(pathOf(from.url, key), path);
  } catch (error) {
    // Another file system, or one without links: then it is copied, which says better what else is wrong.
    if (error instanceof Error) return false;
    throw error;
  }
  for (const directory of [dirname(path), fileURLToPath(to.url)]) await syncDirectory(directory);
  return true;
}

function pathOf(url: string, key: string): string {
  return `${fileURLToPath(url)}/${key}`;
}

async function* partsOf(
  from: ReadableStore,
  key: string,
  size: number,
  signal: AbortSignal,
  progress: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  for (let offset = 0; offset < size; offset += PART_BYTES) {
    signal.throwIfAborted();
    const length = Math.min(PART_BYTES, size - offset);
    const part = await from.getRange(key, offset, length, signal);
    if (part?.length !== length) {
      const place = { object: key, part: 'footer', index: undefined, offset } as const;
      throw new CorruptFileError(
        place,
        'end',
        `${size} bytes`,
        `the end after ${offset + (part?.length ?? 0)} bytes`,
      );
    }
    progress(offset + length);
    yield part;
  }
}
