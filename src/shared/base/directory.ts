import { closeSync, constants, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { dirname } from 'node:path';

/** What a directory may be read by: its owner alone. */
const MODE = 0o700;

/**
 * Makes a directory and the ones above it, if they are missing. Throws the system's error, or one that says
 * where none can be made. Node's own recursive mkdir never
 * returns where a file system answers ENOENT for every name, as /proc does.
 */
export function makeDirectory(path: string): void {
  try {
    make(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || dirname(path) === path) throw error;
    makeDirectory(dirname(path));
    makeBelow(path);
  }
}

/** The directory above is there, so a system that says otherwise means that it has no room for names of ours. */
function makeBelow(path: string): void {
  try {
    make(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new Error(`no directory can be made in ${dirname(path)}; choose another place`, { cause: error });
  }
}

function make(path: string): void {
  try {
    mkdirSync(path, { mode: MODE });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

/** Makes durable which names are in a directory. Rejects with the system's error. */
export async function syncDirectory(path: string): Promise<void> {
  const handle = await open(path, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes durable what a file, or which names a directory, holds. Throws the system's error. */
export function syncPath(path: string): void {
  const descriptor = openSync(path, constants.O_RDONLY);
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
