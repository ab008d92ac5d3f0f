import { sharedAbort } from '../../shared/base/abort.ts';
import { assert } from '../../shared/base/assert.ts';
import { asBuffer } from '../../shared/base/bytes.ts';
import type { Clock, Timer } from '../../shared/base/clock.ts';
import { errorMessage } from '../../shared/base/errors.ts';
import type { Log } from '../../shared/base/log.ts';
import { CorruptFileError } from '../../shared/format/corrupt.ts';
import { LEASES_PREFIX, packKey } from '../../shared/format/names.ts';
import { originOfChunk } from '../../shared/format/origin.ts';
import { lastOfFrame, PACK_FRAME_BYTES } from '../../shared/format/pack.ts';
import { DELETE_AGE_MS_MIN } from '../../shared/model/limits.ts';
import type { TaskPool } from '../pool/pool.ts';
import { type LogObject, listChunks, listPacks, packsInUse } from '../recovery/log-objects.ts';
import { LOG_BEGINNING, LogReader, type LogStart } from '../recovery/log-reader.ts';
import { GoneError, OpenPack } from '../recovery/open-pack.ts';
import { listSnapshots, readSnapshotHeader } from '../recovery/snapshot-list.ts';
import type { ObjectStore } from '../store/store.ts';
import { deleteObjects } from './delete-objects.ts';
import { FreshFrames, type WrittenChunk } from './fresh-frames.ts';
import { PACK_BYTES, planMerge } from './merge-plan.ts';
import { PackBuilder } from './pack-builder.ts';

const LOOK_EVERY_MS = 1000;
/** How often what packs have replaced is looked for. */
const DELETE_EVERY_MS = 600_000;
const RETRY_MS = 60_000;
/** After each frame this waits so many times as long as the frame took, so that whatever else there is comes first. */
const REST_TIMES = 3;
const REST_MS_MAX = 5_000;
/** Objects fetched and opened ahead: few, because others wait for the same threads. */
const AHEAD_OBJECTS = 8;
/** Of chunks that wait to be merged: a pack, and what comes while it is stored. */
const FRESH_BYTES_MAX = 1.5 * PACK_BYTES;

export interface MergerParts {
  /** So many chunks are merged into a pack. */
  readonly chunksMax: number;
  /** Tries again what fails. */
  readonly store: ObjectStore;
  readonly pool: Pick<TaskPool, 'open' | 'openFrame' | 'compress' | 'packFrame'>;
  readonly clock: Clock;
  readonly log: Log;
  /** The last chunk that this process knows to be durable. */
  durableSequence(): number;
}

/**
 * Merges the log's chunks into packs, and small packs into larger ones, off the write path. What keeps it honest:
 *
 * 1. What is merged is what a reader of the log reads, or what this process itself made durable: durable chunks in their
 *    order, none that a fenced process left. So any number of processes may do it at the same time, each with its own ends.
 * 2. A chunk is deleted only when this process has read the pack that holds it back from the store and checked all of
 *    it, and an hour after it was written, by the store's clock: see `Retention`.
 * 3. No chunk is deleted that this process does not know to be durable: it may have put it without hearing so, and put it
 *    again, under a name that must not be used twice.
 * 4. The store says what there is. Nothing is remembered but what was read back, so this may be ended at any point.
 */
export class Merger {
  readonly #parts: MergerParts;
  readonly #reader: LogReader;
  readonly #fresh: FreshFrames;
  readonly #stopping = sharedAbort();
  /** Packs that were read back whole, by key. */
  readonly #whole = new Map<string, OpenPack['frames']>();
  readonly #damaged = new Set<string>();
  /** The pack that this process made last, and where the log goes on behind it. */
  #made: { key: string; end: LogStart } | undefined;
  /** Chunks and their bytes that are in no pack. */
  #since = { chunks: 0, bytes: 0 };
  #deleteAtMs = 0;
  #retryAtMs = 0;
  #timer: Timer | undefined;
  #working: Promise<void> | undefined;

