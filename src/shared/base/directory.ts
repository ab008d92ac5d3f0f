import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';

/** What a directory may be read by: its owner alone. */
const MODE = 0o700;

/**
 * Makes a directory and the ones above it, if they are missing. Throws the system's error. Node's own recursive
 * mkdir never returns where a file system answers ENOENT for every name, as /proc does.
 */
export function makeDirectory(path: string): void {
  try {
    make(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || dirname(path) === path) throw error;
    makeDirectory(dirname(path));
    make(path);
  }
}

function make(path: string): void {
  try {
    mkdirSync(path, { mode: MODE });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}
