import { systemClock } from '../shared/base/clock.ts';
import type { LogPoint, PrimaryStatus, SnapshotStatus, StoreStatus } from './audit/status.ts';
import { statusOf } from './audit/status.ts';
import type { StatusOrder } from './config/command-status.ts';
import { TaskPool } from './pool/pool.ts';
import type { ReadableStore } from './store/store.ts';

/** `netsy status STORE`: what a store holds. */

/** Runs the command. Rejects with an Error of one line. */
export async function runStatus(
  order: StatusOrder,
  openStore: () => Promise<ReadableStore>,
  result: (text: string) => void,
): Promise<void> {
  const { pricePerGbMonth, pricePer1000Puts, settings, json } = order;
  const store = await openStore();
  const pool = new TaskPool(settings.poolThreads);
  try {
    const status = await statusOf({ store, pool, clock: systemClock, pricePerGbMonth, pricePer1000Puts });
    result(json ? JSON.stringify(status) : textOf(status));
  } finally {
    await pool.close();
    await store.close();
  }
}

function textOf(status: StoreStatus): string {
  const { store, empty, epoch, primary, end, compactRevision, snapshots, oldestRestorePoint, odd } = status;
  const lines: [string, string][] = [['store', store]];
  if (empty) lines.push(['log', 'none: the store is empty']);
  else {
    lines.push(
      ['epoch', String(epoch ?? 'not known')],
      ['primary', primaryText(primary)],
      ['end of log', pointText(end)],
      ['compacted', compactionText(compactRevision, snapshots)],
      ['restorable', `from ${pointText(oldestRestorePoint)}`],
      ...snapshots.map((snapshot): [string, string] => ['snapshot', snapshotText(snapshot)]),
    );
  }
  for (const { snapshot, store: fork } of status.pins)
    lines.push(['pin', `${snapshot} is kept for ${fork ?? 'a fork that its pin does not name'}`]);
  for (const [kind, { objects, bytes }] of Object.entries(status.objects)) {
    if (objects > 0) lines.push([kind, `${objects} objects, ${sizeText(bytes)}`]);
  }
  const { storagePerMonth, pricePerGbMonth, putsLastHour, putsPerMonth, pricePer1000Puts } = status.cost;
  lines.push(
    ['storage cost', `${moneyText(storagePerMonth)} per month, at ${pricePerGbMonth} per GB and month`],
    [
      'write cost',
      `${moneyText(putsPerMonth)} per month, at ${pricePer1000Puts} per 1,000 PUTs and ${putsLastHour} PUTs an hour, as in the last one`,
    ],
    ...odd.map(({ object, what }): [string, string] => ['odd', `${object}: ${what}`]),
  );
  return lines.map(([name, text]) => `${name.padEnd(12)}  ${text}`).join('\n');
}

function primaryText(primary: PrimaryStatus | undefined): string {
  if (primary === undefined) return 'none: the store has no lease';
  const { holder, name, clientUrls, ageMs, state, ttlMs } = primary;
  const who = `${name} (${holder})${clientUrls.length === 0 ? '' : ` at ${clientUrls.join(', ')}`}`;
  const ago = `${ageText(ageMs)} ago`;
  if (state === 'released') return `none: ${who} stopped ${ago}`;
  if (state === 'expired') return `none: ${who} has not renewed its lease of ${ageText(ttlMs)} since ${ago}`;
  return `${who}, lease renewed ${ago}`;
}

function pointText(point: LogPoint | undefined): string {
  if (point === undefined) return 'nothing';
  return `revision ${point.revision ?? 'not known'}, ${point.time}, sequence ${point.sequence}`;
}

function compactionText(revision: number | undefined, snapshots: readonly SnapshotStatus[]): string {
  if (revision === undefined) return snapshots.length === 0 ? 'not known: there is no snapshot' : 'not known';
  return revision < 0
    ? 'not before the newest snapshot'
    : `at revision ${revision}, as the newest snapshot says`;
}

function snapshotText({ sequence, revision, records, ageMs, bytes }: SnapshotStatus): string {
  if (revision === undefined) return `sequence ${sequence}, ${sizeText(bytes)}, damaged`;
  return `sequence ${sequence}, revision ${revision}, ${records} records, ${sizeText(bytes)}, ${ageText(ageMs)} old`;
}

function sizeText(bytes: number): string {
  for (const [unit, size] of [
    ['GiB', 2 ** 30],
    ['MiB', 2 ** 20],
    ['KiB', 2 ** 10],
  ] as const) {
    if (bytes >= size) return `${(bytes / size).toFixed(1)} ${unit}`;
  }
  return `${bytes} bytes`;
}

function ageText(ms: number): string {
  for (const [unit, size] of [
    ['days', 86_400_000],
    ['h', 3_600_000],
    ['min', 60_000],
  ] as const) {
    if (ms >= 2 * size) return `${Math.floor(ms / size)} ${unit}`;
  }
  return `${Math.round(ms / 1000)} s`;
}

function moneyText(amount: number): string {
  return amount >= 0.01 || amount === 0 ? amount.toFixed(2) : 'less than 0.01';
}
