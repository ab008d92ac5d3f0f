import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type Netsy, startNetsy } from '../support/netsy.ts';
import { assertKept, assertServes } from './aftermath.ts';
import { Fuzzer, residentBytes } from './fuzzer.ts';

const TRIES = 500;
/** What may come on top while the allocator and V8 find their size; a leak of whole requests would be more. */
const GROWTH_BYTES_MAX = 150 * 1024 * 1024;

describe('bad input from anybody, to everything that is served', { timeout: 300_000 }, () => {
  let netsy: Netsy;
  before(async () => {
    // A heap that is small ends the process when something stays in it.
    netsy = await startNetsy({ environment: { NODE_OPTIONS: '--max-old-space-size=256' } });
  });
  after(() => netsy?.stop());

  for (const seed of [1, Number(process.env['SEED'] ?? Date.now() % 2 ** 31)]) {
    it('is answered with an error, ends no process, holds no call up, and leaves no memory', async (context) => {
      context.diagnostic(`seed ${seed}`);
      const fuzzer = new Fuzzer(netsy, seed);
      try {
        await fuzzer.all();
        const warm = residentBytes(netsy.pid);
        while (fuzzer.tries < TRIES) await fuzzer.once();
        const grown = residentBytes(netsy.pid) - warm;
        assert.ok(grown < GROWTH_BYTES_MAX, `${grown} bytes more than before`);
      } finally {
        fuzzer.close();
      }
      await assertServes(netsy);
    });
  }

  it('takes nothing from what was acknowledged, also for a server that starts from the store', async () => {
    netsy = await assertKept(netsy);
    await assertServes(netsy);
  });
});
