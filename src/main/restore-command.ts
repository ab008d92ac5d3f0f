import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../shared/base/clock.ts';
import { makeDirectory } from '../shared/base/directory.ts';
import { systemRandom } from '../shared/base/random.ts';
import { chunkKey } from '../shared/format/names.ts';
import { type CommandOutput, noteLog, Pace } from './command-output.ts';
import { appendTo, openToRead, retried } from './command-store.ts';
import type { RestoreOrder } from './config/command-restore.ts';
import type { Settings } from './config/settings.ts';
import { TaskPool } from './pool/pool.ts';
import { vacancy } from './restore/beginning.ts';
import { type Beginning, loadPoint, type Point, writeBeginning } from './restore/restore.ts';
import { RestoreError, timeText } from './restore/wanted.ts';
import { LogSnapshot } from './state/log-snapshot-client.ts';
import { threads } from './state/workers.ts';
import { WriterClient } from './state/writer-client.ts';
import { StoreError } from './store/errors.ts';
import { isSameStore, type OpenStoreOptions, openStoreToRead } from './store/open.ts';
import type { ObjectStore, ReadableStore } from './store/store.ts';

/** `netsy restore`: a new store from an old one's log. */

const CACHE_FILE = 'restore.sqlite';

export interface RestoreStores {
  readonly options: OpenStoreOptions;
  /** Opens the new store, and proves that it can hold a log. */
  openProbed(url: string): Promise<ObjectStore>;
}

