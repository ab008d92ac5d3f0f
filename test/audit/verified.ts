import { type StoreStatus, statusOf } from '../../src/main/audit/status.ts';
import { type VerifyResult, verifyStore } from '../../src/main/audit/verify.ts';
import { threads } from '../../src/main/state/workers.ts';
import type { ReadableStore } from '../../src/main/store/store.ts';
import { systemClock } from '../../src/shared/base/clock.ts';
import { silentLog } from '../../src/shared/base/log.ts';
import { compareCaches } from '../../src/workers/sqlite/cache-differences.ts';
import { openChunk } from '../../src/workers/task/open.ts';
import { temporaryDirectory } from '../support/netsy.ts';
import { localPool } from '../support/snapshots.ts';

/** Verifies a store without a pool's threads. */
export function verified(store: ReadableStore): Promise<VerifyResult> {
  return verifyStore({
    store,
    pool: {
      ...localPool,
      open: openChunk,
      compareCaches: async (expected, found, max) => compareCaches(expected, found, max),
    },
    workers: threads,
    clock: systemClock,
    directory: temporaryDirectory(),
    log: silentLog,
  });
}

/** The status of a store where a byte for a month, and a PUT, cost one. */
export function status(store: ReadableStore): Promise<StoreStatus> {
  return statusOf({
    store,
    pool: localPool,
    clock: systemClock,
    pricePerGbMonth: 1024 ** 3,
    pricePer1000Puts: 1000,
  });
}
