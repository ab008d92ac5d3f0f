import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../src/shared/base/clock.ts';
import { type Netsy, startNetsy, temporaryDirectory } from '../support/netsy.ts';
import { type RunningProcess, startProcess } from '../support/process.ts';
import { Client } from './client.ts';
import { CRASH_POINT, type CrashPoint, type UpkeepCrashPoint } from './crash-point.ts';
import type { Ledger, LoadOptions } from './ledger.ts';

const VICTIM = fileURLToPath(new URL('../../netsy/victim.cjs', import.meta.url));
const DEADLINE_MS = 60_000;

/** Where a log is kept, and what a process that serves it is started with. */
export interface Site {
  readonly dataDir: string;
  readonly arguments: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

/** Small batches, so that a load has several chunks in flight. */
const SMALL_BATCHES = ['--batch-max-requests', '4', '--hedge-after', 'off'];

/** A directory store in a new data directory, or the store that `extra` names. */
export function newSite(
  extra: readonly string[] = [],
  environment: Readonly<Record<string, string>> = {},
): Site {
  return { dataDir: temporaryDirectory(), arguments: [...SMALL_BATCHES, ...extra], environment };
}

/** The real server on a site. */
function startSite(site: Site): Promise<Netsy> {
  return startNetsy(site);
}

/** Starts a victim, verifies what is there if it lives long enough, and loads it until it dies at its crash point. */
export async function runVictim(
  site: Site,
  point: CrashPoint | UpkeepCrashPoint,
  ledger: Ledger,
  options: LoadOptions = {},
): Promise<void> {
  const logFile = join(site.dataDir, 'victim.log');
  rmSync(logFile, { force: true });
  const victim = await startProcess({
    command: process.execPath,
    arguments: [
      VICTIM,
      ...['--data-dir', site.dataDir, '--listen-client-urls', 'http://127.0.0.1:0'],
      ...site.arguments,
    ],
    environment: { ...site.environment, [CRASH_POINT]: JSON.stringify(point) },
    logFile,
  });
  const authority = await servedOrDead(victim);
  if (authority !== undefined) {
    const client = new Client(authority);
    try {
      await ledger.verify(client);
      // With an end to the load it dies by something that comes later; `ended` says how.
      await ledger.load(client, options);
      if (options.operationsMax !== undefined)
        await Promise.race([victim.ended, systemClock.sleep(DEADLINE_MS)]);
      assert.ok(options.operationsMax === undefined || !victim.running(), 'the victim does not die');
    } finally {
      client.close();
      await victim.kill();
    }
  }
  assert.equal(await victim.ended, 'signal SIGKILL', readFileSync(logFile, 'utf8'));
}

/** Where it listens; undefined when it died before. */
async function servedOrDead(victim: RunningProcess): Promise<string | undefined> {
  const deadline = systemClock.monotonicMs() + DEADLINE_MS;
  for (;;) {
    const served = /"clients":\["http:\/\/([^"]+)"\]/.exec(readFileSync(victim.logFile, 'utf8'));
    if (served !== null) return served[1];
    if (!victim.running()) return undefined;
    assert.ok(systemClock.monotonicMs() < deadline, 'the victim neither serves nor dies');
    await systemClock.sleep(10);
  }
}

/** Starts the real server, verifies the ledger against it and runs `body`. The server is stopped or killed afterwards. */
export async function withSite(
  site: Site,
  ledger: Ledger,
  end: 'stop' | 'kill',
  body: (client: Client, netsy: Netsy) => Promise<void> = async () => {},
): Promise<string> {
  const netsy = await startSite(site);
  const client = new Client(netsy.authority);
  try {
    await ledger.verify(client);
    await body(client, netsy);
  } catch (error) {
    client.close();
    await netsy.stop();
    throw new Error(`${(error as Error).message}\n${netsy.log()}`, { cause: error });
  }
  client.close();
  if (end === 'kill') await netsy.kill();
  else assert.equal(await netsy.stop(), 'exit code 0', netsy.log());
  return netsy.log();
}
