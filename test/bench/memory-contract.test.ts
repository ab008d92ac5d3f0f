import { after, before, describe } from 'node:test';
import { defaultDelay } from '../../bench/store/delay.ts';
import { memoryBackend } from '../../bench/store/memory-backend.ts';
import { type SlowStore, startSlowStore } from '../../bench/store/slow-store.ts';
import { openStore } from '../../src/main/store/open.ts';
import { systemClock } from '../../src/shared/base/clock.ts';
import { systemRandom } from '../../src/shared/base/random.ts';
import { describeStoreContract } from '../store/contract.ts';

const noDelay = { ...defaultDelay, medianMs: 0 };

describe("the bench's memory backend", () => {
  let slow: SlowStore;
  before(async () => {
    const backend = memoryBackend(['bench']);
    slow = await startSlowStore({
      backend,
      put: noDelay,
      read: noDelay,
      putEffect: 'end',
      seed: 1,
      port: 0,
      adminPort: 0,
    });
  });
  after(() => slow.stop());

  describeStoreContract('objects in memory, through our S3 client', {
    open: () =>
      openStore('s3://bench/some/prefix', {
        clock: systemClock,
        random: systemRandom,
        environment: {
          HOME: '/nonexistent',
          AWS_ENDPOINT_URL: `http://127.0.0.1:${slow.port}`,
          AWS_ACCESS_KEY_ID: 'bench',
          AWS_SECRET_ACCESS_KEY: 'bench-secret',
          AWS_REGION: 'us-east-1',
        },
      }),
    manyObjects: 1_100,
  });
});
