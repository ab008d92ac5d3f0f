import { readFileSync } from 'node:fs';

/** How many files, sockets too, this process may have open at once; undefined where the system does not say. */
export function openFilesMax(): number | undefined {
  let limits: string;
  try {
    limits = readFileSync('/proc/self/limits', 'utf8');
  } catch {
    // Not Linux: there is nothing to read.
    return undefined;
  }
  const files = /^Max open files\s+(\d+)/m.exec(limits)?.[1];
  return files === undefined ? undefined : Number(files);
}
