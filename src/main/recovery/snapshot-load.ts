import type { Clock } from '../../shared/base/clock.ts';
import type { Log } from '../../shared/base/log.ts';
import { CorruptFileError } from '../../shared/format/corrupt.ts';
import type { SnapshotHeader } from '../../shared/format/snapshot.ts';
import type { FilledPosition, LogPosition } from '../../workers/contract/writer.ts';
import type { WriterClient } from '../state/writer-client.ts';
import { Progress } from './progress.ts';
import type { StoredSnapshot } from './snapshot-list.ts';
import { readSnapshot, type SnapshotReaderParts } from './snapshot-reader.ts';

export interface SnapshotLoadParts extends SnapshotReaderParts {
  writer: Pick<WriterClient, 'fillBegin' | 'fill' | 'fillEnd'>;
  clock: Clock;
  log: Log;
}

/** Fills the cache from a snapshot. */
export class SnapshotLoad {
  /** Why the snapshots that were tried could not be used. */
  readonly failures: string[] = [];
  readonly #parts: SnapshotLoadParts;

  constructor(parts: SnapshotLoadParts) {
    this.#parts = parts;
  }

  /**
   * Loads the first of `snapshots` that is whole, and says of each before it why it is not; undefined if none is,
   * and then the cache is to be reset. Rejects when the store or the disk fails.
   */
  async newestUsable(snapshots: readonly StoredSnapshot[]): Promise<LogPosition | undefined> {
    for (const snapshot of snapshots) {
      try {
        return await this.#load(snapshot);
      } catch (error) {
        // A store or a disk that fails would fail with the next one, too.
        if (!(error instanceof CorruptFileError)) throw error;
        this.#parts.log.error('snapshot is damaged; using the one before it', {
          key: snapshot.key,
          error: error.message,
        });
        this.failures.push(error.message);
      }
    }
    return undefined;
  }

  async #load(snapshot: StoredSnapshot): Promise<LogPosition> {
    const { writer, clock, log } = this.#parts;
    const { key, size } = snapshot;
    const progress = new Progress(clock, log, `recovering: loading ${key}`);
    const { header } = await readSnapshot(this.#parts, snapshot, {
      begin: () => writer.fillBegin(),
      take: async (piece, records, bytes) => {
        progress.update(() => ({ records, bytes, bytesTotal: size }));
        await writer.fill({ rows: piece.rows, leases: piece.leases, system: piece.system });
      },
    });
    const readMs = progress.elapsedMs;
    log.info('recovering: sorting the keys', { records: header.recordsCount, readMs });
    const position = await writer.fillEnd(positionOf(header));
    log.info('loaded a snapshot', {
      key,
      records: header.recordsCount,
      bytes: size,
      sequence: position.sequence,
      revision: position.revision,
      readMs,
      ms: progress.elapsedMs,
    });
    return position;
  }
}

/** Where the log stands at the end of a snapshot. */
export function positionOf({ sequence, previousChunkCrc, epoch, snapshot }: SnapshotHeader): FilledPosition {
  return { sequence, chunkCrc: previousChunkCrc, epoch, ...snapshot };
}