/** Runs the command. Rejects with an Error of one line, also when `signal` is aborted. */
export async function runRestore(
  order: RestoreOrder,
  stores: RestoreStores,
  output: CommandOutput,
  signal: AbortSignal,
): Promise<void> {
  const { settings, into } = order;
  if (await isSameStore(settings.store, into, stores.options)) {
    throw new RestoreError(`--into: ${into} is the store that is read; name another one`);
  }
  await checkVacant(into, stores.options);
  const { store, objects } = counted(await openToRead(settings.store, stores.options, output));
  const pool = new TaskPool(settings.poolThreads);
  const directory = workDirectory(order.workDir);
  let writer: WriterClient | undefined;
  try {
    const cacheFile = join(directory, CACHE_FILE);
    writer = openWriter(cacheFile, settings);
    output.note(`reading ${settings.store}`);
    const point = await readPoint({ order, store, pool, writer, output, signal });
    signal.throwIfAborted();
    const written = order.dryRun
      ? undefined
      : await writePoint({ order, stores, pool, cacheFile, point, output, signal });
    const outcome: Outcome = { ...point, objects: objects(), written };
    output.result(order.json ? JSON.stringify(resultOf(order, outcome)) : textOf(order, outcome));
  } finally {
    await writer?.close();
    await pool.end();
    await store.close();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Early, before anything takes long; it is looked at again when it is written to. */
export async function checkVacant(
  into: string,
  options: OpenStoreOptions,
  check: (store: ReadableStore) => Promise<unknown> = vacancy,
): Promise<void> {
  const store = await openStoreToRead(into, options).catch((error: unknown) => {
    // A directory that is not there yet is made when it is needed.
    if (error instanceof StoreError && error.kind === 'no-bucket') return undefined;
    throw error;
  });
  if (store === undefined) return;
  try {
    await check(store);
  } finally {
    await store.close();
  }
}

function workDirectory(parent: string | undefined): string {
  if (parent !== undefined) makeDirectory(parent);
  const directory = mkdtempSync(join(parent ?? tmpdir(), 'netsy-restore-'));
  // Where SQLite sorts what memory is not for; read when its first connection is opened.
  process.env['SQLITE_TMPDIR'] ??= directory;
  return directory;
}

function openWriter(cacheFile: string, { maxTxnOps }: Settings): WriterClient {
  const ignored = (): void => {};
  // What it fails with is told to the call that waits; nothing happens between calls.
  const events = { evaluated: ignored, applied: ignored, compacted: ignored, defragmented: ignored };
  return new WriterClient(
    { cacheFile, maxTxnOps, memberId: 0n, nodeId: 'netsy restore', quotaBytes: 0 },
    { ...events, diskTrouble: ignored, failed: ignored },
    threads,
  );
}

interface ReadPointParts {
  readonly order: RestoreOrder;
  readonly store: ReadableStore;
  readonly pool: TaskPool;
  readonly writer: WriterClient;
  readonly output: CommandOutput;
  readonly signal: AbortSignal;
}

function readPoint({ order, output, ...parts }: ReadPointParts): Promise<Point> {
  const pace = new Pace(systemClock, output);
  const { wanted } = order;
  return loadPoint({
    ...parts,
    wanted,
    clock: systemClock,
    random: systemRandom,
    log: noteLog(output),
    progress: (reached) => pace.show('following the log', reached, reached.part),
  });
}

interface WritePointParts {
  readonly order: RestoreOrder;
  readonly stores: RestoreStores;
  readonly pool: TaskPool;
  readonly cacheFile: string;
  readonly point: Point;
  readonly output: CommandOutput;
  readonly signal: AbortSignal;
}

async function writePoint(parts: WritePointParts): Promise<Beginning> {
  const { order, stores, point, output, pool, cacheFile, signal } = parts;
  output.note(`writing to ${order.into}`);
  const store = await stores.openProbed(order.into);
  try {
    const pace = new Pace(systemClock, output);
    return await writeBeginning(
      {
        store: retried(store),
        append: appendTo(store, output, signal),
        clock: systemClock,
        random: systemRandom,
        pool,
        signal,
        cacheFile,
        from: order.settings.store,
        bumpRevision: order.bumpRevision,
        open: (data) => new LogSnapshot(data, threads),
        progress: (records, total, bytes) => pace.show('writing', { records, bytes }, records / total),
      },
      point,
    );
  } finally {
    await store.close();
  }
}

/** What was read, and what came of it. */
interface Outcome extends Point {
  /** Of the old store: chunks, packs and snapshots. */
  readonly objects: number;
  readonly written: Beginning | undefined;
}

/** Counts the objects that are read: those at once, and those in pieces. */
function counted(store: ReadableStore): { store: ReadableStore; objects(): number } {
  let whole = 0;
  const inPieces = new Set<string>();
  const counting: ReadableStore = {
    url: store.url,
    list: (prefix, startAfter) => store.list(prefix, startAfter),
    close: () => store.close(),
    get: async (key, signal) => {
      const object = await store.get(key, signal);
      if (object !== undefined) whole++;
      return object;
    },
    getRange: (key, ...rest) => {
      inPieces.add(key);
      return store.getRange(key, ...rest);
    },
  };
  return { store: counting, objects: () => whole + inPieces.size };
}

function resultOf(order: RestoreOrder, outcome: Outcome): object {
  const { position, createdAtMs, records, bytes, objects, chunks, written } = outcome;
  const { revision, compactRevision, sequence } = position;
  const bumped = revision + order.bumpRevision;
  return {
    from: order.settings.store,
    into: order.into,
    dryRun: order.dryRun,
    point: { revision, sequence, chunk: chunkKey(sequence), time: timeText(createdAtMs) },
    revision: bumped,
    compactRevision: order.bumpRevision > 0 ? bumped : Math.max(0, compactRevision),
    read: { objects, chunks, records, bytes },
    ...(written && {
      clusterId: written.clusterId.toString(16),
      written: { snapshot: written.key, records: written.records, bytes: written.bytes },
    }),
  };
}

function textOf(order: RestoreOrder, outcome: Outcome): string {
  const { position, createdAtMs, records, bytes, objects, written } = outcome;
  const { revision, compactRevision, sequence } = position;
  const bumped = revision + order.bumpRevision;
  const compacted = order.bumpRevision > 0 ? bumped : compactRevision;
  const history = compacted > 0 ? `compacted at ${compacted}` : 'not compacted';
  const verb = written === undefined ? 'would restore' : 'restored';
  const lines = [
    `${verb} ${order.settings.store} as of revision ${revision}, chunk ${sequence}, ${timeText(createdAtMs)}`,
    `into ${order.into}: revision ${bumped}, ${history}`,
    `read ${records} records, ${bytes} bytes, ${objects} objects`,
  ];
  if (written !== undefined)
    lines.push(`wrote ${written.records} records, ${written.bytes} bytes: ${written.key}`);
  return lines.join('\n');
}
