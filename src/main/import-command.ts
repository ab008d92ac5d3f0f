import { systemClock } from '../shared/base/clock.ts';
import type { Log } from '../shared/base/log.ts';
import { systemRandom } from '../shared/base/random.ts';
import type { ImportOrder } from './config/command-import.ts';
import { DatabaseFile } from './import/database-file.ts';
import { type ImportResult, importDatabase } from './import/import.ts';
import { TaskPool } from './pool/pool.ts';
import { Appender } from './store/append.ts';
import type { ObjectStore } from './store/store.ts';

/** `netsy import FILE`: what an etcd database holds, as the log of a store that is empty. */

const ATTEMPT_TIMEOUT_MS = 60_000;

export interface ImportOutput {
  /** Standard output: what came out. */
  result(text: string): void;
  /** Standard error: how it goes. */
  note(text: string): void;
}

/** Runs the command. Rejects with an Error of one line. */
export async function runImport(
  order: ImportOrder,
  openStore: () => Promise<ObjectStore>,
  output: ImportOutput,
): Promise<void> {
  output.note(`reading ${order.file}`);
  const file = new DatabaseFile(order.file);
  try {
    if (!file.hasDigest) output.note('the file has no SHA-256 at its end, so nothing says that it is whole');
    const store = await openStore();
    const pool = new TaskPool(order.settings.poolThreads);
    try {
      const result = await importFile(order, file, store, pool, output);
      output.result(order.json ? JSON.stringify(resultOf(order, file, result)) : textOf(order, result));
    } finally {
      await pool.close();
      await store.close();
    }
  } finally {
    file.close();
  }
}

async function importFile(
  { settings }: ImportOrder,
  file: DatabaseFile,
  store: ObjectStore,
  pool: TaskPool,
  output: ImportOutput,
): Promise<ImportResult> {
  const appender = new Appender(store, {
    hedgeAfterMs: 'off',
    attemptTimeoutMs: ATTEMPT_TIMEOUT_MS,
    clock: systemClock,
    random: systemRandom,
    log: noteLog(output),
  });
  output.note(`writing to ${settings.store}`);
  return importDatabase({
    file,
    store,
    append: (key, object) => appender.append(key, object, 0),
    compress: (body) => pool.compress(body),
    clock: systemClock,
    random: systemRandom,
    progress: ({ records, recordsTotal, chunks }) =>
      output.note(`${records} of ${recordsTotal} puts and deletes in ${chunks} chunks`),
  });
}

/** What the store's trouble is worth saying of, on standard error. */
function noteLog({ note }: ImportOutput): Log {
  const say = (message: string, fields: object = {}): void => note(`${message} ${JSON.stringify(fields)}`);
  return { debug: () => {}, info: say, warn: say, error: say };
}

function resultOf({ settings }: ImportOrder, file: DatabaseFile, result: ImportResult): object {
  const { path, bytes, sha256, hasDigest } = file;
  return { file: path, bytes, sha256: sha256.toString('hex'), hasDigest, store: settings.store, ...result };
}

function textOf({ settings, file }: ImportOrder, result: ImportResult): string {
  const { revision, compactRevision, records, leases, users, roles, authEnabled, alarms, chunks } = result;
  const compacted = compactRevision === undefined ? 'not compacted' : `compacted at ${compactRevision}`;
  const lines = [
    `imported ${file} into ${settings.store}: revision ${revision}, ${compacted},`,
    `${records} puts and deletes, ${leases} leases, ${users} users, ${roles} roles, in ${chunks} chunks`,
  ];
  if (authEnabled) lines.push('authentication is enabled, as it was');
  if (alarms > 0) lines.push(`${alarms} alarms are raised, as they were; etcdctl alarm disarm ends them`);
  return lines.join('\n');
}
