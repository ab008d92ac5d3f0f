import { systemClock } from '../shared/base/clock.ts';
import { systemRandom } from '../shared/base/random.ts';
import { type CommandOutput, Pace } from './command-output.ts';
import { appendTo, openToRead, retried } from './command-store.ts';
import type { ForkOrder } from './config/command-fork.ts';
import { TaskPool } from './pool/pool.ts';
import { begunFork } from './restore/beginning.ts';
import { type Forked, type ForkParts, fork } from './restore/fork.ts';
import { type Holder, refer } from './restore/refer.ts';
import { RestoreError, timeText } from './restore/wanted.ts';
import { checkVacant, type RestoreStores, runRestore } from './restore-command.ts';
import { canRefer, isSameStore, openStore, selfContained } from './store/open.ts';
import { readReference } from './store/references.ts';
import type { ReadableStore } from './store/store.ts';

/** `netsy fork`: a new store that goes on from a point of an old one's log. */

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
  order: ForkOrder,
  stores: RestoreStores,
  output: CommandOutput,
  signal: AbortSignal,
): Promise<Forked | undefined> {
  const { settings, into, wanted } = order;
  const from = await openToRead(settings.store, stores.options, output);
  const opened = await stores.openProbed(into);
  const pool = new TaskPool(settings.poolThreads);
  const pace = new Pace(systemClock, output);
  const append = appendTo(opened, output, signal);
  output.note(`reading ${settings.store}`);
  try {
    return await fork({
      source: { store: from, pool, signal },
      store: retried(opened),
      append,
      clock: systemClock,
      random: systemRandom,
      pool,
      wanted,
      refer:
        order.copy || !canRefer(settings.store, into)
          ? undefined
          : referTo(order, from, stores, append, output),
      progress: (what, records, bytes, part) => pace.show(what, { records, bytes }, part),
    });
  } finally {
    await pool.end();
    await from.close();
    await opened.close();
  }
}

/** Refers to the snapshot where it is: the old store may only refer to it, too. */
function referTo(
  { settings, into }: ForkOrder,
  from: ReadableStore,
  { options }: RestoreStores,
  append: ForkParts['append'],
  { note }: CommandOutput,
): ForkParts['refer'] {
  return async (snapshot, header, clusterId) => {
    const elsewhere = await readReference(from, snapshot.sequence);
    const url = elsewhere?.url ?? selfContained(settings.store, options);
    const store = retried(await openStore(url, options));
    const holder: Holder = { url, store };
    try {
      const parts = { holder, into, append, note, clock: systemClock, random: systemRandom };
      return await refer(parts, snapshot, header, clusterId);
    } finally {
      await store.close();
    }
  };
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
