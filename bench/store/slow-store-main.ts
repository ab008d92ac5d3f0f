import { Command, Option } from 'commander';
import { integer, nonNegative } from '../flags.ts';
import { memoryBackend } from './memory-backend.ts';
import { proxyBackend } from './proxy-backend.ts';
import { PUT_EFFECTS, type PutEffect, startSlowStore } from './slow-store.ts';

/**
 * The slow store's own process. Prints one JSON line with `port` and `adminPort` once it listens,
 * and ends on SIGTERM.
 */
const flags = new Command('slow-store')
  .option('--port <port>', 'port of the S3 endpoint, 0 takes a free one', integer, 0)
  .option('--admin-port <port>', 'port of /__stats and /__reset', integer, 0)
  .option('--backend <memory|url>', 'objects in memory, or the URL of an S3 server', 'memory')
  .option('--bucket <name>', 'bucket of the memory backend', 'bench')
  .option('--seed <number>', 'seed of the delays', integer, 1)
  .option('--put-median-ms <ms>', 'median delay of PUT and POST', nonNegative, 20)
  .option('--read-median-ms <ms>', 'median delay of all other requests', nonNegative, 20)
  .option('--sigma <number>', 'spread of the log-normal delay', nonNegative, 0.35)
  .option('--tail-share <share>', 'share of requests that are stragglers', nonNegative, 0.005)
  .option('--tail-min-ms <ms>', 'a straggler takes at least', nonNegative, 100)
  .option('--tail-max-ms <ms>', 'a straggler takes at most', nonNegative, 400)
  .addOption(
    new Option('--put-effect <when>', 'of its delay, at which a PUT makes its object')
      .choices(PUT_EFFECTS)
      .default('end'),
  )
  .parse()
  .opts<{
    port: number;
    adminPort: number;
    backend: string;
    bucket: string;
    seed: number;
    putMedianMs: number;
    readMedianMs: number;
    sigma: number;
    tailShare: number;
    tailMinMs: number;
    tailMaxMs: number;
    putEffect: PutEffect;
  }>();

const { sigma, tailShare, tailMinMs, tailMaxMs } = flags;
const store = await startSlowStore({
  backend: flags.backend === 'memory' ? memoryBackend([flags.bucket]) : proxyBackend(new URL(flags.backend)),
  put: { medianMs: flags.putMedianMs, sigma, tailShare, tailMinMs, tailMaxMs },
  read: { medianMs: flags.readMedianMs, sigma, tailShare, tailMinMs, tailMaxMs },
  putEffect: flags.putEffect,
  seed: flags.seed,
  port: flags.port,
  adminPort: flags.adminPort,
});
const end = (): void => void store.stop().then(() => process.exit());
process.once('SIGTERM', end);
// The bench holds our stdin: when it is gone, however it ended, so are we.
process.stdin.on('end', end).resume();
process.stdout.write(`${JSON.stringify({ port: store.port, adminPort: store.adminPort })}\n`);
