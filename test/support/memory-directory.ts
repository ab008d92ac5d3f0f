import { existsSync, statfsSync } from 'node:fs';

const PATH = '/dev/shm';

/** Linux's directory in memory; undefined on other systems, and where it has less than `bytesMin` free. */
export function memoryDirectory(bytesMin = 0): string | undefined {
  if (!existsSync(PATH)) return undefined;
  const { bavail, bsize } = statfsSync(PATH);
  return bavail * bsize >= bytesMin ? PATH : undefined;
}
