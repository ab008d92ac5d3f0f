import { systemClock } from '../shared/base/clock.ts';
import type { Log } from '../shared/base/log.ts';
import { openFilesMax } from '../shared/base/open-files.ts';
import { recordPauses } from '../shared/base/pauses.ts';
import { systemRandom } from '../shared/base/random.ts';
import { ETCD_VERSION, NETSY_VERSION } from '../shared/model/version.ts';
import { FAILED } from './command-output.ts';
import { SlowWrites } from './commit/slow-writes.ts';
import type { Settings } from './config/settings.ts';
import { createLog } from './ops/log.ts';
import { commitMeter } from './ops/meters.ts';
import { Metrics } from './ops/metrics.ts';
import { openProbed } from './probed-store.ts';
import { type ClientLimits, connectionsWithin } from './rpc/client-limits.ts';
import { Server } from './server.ts';

/** After the drain: files and threads are closed by then, or the process ends without. */
const CLOSING_MS_MAX = 5_000;

/** Serves until a signal or an error ends it. */
export async function runServe(settings: Settings, warnings: readonly string[]): Promise<void> {
  const log = createLog({ level: settings.logLevel, format: settings.logFormat });
  for (const warning of warnings) log.warn(warning);
  log.info('starting', {
    version: NETSY_VERSION,
    etcd: ETCD_VERSION,
    store: settings.store,
    node: process.version,
  });
  const metrics = new Metrics();
  const slowWrites = new SlowWrites(settings.slowWriteLog, {
    clock: systemClock,
    log,
    meter: metrics.slowWrites,
  });
  let starting: Server | undefined;
  let serving: Server | undefined;
  const stop = async (): Promise<void> => {
    await (serving === undefined ? starting?.release() : serving.stop());
    slowWrites.flush();
  };
  stopOnSignals(stop, settings.drainTimeoutMs, log);
  recordPauses(metrics.pauses.add('main'), systemClock);
  const store = await openProbed(settings, metrics, settings.store, log);
  const server = new Server({
    settings: { ...settings, limits: limitsWithinFiles(settings, log) },
    store,
    metrics,
    meter: { ...commitMeter(metrics), finished: (batch) => slowWrites.finished(batch) },
    clock: systemClock,
    random: systemRandom,
    log,
    fatal: (error) => {
      log.error('stopping: this process can not go on', { error: error.message });
      server.abort();
      slowWrites.flush();
      // Replies that were handed to the network may still leave.
      setImmediate(() => process.exit(FAILED));
    },
  });
  starting = server;
  const role = await server.start();
  serving = server;
  const { addresses: clients, metricsAddresses: metricsUrls } = server;
  log.info('serving', { clients, ...(metricsUrls.length > 0 && { metrics: metricsUrls }), role });
}

/** The limits, such that clients leave the files that the store and the cache need: without them the lease runs out. */
function limitsWithinFiles({ limits, listenClientUrls }: Settings, log: Log): ClientLimits {
  const openFiles = openFilesMax() ?? Number.POSITIVE_INFINITY;
  const connections = connectionsWithin(openFiles, listenClientUrls.length, limits.connections);
  if (connections < limits.connections) {
    log.warn(
      '--max-connections is more than the open files allow, and is lowered: raise those (ulimit -n, LimitNOFILE)',
      { maxConnections: limits.connections, lowered: connections, openFiles },
    );
  }
  return { ...limits, connections };
}

/**
 * The first SIGTERM or SIGINT drains, a second one ends at once. From the start on, when there is nothing to drain
 * yet: as a container's first process, one without a handler would not be ended by them.
 */
function stopOnSignals(drain: () => Promise<void>, drainTimeoutMs: number, log: Log): void {
  let stopping = false;
  const stop = (signal: NodeJS.Signals): void => {
    if (stopping) process.exit(FAILED);
    stopping = true;
    log.info('stopping', { signal });
    systemClock.after(drainTimeoutMs + CLOSING_MS_MAX, () => {
      log.error('stopping took too long: ended at once; nothing that was acknowledged is lost');
      process.exit(FAILED);
    });
    drain().then(
      () => process.exit(0),
      (error: unknown) => {
        log.error('stopping failed', { error: String(error) });
        process.exit(FAILED);
      },
    );
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
}
