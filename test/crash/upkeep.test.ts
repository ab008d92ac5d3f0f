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

/** Snapshots all the time, and nothing kept that needn't be. */
const BUSY = ['--snapshot-records', '20', '--snapshot-age', '100ms', '--retention', '0'];
const IDLE = ['--snapshot-records', '1000000000', '--snapshot-age', '1000h', '--retention', 'forever'];

const POINTS: readonly UpkeepCrashPoint[] = [
  { at: 'snapshot piece', count: 1 },
  { at: 'snapshot piece', count: 3 },
  { at: 'after snapshot', count: 1 },
  { at: 'after delete', count: 1 },
  { at: 'after delete', count: 20 },
];

/** Killed at each point, the store's objects made old in between. */
async function surviveAll(
  test: TestContext,
  site: Site,
  objects: LogObjects,
  ledger: Ledger,
  points: readonly UpkeepCrashPoint[] = POINTS,
): Promise<void> {
  const busy = { ...site, arguments: [...site.arguments, ...BUSY] };
  const idle = { ...site, arguments: [...site.arguments, ...IDLE] };
  // Something to delete: a snapshot, and chunks that only it needs. The points that come first leave others.
  const keeping = { ...busy, arguments: [...busy.arguments, '--retention', 'forever'] };
  await withSite(keeping, ledger, 'kill', async (client, netsy) => {
    await ledger.load(client, { operationsMax: 15 });
    await untilLogged(netsy, /"msg":"wrote a snapshot"/);
  });
  for (const [index, point] of points.entries()) {
    await test.test(`${describePoint(point)}: what was acknowledged is there`, async () => {
      objects.age(3);
      // Verifies first what the one before it left.
      await runVictim(busy, point, ledger, { operationsMax: 3 });
      if (index % 2 === 0) rmSync(join(site.dataDir, 'cache'), { recursive: true });
    });
  }
  await test.test('in the end all that is kept is needed, and it is enough', async () => {
    objects.age(3);
    const before = objects.sequences('chunks');
    await withSite(busy, ledger, 'stop', async (client, netsy) => {
      await ledger.load(client, { operationsMax: 4 });
      await untilLogged(netsy, /"msg":"deleted what is not kept"/);
    });
    const snapshots = objects.sequences('snapshots');
    const chunks = objects.sequences('chunks');
    assert.ok(chunks[0]! > before[0]!, 'the beginning is deleted');
    assert.ok(snapshots.length >= 2, 'two snapshots stay');
    const second = snapshots[snapshots.length - 2]!;
    const after = before.filter((sequence) => sequence > second);
    assert.deepEqual(
      after,
      chunks.filter((sequence) => after.includes(sequence)),
      'what comes after them stays',
    );
    rmSync(join(site.dataDir, 'cache'), { recursive: true });
    assert.match(await withSite(idle, ledger, 'stop'), /"msg":"loaded a snapshot"/);
  });
}

describe('killed while the log is kept bounded', { timeout: 300_000 }, () => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);

  it('on a directory', async (test) => {
    test.diagnostic(`SEED=${seed}`);
    const site = newSite();
    await surviveAll(test, site, new LogObjects(join(site.dataDir, 'store')), new Ledger(seed, 8));
  });

  it('on S3', { skip: missingTools('go') }, async (test) => {
    test.diagnostic(`SEED=${seed}`);
    const gateway = await startVersityGateway({ buckets: ['upkeep'] });
    test.after(() => gateway.stop());
    const site = newSite(['--store', 's3://upkeep/log'], gateway.environment);
    const objects = new LogObjects(join(gateway.directory, 'upkeep', 'log'));
    await surviveAll(test, site, objects, new Ledger(seed, 8), [POINTS[1]!, POINTS[2]!, POINTS[4]!]);
  });
});