  constructor(parts: MergerParts) {
    const { store, pool } = parts;
    this.#parts = parts;
    this.#fresh = new FreshFrames(pool, FRESH_BYTES_MAX);
    this.#reader = new LogReader({
      store,
      pool,
      signal: this.#stopping.signal,
      aheadMax: AHEAD_OBJECTS,
      damaged: (key, error) => this.#isDamaged(key, error),
    });
  }

  /** Finds out how much the store has that is in no pack, and looks every second from then on. */
  async start(): Promise<void> {
    try {
      const last = packsInUse(await listPacks(this.#parts.store)).pop();
      for await (const { size } of listChunks(this.#parts.store, (last?.last ?? 0) + 1)) {
        this.#count(size);
        if (this.#isDue || this.#isStopped) break;
      }
    } catch (error) {
      this.#failed(error);
    }
    this.#schedule();
  }

  /** A chunk of this process became durable. */
  wrote(chunk: WrittenChunk): void {
    this.#count(chunk.object.length);
    this.#fresh.add(chunk);
  }

  /** Merges what is due and deletes what that replaced. Resolves when it is done, or was given up for this time. */
  async run(): Promise<void> {
    const { clock } = this.#parts;
    const { chunks, bytes } = this.#since;
    try {
      if (this.#isDue) await this.#merge();
      if (clock.monotonicMs() >= this.#deleteAtMs) await this.#delete();
    } catch (error) {
      this.#since.chunks += chunks;
      this.#since.bytes += bytes;
      this.#failed(error);
    }
  }

  /** Resolves when what is under way has come to a point where it can end. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error('stopping'));
    this.#timer?.cancel();
    await this.#working;
  }

  #count(bytes: number): void {
    this.#since.chunks++;
    this.#since.bytes += bytes;
  }

  get #isStopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  get #isDue(): boolean {
    const { chunks, bytes } = this.#since;
    return chunks >= this.#parts.chunksMax || (chunks > 1 && bytes >= PACK_BYTES);
  }

  #schedule(): void {
    if (this.#isStopped) return;
    this.#timer = this.#parts.clock.after(LOOK_EVERY_MS, () => {
      const due = this.#parts.clock.monotonicMs() >= this.#retryAtMs;
      this.#working = (due ? this.run() : Promise.resolve()).then(() => this.#schedule());
    });
  }

  #failed(error: unknown): void {
    if (this.#isStopped) return;
    const { clock, log } = this.#parts;
    log.warn('could not merge chunks; trying again later', { error: errorMessage(error) });
    this.#retryAtMs = clock.monotonicMs() + RETRY_MS;
  }

  #isDamaged(key: string, error: Error): void {
    if (!this.#damaged.has(key)) this.#parts.log.error('pack is damaged', { key, error: error.message });
    this.#damaged.add(key);
  }

  /** Makes packs of the chunks that are in none, then of packs that are small. */
  async #merge(): Promise<void> {
    this.#since = { chunks: 0, bytes: 0 };
    let from = await this.#end();
    if (from === undefined) return;
    const fresh = await this.#fresh.take();
    const lastToRead = fresh === undefined ? Number.POSITIVE_INFINITY : fresh.frames[0]!.frame.first - 1;
    for (;;) {
      const builder = await this.#build(from, lastToRead, PACK_BYTES);
      if (fresh !== undefined && builder.takes(fresh)) await builder.addFrames(fresh);
      else if (builder.chunks < 2 || (builder.chunks < this.#parts.chunksMax && builder.bytes < PACK_BYTES)) {
        // They stay chunks for now.
        this.#since.chunks += builder.chunks;
        this.#since.bytes += builder.bytes;
        break;
      }
      from = await this.#store(builder);
    }
    for (;;) {
      const small = planMerge(await this.#packs());
      if (small === undefined) return;
      const builder = await this.#join(small);
      const { last } = small[small.length - 1]!;
      assert(builder.end.sequence === last, `merging up to ${last} ended at ${builder.end.sequence}`);
      await this.#store(builder);
    }
  }

  /** Those that a reader would take, in the order of the log. */
  async #packs(): Promise<LogObject[]> {
    const packs = await listPacks(this.#parts.store);
    return packsInUse(packs.filter(({ key }) => !this.#damaged.has(key)));
  }

  /** Where the last pack ends, or where the log begins; undefined if there is no log. */
  async #end(): Promise<LogStart | undefined> {
    const { store } = this.#parts;
    const last = (await this.#packs()).pop();
    if (last !== undefined) {
      if (last.key === this.#made?.key) return this.#made.end;
      const { frames } = await this.#open(last);
      const { lastCrc, nextSequence } = frames[frames.length - 1]!;
      return { sequence: last.last, chunkCrc: lastCrc, nextSequence };
    }
    for await (const { first } of listChunks(store)) {
      if (first === 1 && !(await this.#beginsWithSnapshot())) return LOG_BEGINNING;
      break;
    }
    const oldest = (await listSnapshots(store)).pop();
    const header = oldest && (await readSnapshotHeader(store, oldest));
    if (header === undefined) return undefined;
    const { sequence, previousChunkCrc: chunkCrc, snapshot } = header;
    return { sequence, chunkCrc, nextSequence: snapshot.nextSequence };
  }

  /** Whether chunk 1 only says so, as in a store that was restored or forked. */
  async #beginsWithSnapshot(): Promise<boolean> {
    const chunk = await this.#reader.chunkAt(1);
    return chunk !== undefined && originOfChunk(chunk) !== undefined;
  }

  /** Puts into a pack what the log has after `from`: up to the sequence `last`, and so many bytes. */
  async #build(from: LogStart, last: number, bytesMax: number): Promise<PackBuilder> {
    const builder = new PackBuilder(this.#parts.pool, from);
    if (last < from.nextSequence) return builder;
    const rest = this.#rester();
    for await (const chunk of this.#reader.chunks(from)) {
      if (chunk.sequence > last) break;
      if (await builder.add(chunk)) await rest();
      if (builder.bytes >= bytesMax) break;
    }
    return builder;
  }

  /** Puts packs that follow each other into one. */
  async #join(objects: readonly LogObject[]): Promise<PackBuilder> {
    const packs: OpenPack[] = [];
    for (const object of objects) packs.push(await this.#open(object));
    const [{ first }, { last }] = [objects[0]!, objects[objects.length - 1]!];
    const { previousChunkCrc: chunkCrc } = packs[0]!.header;
    const from = { sequence: first - 1, chunkCrc, nextSequence: first };
    const builder = new PackBuilder(this.#parts.pool, from);
    const rest = this.#rester();
    for (const [index, pack] of packs.entries()) {
      // Not when it overlaps, or chunks lie between them.
      const { all } = pack;
      const follows = builder.takes(all);
      if (follows && hasLargeFrames(pack)) await builder.addFrames(all);
      else if (!follows || !(await this.#addChunks(builder, objects[index]!, pack, rest))) {
        return this.#build(from, last, Number.POSITIVE_INFINITY);
      }
      await rest();
    }
    return builder;
  }

  /** Adds the pack's chunks one by one, in frames of a good size; false if it is damaged. */
  async #addChunks(
    builder: PackBuilder,
    object: LogObject,
    pack: OpenPack,
    rest: () => Promise<void>,
  ): Promise<boolean> {
    try {
      for (const frame of pack.frames) {
        for (const chunk of await pack.open(frame, frame.first)) {
          if (await builder.add(chunk)) await rest();
        }
      }
      return true;
    } catch (error) {
      if (!(error instanceof CorruptFileError)) throw error;
      this.#isDamaged(object.key, error);
      return false;
    }
  }

  /** Stores what was built; resolves to where the log goes on. */
  async #store(builder: PackBuilder): Promise<LogStart> {
    const { store, clock, log } = this.#parts;
    const begunMs = clock.monotonicMs();
    const { object, first, last } = await builder.finish();
    const key = packKey(first, last);
    this.#stopping.signal.throwIfAborted();
    const created = await store.putIfAbsent(key, object);
    if (created === 'exists') {
      // This process's own, from a try whose answer was lost or from an earlier run; or another's, with the same chunks.
      const there = await store.get(key);
      if (there === undefined || !asBuffer(there).equals(object)) await store.put(key, object);
    }
    this.#damaged.delete(key);
    this.#whole.delete(key);
    this.#made = { key, end: builder.end };
    const ms = Math.round(clock.monotonicMs() - begunMs);
    log.debug('merged chunks', { key, chunks: builder.chunks, bytes: object.length, ms });
    return builder.end;
  }

  /** Deletes the chunks and the packs that whole packs hold, if they are an hour old. */
  async #delete(): Promise<void> {
    const { store, clock, log } = this.#parts;
    const packs = await listPacks(store);
    const used = packsInUse(packs.filter(({ key }) => !this.#damaged.has(key)));
    const beforeMs = (await this.#storeNowMs(packs)) - DELETE_AGE_MS_MIN;
    for (const key of this.#whole.keys()) if (!used.some((pack) => pack.key === key)) this.#whole.delete(key);
    const chunks = await deleteObjects(store, this.#mergedChunks(used, beforeMs));
    const others = await deleteObjects(store, this.#replacedPacks(packs, used, beforeMs));
    this.#deleteAtMs = clock.monotonicMs() + DELETE_EVERY_MS;
    if (chunks + others > 0) log.info('deleted what packs hold', { chunks, packs: others });
  }

  async *#mergedChunks(used: readonly LogObject[], beforeMs: number): AsyncGenerator<string> {
    let index = 0;
    for await (const { key, first: sequence, modifiedMs } of listChunks(this.#parts.store)) {
      while (index < used.length && used[index]!.last < sequence) index++;
      const pack = used[index];
      if (this.#isStopped || pack === undefined || modifiedMs > beforeMs) return;
      if (sequence > this.#parts.durableSequence()) return;
      if (pack.first > sequence) continue;
      const frames = await this.#wholeFrames(pack);
      // What a fenced process left lies between the pack's chunks, and is not in it.
      const isMerged = frames?.some((frame) => frame.first <= sequence && sequence <= lastOfFrame(frame));
      if (isMerged) yield key;
    }
  }

  async *#replacedPacks(
    packs: readonly LogObject[],
    used: readonly LogObject[],
    beforeMs: number,
  ): AsyncGenerator<string> {
    for (const pack of packs) {
      if (this.#isStopped) return;
      if (used.includes(pack) || pack.modifiedMs > beforeMs) continue;
      const by = used.find(({ first, last }) => first <= pack.first && pack.last <= last);
      if (by !== undefined && (await this.#wholeFrames(by)) !== undefined) yield pack.key;
    }
  }

  /** Not later than the store's clock says: when it took its newest lease or pack. */
  async #storeNowMs(packs: readonly LogObject[]): Promise<number> {
    let nowMs = Math.max(0, ...packs.map(({ modifiedMs }) => modifiedMs));
    for await (const { modifiedMs } of this.#parts.store.list(LEASES_PREFIX))
      nowMs = Math.max(nowMs, modifiedMs);
    return nowMs;
  }

  /** The frames of a pack that this process has read whole; undefined if it is damaged. */
  async #wholeFrames(object: LogObject): Promise<OpenPack['frames'] | undefined> {
    const known = this.#whole.get(object.key);
    if (known !== undefined) return known;
    const rest = this.#rester();
    try {
      const pack = await this.#open(object);
      for (const frame of pack.frames) {
        await pack.open(frame, frame.nextSequence);
        await rest();
      }
      this.#whole.set(object.key, pack.frames);
      return pack.frames;
    } catch (error) {
      if (!(error instanceof CorruptFileError)) throw error;
      this.#isDamaged(object.key, error);
      return undefined;
    }
  }

  /** Its header is good. One that is not counts as damaged from then on. */
  async #open(object: LogObject): Promise<OpenPack> {
    const bytes = await this.#parts.store.get(object.key, this.#stopping.signal);
    if (bytes === undefined) throw new GoneError(`${object.key} was listed and is gone`);
    try {
      return new OpenPack(this.#parts, object, bytes);
    } catch (error) {
      if (error instanceof CorruptFileError) this.#isDamaged(object.key, error);
      throw error;
    }
  }

  /** Waits, in proportion to the time since it was called last. */
  #rester(): () => Promise<void> {
    const { clock } = this.#parts;
    let begunMs = clock.monotonicMs();
    return async () => {
      const restMs = Math.min(REST_MS_MAX, (clock.monotonicMs() - begunMs) * REST_TIMES);
      if (restMs > 0) await clock.sleep(restMs, this.#stopping.signal);
      this.#stopping.signal.throwIfAborted();
      begunMs = clock.monotonicMs();
    };
  }
}

/** Whether its frames need not be put together. */
function hasLargeFrames({ frames }: OpenPack): boolean {
  const contentBytes = frames.reduce((sum, frame) => sum + frame.contentBytes, 0);
  return contentBytes >= (frames.length * PACK_FRAME_BYTES) / 2;
}
