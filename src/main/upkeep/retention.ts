import { sharedAbort } from '../../shared/base/abort.ts';
import type { Clock, Timer } from '../../shared/base/clock.ts';
import { errorMessage } from '../../shared/base/errors.ts';
import type { Log } from '../../shared/base/log.ts';
import { DELETE_AGE_MS_MIN } from '../../shared/model/limits.ts';
import type { TaskPool } from '../pool/pool.ts';
import { type LogObject, listChunks, listPacks } from '../recovery/log-objects.ts';
import { listSnapshots, type StoredSnapshot } from '../recovery/snapshot-list.ts';
import { readSnapshot } from '../recovery/snapshot-reader.ts';
import { StoreError } from '../store/errors.ts';
import type { ObjectStore } from '../store/store.ts';
import { deleteObjects } from './delete-objects.ts';
import { SnapshotPins } from './pins.ts';
import type { RestorePoints } from './restore-points.ts';
import { planRetention } from './retention-plan.ts';

const RUN_EVERY_MS = 3_600_000;

export interface RetentionParts {
  readonly retentionMs: number;
  /** Tries again what fails. */
  readonly store: ObjectStore;
  readonly pool: Pick<TaskPool, 'openPiece' | 'inflate'>;
  readonly clock: Clock;
  readonly log: Log;
  readonly points: RestorePoints;
}

/**
 * Deletes what no restore point within `--retention` needs (see `planRetention`). What keeps it honest:
 *
 * 1. The store itself says what there is, each time anew. So it may be ended at any point, and goes on at the next
 *    run; nothing is remembered but which snapshots were read back whole by this process.
 * 2. Snapshots go before the chunks that would make them useful, and chunks from the first one on. So at any point
 *    each snapshot that is left has every chunk after it.
 * 3. Nothing younger than an hour goes, by the store's clock alone: its time is that of its newest snapshot or pack, or
 *    later. A conditional PUT that is still on its way from a process that was replaced then finds the name taken.
 * 4. A snapshot that a fork in another store refers to stays, see `pins.ts`; only the snapshot, not what is after it.
 */
export class Retention {
  readonly #parts: RetentionParts;
  readonly #whole = new Set<string>();
  readonly #stopping = sharedAbort();
  #saidUnknown = false;
  #timer: Timer | undefined;
  #working: Promise<void> = Promise.resolve();

  constructor(parts: RetentionParts) {
    this.#parts = parts;
    this.#schedule();
  }

  /** A snapshot that this process wrote and has read back; it may make others superfluous. */
  stored(snapshot: StoredSnapshot): void {
    this.#whole.add(wholeKey(snapshot));
    void this.run();
  }

  /** Deletes what may go. Resolves when that is done, or was given up for this time. */
  run(): Promise<void> {
    this.#working = this.#working.then(async () => {
      try {
        if (!this.#stopped) await this.#run();
      } catch (error) {
        const fields = { error: errorMessage(error) };
        if (!this.#stopped)
          this.#parts.log.warn('could not delete what is not kept; trying again later', fields);
      }
    });
    return this.#working;
  }

  /** Resolves when what is under way has come to a point where it can end. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error('stopping'));
    this.#timer?.cancel();
    await this.#working;
  }

  get #stopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  #schedule(): void {
    if (this.#stopped) return;
    this.#timer = this.#parts.clock.after(RUN_EVERY_MS, () => {
      void this.run().then(() => this.#schedule());
    });
  }

  async #run(): Promise<void> {
    const { store, log, retentionMs } = this.#parts;
    const snapshots = await listSnapshots(store);
    const packs = await listPacks(store);
    const nowMs = Math.max(0, ...[...snapshots, ...packs].map(({ modifiedMs }) => modifiedMs));
    const plan = await planRetention(snapshots, retentionMs, nowMs, (snapshot) => this.#isWhole(snapshot));
    const pins = new SnapshotPins(store);
    let deleted = await pins.deleteUnpinned(() => this.#stopped);
    for (const { sequence } of plan.snapshots) {
      if (this.#stopped) return;
      if (await pins.deleteUnlessPinned(sequence)) deleted++;
    }
    this.#parts.points.listed(snapshots.filter((one) => !plan.snapshots.includes(one)));
    this.#sayUnknown(pins.unknown);
    const [chunks, merged] = await this.#deleteLog(packs, plan.chunksTo, nowMs - DELETE_AGE_MS_MIN);
    if (deleted + chunks + merged === 0) return;
    log.info('deleted what is not kept', {
      ...{ chunks, packs: merged, snapshots: deleted, chunksTo: plan.chunksTo },
    });
  }

  #sayUnknown(key: string | undefined): void {
    if (key === undefined || this.#saidUnknown) return;
    this.#saidUnknown = true;
    this.#parts.log.warn('keeping all snapshots: there is a pin that this version does not know', { key });
  }

  /** Deletes the log up to a sequence, as far as it is old enough; resolves to how many chunks and packs are gone. */
  async #deleteLog(packs: readonly LogObject[], to: number, beforeMs: number): Promise<[number, number]> {
    if (to === 0) return [0, 0];
    const { store } = this.#parts;
    // What is left goes on from its first object without a gap: nothing behind a pack that stays is deleted.
    const young = packs.filter(({ modifiedMs }) => modifiedMs > beforeMs);
    const end = Math.min(to, ...young.map(({ first }) => first - 1));
    const isOver = (): boolean => this.#stopped;
    const chunks = async function* (): AsyncGenerator<string> {
      for await (const { key, first, modifiedMs } of listChunks(store)) {
        if (isOver() || first > end || modifiedMs > beforeMs) return;
        yield key;
      }
    };
    const old = async function* (): AsyncGenerator<string> {
      for (const { key, last } of packs) if (!isOver() && last <= end) yield key;
    };
    return [await deleteObjects(store, chunks()), await deleteObjects(store, old())];
  }

  /** Read from end to end, once per process: what is deleted for its sake can't be had again. */
  async #isWhole(snapshot: StoredSnapshot): Promise<boolean> {
    const { store, pool, log } = this.#parts;
    if (this.#whole.has(wholeKey(snapshot))) return true;
    try {
      await readSnapshot({ store, pool, signal: this.#stopping.signal }, snapshot);
      this.#whole.add(wholeKey(snapshot));
      return true;
    } catch (error) {
      if (error instanceof StoreError || this.#stopped) throw error;
      log.error('snapshot is damaged; keeping what it would have replaced', {
        key: snapshot.key,
        error: errorMessage(error),
      });
      return false;
    }
  }
}

/** Another object under the same name is another snapshot. */
function wholeKey({ key, size }: StoredSnapshot): string {
  return `${key} ${size}`;
}
