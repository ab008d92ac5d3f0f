import { createHash, type Hash } from 'node:crypto';
import { CorruptFileError } from '../../shared/format/corrupt.ts';
import { FileKind } from '../../shared/format/file.ts';
import { CHUNKS_PREFIX, parseChunkKey, SNAPSHOTS_PREFIX } from '../../shared/format/names.ts';
import type { LogRecord } from '../../shared/model/record.ts';
import type { ReadableStore } from '../store/store.ts';
import type { DatabaseSummary } from './contents.ts';
import { ImportFileError } from './database-file.ts';
import type { ImportSource } from './import.ts';
import { openGoFile, parseGoChunk, parseGoSnapshot } from './netsy-go-file.ts';
import { GoHistory, HistoryError, ownRecord } from './netsy-go-history.ts';

/** Objects fetched ahead of the one that is read. */
const AHEAD_MAX = 16;

interface Part {
  readonly key: string;
  readonly revision: number;
  readonly kind: FileKind;
}

export interface GoBucketParts {
  readonly store: ReadableStore;
  /** Records so far. */
  progress(records: number): void;
}

/**
 * A bucket of Netsy for Go: its newest snapshot, which holds everything up to its revision, and the chunks after it,
 * which is what its own nodes read when they start. What else is there (older chunks and snapshots, and what its
 * nodes tell each other) is not read.
 */
export class GoBucket implements ImportSource {
  readonly sha256: Buffer;
  /** Objects that were read, and chunks that the snapshot holds. */
  readonly objects: number;
  readonly unread: number;
  /** Puts that name a lease. */
  readonly leased: number;
  readonly #store: ReadableStore;
  readonly #parts: readonly Part[];
  readonly #summary: DatabaseSummary;

  private constructor(store: ReadableStore, found: Found, read: Read) {
    this.#store = store;
    this.#parts = found.parts;
    this.objects = found.parts.length;
    this.unread = found.unread;
    this.sha256 = read.sha256;
    this.leased = read.history.leased;
    this.#summary = {
      revision: read.history.revision,
      compactRevision: read.history.compactRevision,
      records: read.records,
      leases: 0,
      users: 0,
      roles: 0,
      authEnabled: false,
      alarms: 0,
    };
  }

  /** Reads and checks all of it. Rejects with an ImportFileError whose one line names the object. */
  static async open({ store, progress }: GoBucketParts): Promise<GoBucket> {
    const found = await findParts(store);
    const history = new GoHistory();
    const digest = createHash('sha256');
    let [taken, records] = [0, 0];
    for await (const record of readAll(store, found.parts, history, digest)) {
      if (ownRecord(record) !== undefined) records++;
      progress(++taken);
    }
    checked(store, 'the history', () => history.end());
    return new GoBucket(store, found, { history, records, sha256: digest.digest() });
  }

  summarize(): DatabaseSummary {
    return this.#summary;
  }

  /** Reads everything once more; the last record comes only if it all is what it was. */
  async *records(): AsyncGenerator<LogRecord> {
    const digest = createHash('sha256');
    let last: LogRecord | undefined;
    for await (const record of readAll(this.#store, this.#parts, new GoHistory(), digest)) {
      const own = ownRecord(record);
      if (own === undefined) continue;
      if (last !== undefined) yield last;
      last = own;
    }
    if (!digest.digest().equals(this.sha256)) throw this.changed();
    if (last !== undefined) yield last;
  }

  located(error: unknown): unknown {
    return error;
  }

  changed(): Error {
    return new ImportFileError(
      `${this.#store.url}: changed while it was read; stop the Netsy that writes to it`,
    );
  }
}

interface Found {
  /** The newest snapshot, if there is one, and the chunks after it. */
  readonly parts: readonly Part[];
  readonly unread: number;
}

interface Read {
  readonly history: GoHistory;
  readonly records: number;
  readonly sha256: Buffer;
}

