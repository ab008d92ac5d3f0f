import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type LogObject, listPacks } from '../../src/main/recovery/log-objects.ts';
import {
  LOG_BEGINNING,
  type LogChunk,
  LogReader,
  type LogStart,
} from '../../src/main/recovery/log-reader.ts';
import { OpenPack } from '../../src/main/recovery/open-pack.ts';
import { listSnapshots, readSnapshotHeader } from '../../src/main/recovery/snapshot-list.ts';
import type { ObjectStore } from '../../src/main/store/store.ts';
import { Merger } from '../../src/main/upkeep/merger.ts';
import { RestorePoints } from '../../src/main/upkeep/restore-points.ts';
import { Retention } from '../../src/main/upkeep/retention.ts';
import { silentLog } from '../../src/shared/base/log.ts';
import { CorruptFileError } from '../../src/shared/format/corrupt.ts';
import {
  chunkKey,
  leaseKey,
  parseChunkKey,
  parsePackKey,
  snapshotKey,
} from '../../src/shared/format/names.ts';
import { lastOfFrame } from '../../src/shared/format/pack.ts';
import { collected } from '../cluster/world.ts';
import { ManualClock } from '../support/clock.ts';
import { MadeLog } from '../support/made-log.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { localPool, snapshotObject } from '../support/snapshots.ts';
import { LocalWriter } from '../workers/local-writer.ts';

export const HOUR_MS = 3_600_000;

/** A store, its log, and the upkeep of as many processes as a test likes. */
export class Site {
  nowMs = 1_000_000 * HOUR_MS;
  readonly store = new MemoryStore(() => this.nowMs);
  readonly log = new MadeLog(this.store);
  /** Up to where the processes know. */
  durableSequence = Number.POSITIVE_INFINITY;
  /** Every chunk of the log, as it was before anything was merged. */
  readonly #original = new Map<number, LogChunk>();
  readonly #writer = new LocalWriter();

  /** Another primary, `chunks` of its chunks, and what the one before it left. */
  async term(chunks: number, stragglers: number): Promise<void> {
    await this.log.claim();
    const skipped = this.log.next - 65;
    for (let left = 1; left <= stragglers; left++) await this.log.straggle(skipped + left);
    await this.write(chunks);
  }

  /** So many chunks; of `valueBytes` that can't be compressed well, if that is given. */
  async write(chunks: number, valueBytes?: number): Promise<void> {
    for (let chunk = 0; chunk < chunks; chunk++) {
      const key = `key-${this.log.next % 11}`;
      const short = this.log.next % 5 === 0 ? undefined : 'x'.repeat(this.log.next % 300);
      const value = valueBytes === undefined ? short : randomBytes(valueBytes).toString('latin1');
      await this.log.write([[key, value]]);
    }
    await this.#learn();
    // Renewed all the time: by it the store's time is known.
    await this.store.put(leaseKey(1), Buffer.from('lease'));
  }

  /** Tells `process` that it wrote the last `chunks` chunks. */
  async tell(process: Merger, chunks: number): Promise<void> {
    for (const sequence of this.log.sequences.slice(-chunks)) {
      const { header, body } = this.#original.get(sequence)!;
      const object = (await this.store.get(chunkKey(sequence)))!;
      process.wrote({ sequence, object, contentBytes: header.length + body.length });
    }
  }

  /** Leaves the packs alone. */
  async deleteChunks(): Promise<void> {
    for (const sequence of this.log.sequences) await this.store.delete(chunkKey(sequence));
  }

  /**
   * A primary that writes `chunks` chunks, of which its merger is told but for every `missed`th, and merges them; so does
   * another process at times.
   */
  async serve(chunks: number, missed: number, over: Partial<ObjectStore> = {}): Promise<void> {
    await this.log.claim();
    const process = this.merger(4, over);
    for (let chunk = 0; chunk < chunks; chunk++) {
      await this.write(1);
      const sequence = this.log.next - 1;
      if (sequence % missed !== 0) await this.tell(process, 1);
      if (sequence % 7 === 0) await process.run();
      if (sequence % 10 === 0) await this.merge(2);
    }
    await process.run();
    await process.stop();
  }

