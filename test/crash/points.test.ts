import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { type CrashPoint, describePoint } from './crash-point.ts';
import { Ledger } from './ledger.ts';
import { newSite, runVictim, withSite } from './victim-process.ts';

const STAGES = ['gather', 'evaluate', 'upload', 'wait turn', 'reply'] as const;

/** The first chunk is the epoch chunk, so `before put` and `after put` number 1 are crashes in recovery. */
const POINTS: readonly CrashPoint[] = [
  ...STAGES.flatMap((stage) => [1, 4, 23].map((count): CrashPoint => ({ at: 'end of stage', stage, count }))),
  ...[1, 2, 5, 19].flatMap((count): CrashPoint[] => [
    { at: 'before put', count },
    { at: 'after put', count },
  ]),
  ...[2, 3, 11].map((count): CrashPoint => ({ at: 'overtaken', count, later: 3 })),
];

/** What happens to the cache while the server is down. */
const CACHE_FATES = ['kept', 'deleted', 'kept', 'older'] as const;

describe('killed at a point of the commit pipeline, on a directory', { timeout: 180_000 }, () => {
  const seed = Number(process.env['SEED'] ?? 7 + (Date.now() % 1_000_000));
  const site = newSite();
  const cache = join(site.dataDir, 'cache');
  const older = join(site.dataDir, 'older-cache');
  const ledger = new Ledger(seed);

  POINTS.forEach((point, index) => {
    const fate = CACHE_FATES[index % CACHE_FATES.length]!;
    it(`${describePoint(point)}: what was acknowledged is there, with the cache ${fate}`, async (test) => {
      test.diagnostic(`SEED=${seed}`);
      await runVictim(site, point, ledger);
      if (fate === 'deleted') rmSync(cache, { recursive: true });
      if (fate === 'older') {
        rmSync(cache, { recursive: true });
        cpSync(older, cache, { recursive: true });
      }
      if (fate === 'kept') cpSync(cache, older, { recursive: true });
    });
  });

  it('is all there in the end, after a restart on the cache and after one without it', async (test) => {
    await withSite(site, ledger, 'stop');
    rmSync(cache, { recursive: true });
    await withSite(site, ledger, 'kill');
    const { acknowledged, unknown, refused } = ledger;
    test.diagnostic(
      `SEED=${seed}: ${acknowledged} acknowledged, ${refused} refused, ${unknown} of unknown fate`,
    );
  });
});