async function findParts(store: ReadableStore): Promise<Found> {
  let snapshot: Part | undefined;
  for await (const { key } of store.list(SNAPSHOTS_PREFIX)) {
    const revision = parseGoSnapshot(key);
    if (revision !== undefined) snapshot = { key, revision, kind: FileKind.Snapshot };
  }
  const chunks: Part[] = [];
  for await (const { key } of store.list(CHUNKS_PREFIX)) {
    if (parseChunkKey(key) !== undefined) {
      throw new ImportFileError(
        `${store.url}: is a store of this netsy already (it holds ${key}); serve it with --store`,
      );
    }
    const revision = parseGoChunk(key);
    if (revision !== undefined) chunks.push({ key, revision, kind: FileKind.Chunk });
  }
  chunks.sort((a, b) => a.revision - b.revision);
  const after = chunks.filter(({ revision }) => revision > (snapshot?.revision ?? 0));
  const parts = snapshot === undefined ? after : [snapshot, ...after];
  if (parts.length === 0) {
    throw new ImportFileError(
      `${store.url}: holds no chunks/ and no snapshots/ of Netsy for Go; of an etcd's data directory, name member/snap/db`,
    );
  }
  return { parts, unread: chunks.length - after.length };
}

/** The records of all parts in their order, checked against each other; what was read goes into `digest`. */
async function* readAll(
  store: ReadableStore,
  parts: readonly Part[],
  history: GoHistory,
  digest: Hash,
): AsyncGenerator<LogRecord> {
  for await (const { part, object } of fetched(store, parts)) {
    digest.update(`${part.key}\n${object.length}\n`).update(object);
    yield* readPart(store, part, object, history);
  }
}

async function* fetched(
  store: ReadableStore,
  parts: readonly Part[],
): AsyncGenerator<{ part: Part; object: Uint8Array }> {
  const ahead: { part: Part; object: Promise<Uint8Array | undefined> }[] = [];
  let next = 0;
  for (;;) {
    // A snapshot is large, and has nothing else in memory beside it.
    const most = ahead[0]?.part.kind === FileKind.Snapshot ? 1 : AHEAD_MAX;
    while (ahead.length < most && next < parts.length) {
      const part = parts[next++]!;
      const object = store.get(part.key);
      // A failure is met when its turn comes.
      object.catch(() => undefined);
      ahead.push({ part, object });
      if (part.kind === FileKind.Snapshot) break;
    }
    const first = ahead.shift();
    if (first === undefined) return;
    const object = await first.object;
    if (object === undefined) {
      throw new ImportFileError(
        `${store.url}: ${first.part.key} was listed and is gone; stop the Netsy that writes to it`,
      );
    }
    yield { part: first.part, object };
  }
}

async function* readPart(
  store: ReadableStore,
  { key, revision, kind }: Part,
  object: Uint8Array,
  history: GoHistory,
): AsyncGenerator<LogRecord> {
  const { decoder } = await openGoFile(object, key, kind).catch((error: unknown) => {
    throw located(store, key, error);
  });
  const from = history.revision;
  for (;;) {
    const record = checked(store, key, () => {
      const next = decoder.next();
      // A chunk may hold what another one holds, too.
      if (next !== undefined && next.revision > from) history.take(next);
      return next;
    });
    if (record === undefined) break;
    if (record.revision > from) yield record;
  }
  checked(store, key, () => decoder.footer());
  if (history.revision === revision) return;
  throw new ImportFileError(
    `${store.url}: ${key}: ends with revision ${history.revision}, and by its name with ${revision}`,
  );
}

function checked<T>(store: ReadableStore, key: string, check: () => T): T {
  try {
    return check();
  } catch (error) {
    throw located(store, key, error);
  }
}

/** What is wrong with an object, with the bucket's name and its own. */
function located({ url }: ReadableStore, key: string, error: unknown): unknown {
  if (error instanceof CorruptFileError) return new ImportFileError(`${url}: ${error.message}`);
  if (error instanceof HistoryError) return new ImportFileError(`${url}: ${key}: a record ${error.message}`);
  return error;
}
