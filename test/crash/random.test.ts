import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Seeded } from '../support/seeded.ts';
import { Ledger } from './ledger.ts';
import { newSite, withSite } from './victim-process.ts';

const ROUNDS = 12;
const OPERATIONS_MAX = 400;

describe('kill -9 under a write load', { timeout: 180_000 }, () => {
  it(`loses nothing acknowledged in ${ROUNDS} rounds, with and without its cache`, async (test) => {
    const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
    test.diagnostic(`SEED=${seed}`);
    const seeded = new Seeded(seed);
    const ledger = new Ledger(seed);
    const site = newSite(seeded.integer(0, 2) === 0 ? [] : ['--batch-max-requests', '1000']);
    for (let round = 0; round < ROUNDS; round++) {
      const acknowledged = seeded.integer(0, OPERATIONS_MAX);
      await withSite(site, ledger, 'kill', async (client, netsy) => {
        const loaded = ledger.load(client);
        await ledger.untilAcknowledged(acknowledged);
        await netsy.kill();
        await loaded;
      });
      if (seeded.integer(0, 4) === 0) rmSync(join(site.dataDir, 'cache'), { recursive: true });
    }
    const log = await withSite(site, ledger, 'stop');
    assert.match(log, new RegExp(`"epoch":${ROUNDS + 1},`), 'every start claimed the log once');
    test.diagnostic(`${ledger.acknowledged} acknowledged, ${ledger.unknown} of unknown fate`);
  });
});
