import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { systemClock } from '../shared/base/clock.ts';
import { systemRandom } from '../shared/base/random.ts';
import type { CommandOutput } from './command-output.ts';
import { appendTo } from './command-store.ts';
import type { ImportOrder } from './config/command-import.ts';
import { shownValue } from './config/shown-values.ts';
import { databaseSource } from './import/contents.ts';
import { DatabaseFile } from './import/database-file.ts';
import { type ImportResult, type ImportSource, importDatabase } from './import/import.ts';
import { GoBucket } from './import/netsy-go.ts';
import { TaskPool } from './pool/pool.ts';
import type { ObjectStore, ReadableStore } from './store/store.ts';

/** `netsy import SOURCE`: what an etcd database or a bucket of Netsy for Go holds, as the log of a store that is empty. */

const PROGRESS_EVERY_MS = 2000;

export interface ImportStores {
  /** The store that is imported into. */
  open(): Promise<ObjectStore>;
  /** The bucket that is imported. */
  openSource(url: string): Promise<ReadableStore>;
}

/** What is imported, and what the result says of it. */
interface OpenSource {
  readonly source: ImportSource;
  readonly facts: object;
  close(): Promise<void>;
}

/** Runs the command. Rejects with an Error of one line. */
export async function runImport(
  order: ImportOrder,
  stores: ImportStores,
  output: CommandOutput,
): Promise<void> {
  const bucket = bucketUrl(order.source);
  output.note(`reading ${bucket === undefined ? order.source : shownValue('source', order.source)}`);
  const opened =
    bucket === undefined ? openDatabase(order, output) : await openBucket(bucket, stores, output);
  try {
    const store = await stores.open();
    const pool = new TaskPool(order.settings.poolThreads);
    try {
      const result = await importSource(order, opened.source, store, pool, output);
      const { settings } = order;
      output.result(
        order.json
          ? JSON.stringify({ ...opened.facts, store: settings.store, ...result })
          : textOf(order, result),
      );
    } finally {
      await pool.close();
      await store.close();
    }
  } finally {
    await opened.close();
  }
}

/** The URL of what is no file: a store's, or a directory's. */
function bucketUrl(source: string): string | undefined {
  if (/^(?:file|s3):|:\/\//.test(source)) return source;
  const isDirectory = statSync(source, { throwIfNoEntry: false })?.isDirectory() === true;
  return isDirectory ? pathToFileURL(resolve(source)).href : undefined;
}

function openDatabase({ source: path }: ImportOrder, output: CommandOutput): OpenSource {
  const file = new DatabaseFile(path);
  if (!file.hasDigest) output.note('the file has no SHA-256 at its end, so nothing says that it is whole');
  const { bytes, sha256, hasDigest } = file;
  return {
    source: databaseSource(file),
    facts: { file: path, bytes, sha256: sha256.toString('hex'), hasDigest },
    close: async () => file.close(),
  };
}

async function openBucket(url: string, stores: ImportStores, output: CommandOutput): Promise<OpenSource> {
  const store = await stores.openSource(url);
  let shownMs = systemClock.monotonicMs();
  const progress = (records: number): void => {
    const now = systemClock.monotonicMs();
    if (now - shownMs < PROGRESS_EVERY_MS) return;
    shownMs = now;
    output.note(`checked ${records} records`);
  };
  const source = await GoBucket.open({ store, progress });
  const { objects, unread, leased, sha256 } = source;
  if (unread > 0) output.note(`${unread} older chunks are not read: the newest snapshot holds what they do`);
  if (leased > 0) {
    output.note(
      `${leased} puts name a lease; Netsy for Go keeps no TTLs, so their keys stay, as they did there`,
    );
  }
  return {
    source,
    facts: { bucket: url, objects, unread, leased, sha256: sha256.toString('hex') },
    close: () => store.close(),
  };
}

async function importSource(
  { settings }: ImportOrder,
  source: ImportSource,
  store: ObjectStore,
  pool: TaskPool,
  output: CommandOutput,
): Promise<ImportResult> {
  output.note(`writing to ${settings.store}`);
  return importDatabase({
    source,
    store,
    append: appendTo(store, output),
    compress: (body) => pool.compress(body),
    clock: systemClock,
    random: systemRandom,
    progress: ({ records, recordsTotal, chunks }) =>
      output.note(`${records} of ${recordsTotal} puts and deletes in ${chunks} chunks`),
  });
}

function textOf({ settings, source }: ImportOrder, result: ImportResult): string {
  const { revision, compactRevision, records, leases, users, roles, authEnabled, alarms, chunks } = result;
  const compacted = compactRevision === undefined ? 'not compacted' : `compacted at ${compactRevision}`;
  const lines = [
    `imported ${source} into ${settings.store}: revision ${revision}, ${compacted},`,
    `${records} puts and deletes, ${leases} leases, ${users} users, ${roles} roles, in ${chunks} chunks`,
  ];
  if (authEnabled) lines.push('authentication is enabled, as it was');
  if (alarms > 0) lines.push(`${alarms} alarms are raised, as they were; etcdctl alarm disarm ends them`);
  return lines.join('\n');
}
