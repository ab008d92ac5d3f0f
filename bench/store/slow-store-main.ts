import { Command } from 'commander';
import { integer } from '../flags.ts';
import { addDelayFlags } from './delay-flags.ts';
import { memoryBackend } from './memory-backend.ts';
import { proxyBackend } from './proxy-backend.ts';
import { type PutEffect, startSlowStore } from './slow-store.ts';

/**
 * The slow store's own process. Prints one JSON line with `port` and `adminPort` once it listens,
 * and ends on SIGTERM.
 */
const flags = addDelayFlags(new Command('slow-store'))
  .option('--port <port>', 'port of the S3 endpoint, 0 takes a free one', integer, 0)
  .option('--admin-port <port>', 'port of /__stats and /__reset', integer, 0)
  .option('--backend <memory|url>', 'objects in memory, or the URL of an S3 server', 'memory')
  .option('--bucket <name>', 'bucket of the memory backend', 'bench')
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
