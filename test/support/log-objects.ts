import { cpSync, readdirSync, rmSync, utimesSync } from 'node:fs';
import { join } from 'node:path';

/** The objects of a log where they are files: in a directory store, or behind an S3 server that keeps them as such. */
export class LogObjects {
  readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
  }

  path(kind: 'chunks' | 'snapshots', sequence: number): string {
    return join(this.directory, kind, `${String(sequence).padStart(19, '0')}.netsy`);
  }

  /** Sequences, in ascending order. */
  sequences(kind: 'chunks' | 'snapshots'): number[] {
    try {
      return readdirSync(join(this.directory, kind))
        .filter((name) => name.endsWith('.netsy'))
        .sort()
        .map((name) => Number.parseInt(name, 10));
    } catch {
      return [];
    }
  }

  /** The packs' paths, by their first sequence. */
  packs(): string[] {
    try {
      const directory = join(this.directory, 'packs');
      return readdirSync(directory)
        .filter((name) => name.endsWith('.netsy'))
        .sort()
        .map((name) => join(directory, name));
    } catch {
      return [];
    }
  }

  /** Makes all that is there older, as the store's clock sees it. */
  age(hours: number): void {
    const at = new Date(Date.now() - hours * 3_600_000);
    for (const kind of ['chunks', 'snapshots'] as const) {
      for (const sequence of this.sequences(kind)) utimesSync(this.path(kind, sequence), at, at);
    }
    for (const path of this.packs()) utimesSync(path, at, at);
  }
}

/**
 * Copies a directory store whose process was killed, without the primary's lease: else a start with another data
 * directory would wait until that is over.
 */
export function copyLog(from: string, to: string): void {
  cpSync(from, to, { recursive: true });
  rmSync(join(to, 'lease'), { recursive: true });
}
