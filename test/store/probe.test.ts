import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StoreError } from '../../src/main/store/errors.ts';
import { probeStore } from '../../src/main/store/probe.ts';
import { silentLog } from '../../src/shared/base/log.ts';
import { ManualClock } from '../support/clock.ts';
import { faultyStore, randomFaults } from '../support/faulty-store.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { Seeded } from '../support/seeded.ts';
import { keysOf } from './contract.ts';

const SEED = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
const RETRY_MS = 60_000;

/** Nobody waits: whoever sleeps has slept. */
class HurriedClock extends ManualClock {
  override async sleep(delayMs: number): Promise<void> {
    await Promise.resolve();
    this.advance(delayMs);
  }
}

describe('the probe of a store', () => {
  it('gets through to one that refuses a third of its requests or loses their answers', async (test) => {
    test.diagnostic(`SEED=${SEED}`);
    let late = 0;
    for (let round = 0; round < 200; round++) {
      const random = new Seeded(SEED + round);
      const clock = new HurriedClock();
      const memory = new MemoryStore();
      const store = faultyStore(memory, randomFaults(random, 0.35, 10), clock);
      await probeStore(store, random, { clock, retryForMs: RETRY_MS, log: silentLog }).catch(
        (error: unknown) => {
          assert.ok(error instanceof StoreError && error.kind === 'transient', String(error));
          late++;
        },
      );
    }
    assert.ok(late <= 4, `${late} of 200 did not get through in a minute`);
  });

  it('leaves nothing behind when it gets through at once', async () => {
    const memory = new MemoryStore();
    const clock = new HurriedClock();
    await probeStore(memory, new Seeded(SEED), { clock, retryForMs: RETRY_MS, log: silentLog });
    assert.deepEqual(await keysOf(memory, 'probe/'), []);
  });
});
