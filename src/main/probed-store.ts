import { systemClock } from '../shared/base/clock.ts';
import { type Log, silentLog } from '../shared/base/log.ts';
import { systemRandom } from '../shared/base/random.ts';
import type { Settings } from './config/settings.ts';
import { storeMeter } from './ops/meters.ts';
import type { Metrics } from './ops/metrics.ts';
import { meteredStore } from './store/metered.ts';
import { type OpenStoreOptions, openReferences, openStore } from './store/open.ts';
import { probeStore } from './store/probe.ts';
import type { ObjectStore } from './store/store.ts';

/** The store may start at the same time as this program does. */
const PROBE_RETRY_MS = 60_000;

/** What the settings say of how stores are reached. */
export function storeOptions({ s3 }: Settings, log: Log = silentLog): OpenStoreOptions {
  return { clock: systemClock, random: systemRandom, environment: process.env, log, ...s3 };
}

/** Opens the store and proves that it can hold the log. */
export async function openProbed(
  settings: Settings,
  metrics: Metrics,
  url = settings.store,
  log = silentLog,
): Promise<ObjectStore> {
  const options = storeOptions(settings, log);
  const opened = await openStore(url, options);
  const store = meteredStore(opened, storeMeter(metrics), systemClock);
  await probeStore(store, systemRandom, { clock: systemClock, retryForMs: PROBE_RETRY_MS, log });
  return openReferences(store, options, log);
}
