import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { LogObjects } from '../support/log-objects.ts';
import { untilLogged } from '../support/netsy.ts';
import { missingTools } from '../support/tools.ts';
import { startVersityGateway } from '../support/versitygw.ts';
import { describePoint, type UpkeepCrashPoint } from './crash-point.ts';
import { Ledger } from './ledger.ts';
import { newSite, runVictim, type Site, withSite } from './victim-process.ts';

/** A chunk for each write: how many there are must not depend on how fast the machine is. */
const SINGLE = ['--batch-max-requests', '1'];
const MERGING = ['--merge-chunks', '6'];
const POINTS: readonly UpkeepCrashPoint[] = [
  { at: 'before pack', count: 1 },
  { at: 'after pack', count: 1 },
  { at: 'after pack', count: 2 },
  { at: 'after delete', count: 1 },
  { at: 'after delete', count: 9 },
];

/** Killed at each point, the store's objects made old in between; every other start has no cache. */
async function surviveAll(
  test: TestContext,
  site: Site,
  objects: LogObjects,
  ledger: Ledger,
  points: readonly UpkeepCrashPoint[] = POINTS,
): Promise<void> {
  const merging = { ...site, arguments: [...site.arguments, ...MERGING] };
  const idle = { ...site, arguments: [...site.arguments, '--merge-chunks', '0'] };
  await withSite(idle, ledger, 'kill', (client) => ledger.load(client, { operationsMax: 15 }));
  for (const [index, point] of points.entries()) {
    await test.test(`${describePoint(point)}: what was acknowledged is there`, async () => {
      objects.age(3);
      // Of each lane. A second pack is made of what is written after the first one was.
      const load = point.at === 'after pack' ? {} : { operationsMax: 15 };
      await runVictim(merging, point, ledger, load);
      if (index % 2 === 0) rmSync(join(site.dataDir, 'cache'), { recursive: true });
    });
  }
  await test.test('in the end few objects are left, and all of the log is in them', async () => {
    objects.age(3);
    const before = objects.sequences('chunks');
    await withSite(merging, ledger, 'stop', async (client, netsy) => {
      await ledger.load(client, { operationsMax: 6 });
      await untilLogged(netsy, /"msg":"deleted what packs hold"/);
    });
    const left = objects.sequences('chunks').filter((sequence) => before.includes(sequence));
    assert.ok(left.length < before.length / 4, `${left.length} of ${before.length} chunks are left`);
    rmSync(join(site.dataDir, 'cache'), { recursive: true });
    await withSite(idle, ledger, 'stop');
  });
}

describe('killed while chunks are merged', { timeout: 300_000 }, () => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);

  it('on a directory', async (test) => {
    test.diagnostic(`SEED=${seed}`);
    const site = newSite(SINGLE);
    await surviveAll(test, site, new LogObjects(join(site.dataDir, 'store')), new Ledger(seed, 8));
  });

  it('on S3', { skip: missingTools('go') }, async (test) => {
    test.diagnostic(`SEED=${seed}`);
    const gateway = await startVersityGateway({ buckets: ['merging'] });
    test.after(() => gateway.stop());
    const site = newSite([...SINGLE, '--store', 's3://merging/log'], gateway.environment);
    const objects = new LogObjects(join(gateway.directory, 'merging', 'log'));
    await surviveAll(test, site, objects, new Ledger(seed, 8), [POINTS[2]!, POINTS[4]!]);
  });
});
