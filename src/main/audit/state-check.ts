import { join } from 'node:path';
import { assert } from '../../shared/base/assert.ts';
import type { Clock } from '../../shared/base/clock.ts';
import { chunkKey } from '../../shared/format/names.ts';
import type { SnapshotHeader } from '../../shared/format/snapshot.ts';
import type { CacheComparison } from '../../workers/contract/task.ts';
import type { LoadedChunk, LogPosition } from '../../workers/contract/writer.ts';
import type { TaskPool } from '../pool/pool.ts';
import type { StoredSnapshot } from '../recovery/snapshot-list.ts';
import { positionOf } from '../recovery/snapshot-load.ts';
import { readSnapshot } from '../recovery/snapshot-reader.ts';
import type { Workers } from '../state/workers.ts';
import { WriterClient, type WriterEvents } from '../state/writer-client.ts';
import type { ReadableStore } from '../store/store.ts';
import type { Finding } from './finding.ts';

/** Chunks and bytes applied in one SQLite transaction at the most. */
const GROUP_CHUNKS_MAX = 256;
const GROUP_BYTES_MAX = 32 * 1024 * 1024;
/** Of one snapshot so many are shown; how many there are is counted. */
const DIFFERENCES_MAX = 10;
const COMPACTION_POLL_MS = 10;
const HISTORY_BEGINS = 'the start of the log';

/** What the writer says where the log breaks a rule, and not the disk. */
const BROKEN_RULE = /^(InvariantError|CorruptFileError)$/;
const BROKEN_CONSTRAINT = /constraint failed/;

export interface StateCheckParts {
  readonly store: Pick<ReadableStore, 'getRange'>;
  readonly pool: Pick<TaskPool, 'openPiece' | 'inflate' | 'compareCaches'>;
  readonly workers: Pick<Workers, 'writer'>;
  readonly clock: Clock;
  /** Where the caches are kept; it must be empty. */
  readonly directory: string;
  /** Reads a chunk once more. */
  reopen(sequence: number): Promise<LoadedChunk>;
}

/** What came of a snapshot. */
export interface SnapshotOutcome {
  readonly header: SnapshotHeader;
  /** What its state was compared with; undefined where nothing before it could be followed. */
  readonly comparedWith: string | undefined;
  readonly findings: readonly Finding[];
}

/**
 * Whether snapshots hold what the chunks say: the log is applied to one cache, by the code that servers run, each
 * snapshot is loaded into another one, and where they meet their rows are compared. Both are on disk.
 */
export class StateCheck {
  readonly #parts: StateCheckParts;
  #followed: Cache;
  #loaded: Cache;
  /** Where the log is applied to; undefined where it can't be followed. */
  #position: LogPosition | undefined;
  /** Of what the followed state is made: the snapshot that it began with. */
  #basis = HISTORY_BEGINS;
  #group: { readonly chunk: LoadedChunk; readonly sequence: number }[] = [];
  #groupBytes = 0;

  private constructor(parts: StateCheckParts, followed: Cache, loaded: Cache, position: LogPosition) {
    this.#parts = parts;
    this.#followed = followed;
    this.#loaded = loaded;
    this.#position = position;
  }

  /** Begins with an empty state. To be closed. */
  static async open(parts: StateCheckParts): Promise<StateCheck> {
    const followed = new Cache(join(parts.directory, 'followed.sqlite'), parts.workers);
    const loaded = new Cache(join(parts.directory, 'loaded.sqlite'), parts.workers);
    await loaded.open();
    return new StateCheck(parts, followed, loaded, await followed.open());
  }

  /** Where the state stands; undefined where it is not known. */
  get position(): LogPosition | undefined {
    return this.#position;
  }

  /** What the log says from here on can't be applied before there is a snapshot to go on from. */
  lose(): void {
    this.#position = undefined;
    this.#group = [];
    this.#groupBytes = 0;
  }

