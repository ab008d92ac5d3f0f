import type { Dirent } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { isAbsent } from './file-errors.ts';
import { compareKeys } from './keys.ts';
import type { ObjectInfo } from './store.ts';

/** Sizes are asked for this many files at a time. */
const PAGE = 256;

interface Entry {
  /** Full key of a file; of a directory, with a '/' at its end, which is how its keys sort among the files. */
  readonly key: string;
  readonly isDirectory: boolean;
}

/**
 * The files below `root` as objects, in the order of `ObjectStore.list`. Directories that cannot hold a
 * wanted key are not entered. The entry `hidden` of `root` is left out.
 */
export async function* listFiles(
  root: string,
  hidden: string,
  prefix: string,
  startAfter: string | undefined,
): AsyncIterable<ObjectInfo> {
  await stat(root);
  yield* listDirectory(root, '', (key) => {
    if (key === hidden || key === `${hidden}/`) return false;
    return mayHold(key, prefix) && !isPassed(key, startAfter);
  });
}

/** Whether `key`, or for a directory some key in it, begins with `prefix`. */
function mayHold(key: string, prefix: string): boolean {
  return key.startsWith(prefix) || (key.endsWith('/') && prefix.startsWith(key));
}

/** Whether `key`, or for a directory every key in it, is at or before `startAfter`. */
function isPassed(key: string, startAfter: string | undefined): boolean {
  if (startAfter === undefined) return false;
  if (key.endsWith('/') && startAfter.startsWith(key)) return false;
  return compareKeys(key, startAfter) <= 0;
}

async function* listDirectory(
  root: string,
  directory: string,
  wanted: (key: string) => boolean,
): AsyncIterable<ObjectInfo> {
  const entries = await readEntries(root, directory, wanted);
  for (let start = 0; start < entries.length; start += PAGE) {
    const page = entries.slice(start, start + PAGE);
    const files = await Promise.all(page.map((entry) => describe(root, entry)));
    for (const [index, entry] of page.entries()) {
      const file = files[index];
      if (entry.isDirectory) yield* listDirectory(root, entry.key, wanted);
      else if (file !== undefined) yield file;
    }
  }
}

async function readEntries(
  root: string,
  directory: string,
  wanted: (key: string) => boolean,
): Promise<Entry[]> {
  let names: Dirent[];
  try {
    names = await readdir(join(root, directory), { withFileTypes: true });
  } catch (error) {
    if (isAbsent(error)) return [];
    throw error;
  }
  return names
    .filter((name) => name.isFile() || name.isDirectory())
    .map((name) => toEntry(directory, name))
    .filter((entry) => wanted(entry.key))
    .sort((a, b) => compareKeys(a.key, b.key));
}

function toEntry(directory: string, name: Dirent): Entry {
  const isDirectory = name.isDirectory();
  return { key: `${directory}${name.name}${isDirectory ? '/' : ''}`, isDirectory };
}

/** Undefined for a directory, and for a file that was deleted since its directory was read. */
async function describe(root: string, entry: Entry): Promise<ObjectInfo | undefined> {
  if (entry.isDirectory) return undefined;
  try {
    const { size, mtimeMs } = await stat(join(root, entry.key));
    return { key: entry.key, size, modifiedMs: mtimeMs };
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}
