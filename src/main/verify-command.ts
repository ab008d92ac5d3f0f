import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../shared/base/clock.ts';
import { errorMessage } from '../shared/base/errors.ts';
import type { Log } from '../shared/base/log.ts';
import { type Finding, findingText, type Note } from './audit/finding.ts';
import { type VerifyResult, verifyStore } from './audit/verify.ts';
import { type CommandOutput, UNREADABLE } from './command-output.ts';
import type { VerifyOrder } from './config/command-verify.ts';
import { TaskPool } from './pool/pool.ts';
import { threads } from './state/workers.ts';
import type { ReadableStore } from './store/store.ts';

/** `netsy verify STORE`: whether a store is whole. */

const WHOLE = 0;
const DAMAGED = 1;

/** Runs the command; resolves to the exit code. Does not reject. */
export async function runVerify(
  order: VerifyOrder,
  openStore: () => Promise<ReadableStore>,
  output: CommandOutput,
): Promise<number> {
  const directory = temporaryDirectory();
  const pool = new TaskPool(order.settings.poolThreads);
  try {
    const store = await openStore();
    output.note(`reading ${store.url}`);
    const begunMs = systemClock.monotonicMs();
    const log = progressLog(output);
    const result = await verifyStore({ store, pool, workers: threads, clock: systemClock, directory, log });
    const seconds = Math.round((systemClock.monotonicMs() - begunMs) / 100) / 10;
    output.result(
      order.json
        ? JSON.stringify({ store: store.url, ...result, seconds })
        : textOf(store.url, result, seconds),
    );
    await store.close();
    return result.whole ? WHOLE : DAMAGED;
  } catch (error) {
    const [message] = errorMessage(error).split('\n', 1);
    if (order.json)
      output.result(JSON.stringify({ store: order.settings.store, whole: null, error: message }));
    output.note(`can't be verified: ${message}`, 'error');
    return UNREADABLE;
  } finally {
    await pool.close();
  }
}

/** One that is gone when the process ends, also by a signal. */
function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'netsy-verify-'));
  process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
  process.on('SIGINT', () => process.exit(130));
  process.on('SIGTERM', () => process.exit(143));
  return directory;
}

/** Progress, as `Progress` logs it, on one line for people. */
function progressLog({ note }: CommandOutput): Log {
  const say = (message: string, fields: object = {}): void => {
    const { records, bytes, bytesTotal, secondsLeft } = fields as Record<string, number | undefined>;
    const left = secondsLeft === undefined ? '' : `, ${secondsLeft} s left`;
    note(`${message}: ${records} records, ${mebibytes(bytes)} of ${mebibytes(bytesTotal)} MiB${left}`);
  };
  return { debug: () => {}, info: say, warn: say, error: say };
}

function mebibytes(bytes = 0): string {
  return (bytes / 2 ** 20).toFixed(1);
}

function textOf(store: string, result: VerifyResult, seconds: number): string {
  const { whole, damages, notes, chunks, snapshots, records, bytes, revision, epoch, sequence } = result;
  const verdict = whole
    ? 'is whole'
    : `is damaged in ${damages.length} ${damages.length === 1 ? 'place' : 'places'}`;
  const end = `sequence ${sequence}, epoch ${epoch}, ${revision === undefined ? 'revision not known' : `revision ${revision}`}`;
  return [
    ...damages.map((finding: Finding) => `damage: ${findingText(finding)}`),
    ...notes.map(({ object, what }: Note) => `note: ${object}: ${what}`),
    ...snapshots.map(
      ({ key, records: held, comparedWith }) => `${key}: ${held} records, ${comparison(comparedWith)}`,
    ),
    `${store} ${verdict}: ${chunks} chunks and ${snapshots.length} snapshots, to ${end};`,
    `${records} records and ${bytes} bytes read in ${seconds} s`,
  ].join('\n');
}

function comparison(comparedWith: string | undefined): string {
  if (comparedWith === undefined) return 'CRCs checked; nothing before it is left to compare it with';
  return `compared with the state by the chunks since ${comparedWith}`;
}