  /** Applies the next chunk of the log, soon. */
  async apply(chunk: LoadedChunk): Promise<Finding | undefined> {
    if (this.#position === undefined) return undefined;
    this.#group.push({ chunk, sequence: chunk.sequence });
    this.#groupBytes += chunk.body.length;
    if (this.#group.length < GROUP_CHUNKS_MAX && this.#groupBytes < GROUP_BYTES_MAX) return undefined;
    return this.flush();
  }

  /** Applies what waits; answers what can't be applied. */
  async flush(): Promise<Finding | undefined> {
    const group = this.#group;
    this.#group = [];
    this.#groupBytes = 0;
    if (group.length === 0) return undefined;
    try {
      this.#position = await this.#followed.client.load(group.map(({ chunk }) => chunk));
      return undefined;
    } catch (error) {
      if (!isBrokenRule(error)) throw error;
      return this.#findIn(group.map(({ sequence }) => sequence));
    }
  }

  /** A group is applied wholly or not at all; so its chunks are applied one by one, to the one that fails. */
  async #findIn(sequences: readonly number[]): Promise<Finding | undefined> {
    await this.#followed.open();
    for (const sequence of sequences) {
      try {
        this.#position = await this.#followed.client.load([await this.#parts.reopen(sequence)]);
      } catch (error) {
        if (!isBrokenRule(error)) throw error;
        await this.#followed.open();
        this.lose();
        return {
          object: chunkKey(sequence),
          place: 'records',
          check: 'state',
          expected: 'what can be applied to the chunks before it',
          found: error.message,
        };
      }
    }
    return undefined;
  }

  /**
   * Reads a snapshot whole, and compares it with what was followed; where nothing was, the log is followed from it.
   * What waits must have been flushed. Rejects with a `CorruptFileError` if it is not whole.
   */
  async snapshot(
    snapshot: StoredSnapshot,
    took: (records: number, bytes: number) => void,
  ): Promise<SnapshotOutcome> {
    const loaded = this.#loaded;
    let before = { records: 0, bytes: 0 };
    const { header } = await readSnapshot(this.#parts, snapshot, {
      begin: () => loaded.client.fillBegin(),
      take: async (piece, records, bytes) => {
        took(records - before.records, bytes - before.bytes);
        before = { records, bytes };
        await loaded.client.fill({ rows: piece.rows, leases: piece.leases, system: piece.system });
      },
    });
    const position = await loaded.client.fillEnd(positionOf(header));
    if (this.#position === undefined) {
      [this.#followed, this.#loaded] = [loaded, this.#followed];
      this.#position = position;
      this.#basis = snapshot.key;
      return { header, comparedWith: undefined, findings: [] };
    }
    const findings = findingsOf(snapshot, this.#basis, await this.#compare());
    return { header, comparedWith: this.#basis, findings };
  }

  async #compare(): Promise<CacheComparison> {
    for (;;) {
      const { pool, clock } = this.#parts;
      const found = await pool.compareCaches(this.#followed.file, this.#loaded.file, DIFFERENCES_MAX);
      if (!found.pending) return found;
      // The writers remove what was compacted by themselves, as long as they live.
      for (const { client } of [this.#followed, this.#loaded])
        assert(client !== undefined, 'a cache is open');
      await clock.sleep(COMPACTION_POLL_MS);
    }
  }

  async close(): Promise<void> {
    await Promise.all([this.#followed.close(), this.#loaded.close()]);
  }
}

function findingsOf(
  { key }: StoredSnapshot,
  basis: string,
  { differences, count }: CacheComparison,
): Finding[] {
  const findings = differences.map(({ place, expected, found }) => ({
    object: key,
    place,
    check: basis === HISTORY_BEGINS ? 'state by the chunks' : `state by ${basis} and the chunks after it`,
    expected,
    found,
  }));
  const [first] = findings;
  if (first === undefined || count <= findings.length) return findings;
  const more = {
    ...first,
    place: '',
    expected: 'no difference',
    found: `${count} differences, of which ${findings.length} are shown`,
  };
  return [...findings, more];
}

function isBrokenRule(error: unknown): error is Error {
  return error instanceof Error && (BROKEN_RULE.test(error.name) || BROKEN_CONSTRAINT.test(error.message));
}

/** A cache, and the thread that writes it. */
class Cache {
  readonly file: string;
  readonly #workers: Pick<Workers, 'writer'>;
  #client: WriterClient | undefined;
  /** What went wrong while nobody waited for an answer. */
  #failure: Error | undefined;

  constructor(file: string, workers: Pick<Workers, 'writer'>) {
    this.file = file;
    this.#workers = workers;
  }

  /** Throws what the thread failed with. */
  get client(): WriterClient {
    if (this.#failure !== undefined) throw this.#failure;
    return this.#client!;
  }

  /** Opens what is there, if there is something, also after the thread has failed. */
  async open(): Promise<LogPosition> {
    const data = { cacheFile: this.file, maxTxnOps: 0, memberId: 0n, nodeId: 'netsy verify', quotaBytes: 0 };
    const nothing = (): void => {};
    const events: WriterEvents = {
      evaluated: nothing,
      applied: nothing,
      compacted: nothing,
      defragmented: nothing,
      diskTrouble: (message) => {
        if (message !== undefined)
          this.#failure = new Error(`the disk under ${this.file} refuses writes (${message})`);
      },
      failed: (error) => {
        this.#failure = error;
      },
    };
    await this.#client?.exited;
    this.#client = new WriterClient(data, events, this.#workers);
    return (await this.#client.opened()).position;
  }

  async close(): Promise<void> {
    await this.#client?.close();
  }
}
