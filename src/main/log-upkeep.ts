import type { Clock } from '../shared/base/clock.ts';
import type { Log } from '../shared/base/log.ts';
import type { Random } from '../shared/base/random.ts';
import type { EvaluatedMessage } from '../workers/contract/writer.ts';
import type { Settings } from './config/settings.ts';
import type { TaskPool } from './pool/pool.ts';
import { LogSnapshot } from './state/log-snapshot-client.ts';
import type { Workers } from './state/workers.ts';
import type { WriterClient } from './state/writer-client.ts';
import { retryingStore } from './store/retry.ts';
import type { ObjectStore } from './store/store.ts';
import { Merger } from './upkeep/merger.ts';
import { RestorePoints, type SnapshotsSeen } from './upkeep/restore-points.ts';
import { Retention } from './upkeep/retention.ts';
import { Snapshotter } from './upkeep/snapshotter.ts';

/** How long a read, list or delete is tried again while the store fails. */
const RETRY_MS = 60_000;

export interface LogUpkeepParts {
  settings: Settings;
  store: ObjectStore;
  pool: TaskPool;
  workers: Pick<Workers, 'logSnapshot'>;
  writer: Pick<WriterClient, 'holding'>;
  cacheFile: string;
  nodeId: string;
  /** The last chunk that this process knows to be durable. */
  durableSequence(): number;
  clock: Clock;
  random: Random;
  log: Log;
}

/** What keeps the log bounded: snapshots, the deleting of what they make superfluous, and the merging of chunks. For the primary alone. */
export class LogUpkeep {
  readonly #snapshotter: Snapshotter;
  readonly #retention: Retention | undefined;
  readonly #merger: Merger | undefined;
  readonly #points = new RestorePoints();

  /** Begins at once. */
  constructor(parts: LogUpkeepParts) {
    const { settings, clock, random, log, pool, workers, cacheFile, nodeId } = parts;
    const store = retryingStore(parts.store, { clock, random, retryForMs: RETRY_MS });
    const points = this.#points;
    const { retentionMs, mergeChunks: chunksMax } = settings;
    if (retentionMs !== undefined)
      this.#retention = new Retention({ retentionMs, store, pool, clock, log, points });
    if (chunksMax > 0) this.#merger = new Merger({ ...parts, chunksMax, store });
    this.#snapshotter = new Snapshotter({
      policy: settings.snapshot,
      cacheFile,
      nodeId,
      store,
      pool,
      clock,
      random,
      log,
      points,
      open: (data) => new LogSnapshot(data, workers),
      keepingRows: (work) => parts.writer.holding('compaction', work),
      stored: (snapshot) => this.#retention?.stored(snapshot),
    });
    void this.#snapshotter.start();
    void this.#merger?.start();
  }

  /** A chunk became durable. */
  wrote(chunk: EvaluatedMessage): void {
    this.#snapshotter.wrote(chunk.records, chunk.object.length);
    this.#merger?.wrote(chunk);
  }

  /** The snapshots in the store, and what the log has that the newest of them has not. */
  get restorePoints(): { snapshots: SnapshotsSeen | undefined; since: { records: number; bytes: number } } {
    return { snapshots: this.#points.seen, since: this.#snapshotter.since };
  }

  /** Gives up what is under way, which leaves nothing half done. */
  async stop(): Promise<void> {
    await Promise.all([this.#snapshotter.stop(), this.#retention?.stop(), this.#merger?.stop()]);
  }
}
