import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { runCampaign } from './files/campaign.ts';

const MILLISECONDS = 9_000;

describe('damaged files, to everything that reads files', { timeout: 120_000 }, () => {
  it('are refused or read as what they were: no crash, no hang, no corrupt file accepted', async (context) => {
    const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
    context.diagnostic(`seed ${seed}; npm run fuzz -- --target files for more`);
    const { counts, failures } = await runCampaign({ seed, inputs: 1_000_000, milliseconds: MILLISECONDS });
    assert.deepEqual(failures, []);
    assert.ok(counts.inputs > 0);
    context.diagnostic(`${counts.inputs} inputs`);
  });
});
