import { systemClock } from '../shared/base/clock.ts';
import { systemRandom } from '../shared/base/random.ts';
import { type CommandOutput, noteLog, Pace } from './command-output.ts';
import type { ForkOrder } from './config/command-fork.ts';
import { TaskPool } from './pool/pool.ts';
import { begunFork } from './restore/beginning.ts';
import { type Forked, fork } from './restore/fork.ts';
import { RestoreError, timeText } from './restore/wanted.ts';
import { checkVacant, openToRead, type RestoreStores, runRestore } from './restore-command.ts';
import { Appender } from './store/append.ts';
import { isSameStore } from './store/open.ts';
import { retryingStore } from './store/retry.ts';

/** `netsy fork`: a new store that goes on from a point of an old one's log. */

const ATTEMPT_TIMEOUT_MS = 60_000;
const RETRY_MS = 60_000;

/** Runs the command. Rejects with an Error of one line, also when `signal` is aborted. */
export async function runFork(
  order: ForkOrder,
  stores: RestoreStores,
  output: CommandOutput,
  signal: AbortSignal,
): Promise<void> {
  const { settings, into } = order;
  if (await isSameStore(settings.store, into, stores.options)) {
    throw new RestoreError(`--into: ${into} is the store that is read; name another one`);
  }
  await checkVacant(into, stores.options, begunFork);
  const forked = await makeFork(order, stores, output, signal);
  if (forked !== undefined) {
    output.result(order.json ? JSON.stringify(resultOf(order, forked)) : textOf(order, forked));
    return;
  }
  output.note('there is no snapshot before that point that the fork could begin with: restoring it instead');
  const restore = { dryRun: false, bumpRevision: 0, workDir: undefined };
  await runRestore({ ...order, command: 'restore', ...restore }, stores, output, signal);
}

async function makeFork(
  { settings, into, wanted }: ForkOrder,
  stores: RestoreStores,
  output: CommandOutput,
  signal: AbortSignal,
): Promise<Forked | undefined> {
  const from = await openToRead(settings.store, stores.options);
  const opened = await stores.openProbed(into);
  const pool = new TaskPool(settings.poolThreads);
  const pace = new Pace(systemClock, output);
  const appender = new Appender(opened, {
    hedgeAfterMs: 'off',
    attemptTimeoutMs: ATTEMPT_TIMEOUT_MS,
    clock: systemClock,
    random: systemRandom,
    log: noteLog(output),
  });
  output.note(`reading ${settings.store}`);
  try {
    return await fork({
      source: { store: from, pool, signal },
      store: retryingStore(opened, { clock: systemClock, random: systemRandom, retryForMs: RETRY_MS }),
      append: (key, object) => appender.append(key, object, 0, signal),
      clock: systemClock,
      random: systemRandom,
      pool,
      wanted,
      progress: (what, records, bytes, part) => pace.show(what, { records, bytes }, part),
    });
  } finally {
    await pool.end();
    await from.close();
    await opened.close();
  }
}

function resultOf({ settings, into }: ForkOrder, forked: Forked): object {
  const { position, createdAtMs, clusterId, snapshot, chunks, resumed } = forked;
  const { revision, sequence } = position;
  return {
    from: settings.store,
    into,
    point: { revision, sequence, time: timeText(createdAtMs) },
    clusterId: clusterId.toString(16),
    snapshot,
    chunks,
    resumed,
  };
}

function textOf({ settings, into }: ForkOrder, { position, createdAtMs, snapshot, chunks }: Forked): string {
  const { revision, sequence } = position;
  return [
    `forked ${settings.store} at revision ${revision}, chunk ${sequence}, ${timeText(createdAtMs)}`,
    `into ${into}: ${snapshot.how} ${snapshot.key} (${snapshot.bytes} bytes), ` +
      `copied ${chunks.count} chunks (${chunks.bytes} bytes)`,
  ].join('\n');
}