  /** A snapshot of all that there is. */
  async snapshot(): Promise<void> {
    const { sequence, object } = await snapshotObject(this.#writer.file);
    await this.store.put(snapshotKey(sequence), object);
  }

  /** Runs the upkeep of one process once, on a store that may fail it. */
  async merge(chunksMax: number, over: Partial<ObjectStore> = {}): Promise<void> {
    const merger = this.merger(chunksMax, over);
    await merger.start();
    await merger.run();
    await merger.stop();
  }

  merger(chunksMax: number, over: Partial<ObjectStore> = {}, pool = localPool): Merger {
    const durableSequence = (): number => this.durableSequence;
    return new Merger({ ...this.#parts(over), pool, chunksMax, durableSequence });
  }

  async retain(over: Partial<ObjectStore> = {}): Promise<void> {
    const retention = new Retention({ ...this.#parts(over), retentionMs: 0, points: new RestorePoints() });
    await retention.run();
    await retention.stop();
  }

  /** The log as it is read now. */
  read(from: LogStart = LOG_BEGINNING): Promise<LogChunk[]> {
    return collected(this.reader.chunks(from));
  }

  get reader(): LogReader {
    return new LogReader({ store: this.store, pool: localPool });
  }

  /** A pack of the store; undefined if its header is damaged. */
  async opened(pack: LogObject): Promise<OpenPack | undefined> {
    try {
      return new OpenPack({ pool: localPool }, pack, (await this.store.get(pack.key))!);
    } catch (error) {
      if (error instanceof CorruptFileError) return undefined;
      throw error;
    }
  }

  /** Everything is as it was, from the log's beginning or from any snapshot that is left. */
  async check(): Promise<void> {
    for (const pack of await listPacks(this.store)) {
      const opened = await this.opened(pack);
      if (opened === undefined) continue;
      const { frames, header } = opened;
      const held = [...this.#original.values()].filter(({ sequence }) =>
        frames.some((frame) => frame.first <= sequence && sequence <= lastOfFrame(frame)),
      );
      const records = held.reduce((sum, chunk) => sum + chunk.records, 0);
      const { previousChunkCrc, createdAtMs } = header;
      const [first, last] = [held[0]!, held[held.length - 1]!];
      assert.deepEqual(
        { records: header.recordsCount, previousChunkCrc, createdAtMs },
        { records, previousChunkCrc: first.previousChunkCrc, createdAtMs: last.createdAtMs },
      );
    }

    const snapshots = await listSnapshots(this.store);
    const starts: LogStart[] = snapshots.length < 2 ? [LOG_BEGINNING] : [];
    for (const stored of snapshots) {
      const { sequence, previousChunkCrc, snapshot } = (await readSnapshotHeader(this.store, stored))!;
      starts.push({ sequence, chunkCrc: previousChunkCrc, nextSequence: snapshot.nextSequence });
    }
    for (const from of starts) {
      const expected = this.log.sequences.filter((sequence) => sequence > from.sequence);
      const chunks = await this.read(from);
      assert.deepEqual(
        chunks.map(({ sequence }) => sequence),
        expected,
        `from ${from.sequence}`,
      );
      for (const { storedBytes: _, ...chunk } of chunks) {
        const { storedBytes: __, ...original } = this.#original.get(chunk.sequence)!;
        assert.deepEqual(chunk, original, `chunk ${chunk.sequence}`);
      }
    }
  }

  async counts(): Promise<{ chunks: number; packs: number }> {
    const keys = (await collected(this.store.list(''))).map(({ key }) => key);
    return {
      chunks: keys.filter((key) => parseChunkKey(key) !== undefined).length,
      packs: keys.filter((key) => parsePackKey(key) !== undefined).length,
    };
  }

  close(): void {
    this.#writer.close();
  }

  async #learn(): Promise<void> {
    const last = [...this.#original.values()].pop();
    const from = last && {
      ...{ sequence: last.sequence, chunkCrc: last.crc },
      nextSequence: last.skipTo ?? last.sequence + 1,
    };
    const chunks = await this.read(from);
    for (const chunk of chunks) this.#original.set(chunk.sequence, structuredClone(chunk));
    this.#writer.load(chunks);
  }

  #parts(over: Partial<ObjectStore>) {
    const store = new Proxy(this.store, {
      get: (target, name: keyof ObjectStore) => {
        const value = over[name] ?? target[name];
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
    return { store, pool: localPool, clock: new ManualClock(), log: silentLog };
  }
}

/** A process that dies at the `count`-th call that changes the store, before or after its effect. */
export function dying(store: MemoryStore, count: number, after: boolean): Partial<ObjectStore> {
  let calls = 0;
  const dead = async <T>(action: () => Promise<T>): Promise<T> => {
    calls++;
    if (calls < count) return action();
    if (calls === count && after) await action();
    throw new Error('the process died');
  };
  return {
    putIfAbsent: (key, body) => dead(() => store.putIfAbsent(key, body)),
    put: (key, body) => dead(() => store.put(key, body)),
    delete: (key) => dead(() => store.delete(key)),
  };
}
