import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { missingTools } from '../support/tools.ts';
import { startVersityGateway } from '../support/versitygw.ts';
import { type CrashPoint, describePoint } from './crash-point.ts';
import { Ledger } from './ledger.ts';
import { newSite, runVictim, withSite } from './victim-process.ts';

const POINTS: readonly CrashPoint[] = [
  { at: 'after put', count: 1 },
  { at: 'end of stage', stage: 'upload', count: 9 },
  { at: 'end of stage', stage: 'wait turn', count: 5 },
  { at: 'end of stage', stage: 'reply', count: 30 },
  { at: 'before put', count: 12 },
  { at: 'after put', count: 12 },
  { at: 'overtaken', count: 8, later: 4 },
];

describe('killed at a point of the commit pipeline, on S3', { timeout: 180_000 }, () => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);

  it('shows what was acknowledged after every crash', { skip: missingTools('go') }, async (test) => {
    test.diagnostic(`SEED=${seed}`);
    const gateway = await startVersityGateway({ buckets: ['crash'] });
    test.after(() => gateway.stop());
    const site = newSite(['--store', 's3://crash/log'], gateway.environment);
    const ledger = new Ledger(seed);
    for (const [index, point] of POINTS.entries()) {
      await test.test(describePoint(point), async () => {
        await runVictim(site, point, ledger);
        if (index % 2 === 1) rmSync(join(site.dataDir, 'cache'), { recursive: true });
      });
    }
    await withSite(site, ledger, 'stop');
    rmSync(site.dataDir, { recursive: true });
    await withSite(site, ledger, 'kill');
    test.diagnostic(`${ledger.acknowledged} acknowledged, ${ledger.unknown} of unknown fate`);
  });
});
