import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BenchOptions } from './options.ts';
import { type Child, firstLine, startChild } from './processes.ts';
import type { StoreStats } from './store/slow-store.ts';

/** The store that one server of one round writes to. */
export interface BenchStore {
  readonly description: string;
  /** For netsy's `--store`. */
  readonly url: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Undefined when the store is not a process of ours. */
  readonly child?: Child;
  /** Counters since the last call with `reset`; undefined when the store doesn't count. */
  stats(reset: boolean): Promise<StoreStats | undefined>;
}

const noStats = (): Promise<undefined> => Promise.resolve(undefined);

/** Starts a fresh store as the options say; `directory` is empty and goes when the round ends. */
export async function startStore(options: BenchOptions, directory: string): Promise<BenchStore> {
  switch (options.store) {
    case 'file': {
      const path = join(directory, 'store');
      return { description: 'a directory', url: `file://${path}`, environment: {}, stats: noStats };
    }
    case 's3': {
      const url = options.storeUrl ?? '';
      return { description: url, url, environment: {}, stats: noStats };
    }
    case 'slow-s3':
      return await startSlowS3(options);
  }
}

async function startSlowS3(options: BenchOptions): Promise<BenchStore> {
  const child = await startChild('store', process.execPath, [
    fileURLToPath(new URL('./store/slow-store-main.js', import.meta.url)),
    `--backend=${options.backend}`,
    `--seed=${options.seed}`,
    `--put-median-ms=${options.putMedianMs}`,
    `--read-median-ms=${options.readMedianMs}`,
    `--sigma=${options.sigma}`,
    `--tail-share=${options.tailShare}`,
    `--tail-min-ms=${options.tailMinMs}`,
    `--tail-max-ms=${options.tailMaxMs}`,
  ]);
  const { port, adminPort } = JSON.parse(await firstLine(child)) as { port: number; adminPort: number };
  const stats = async (reset: boolean): Promise<StoreStats> => {
    const path = reset ? '__reset' : '__stats';
    const answer = await fetch(`http://127.0.0.1:${adminPort}/${path}`, { method: reset ? 'POST' : 'GET' });
    return (await answer.json()) as StoreStats;
  };
  const { backend } = await stats(false);
  return {
    description: `slow S3 (${backend}): PUT median ${options.putMedianMs} ms, sigma ${options.sigma}, ${options.tailShare * 100} % at ${options.tailMinMs}-${options.tailMaxMs} ms, seed ${options.seed}`,
    url: 's3://bench/prefix',
    environment: {
      AWS_ENDPOINT_URL: `http://127.0.0.1:${port}`,
      // The memory backend takes any; an S3 server behind the proxy takes those of our environment.
      AWS_ACCESS_KEY_ID: process.env['AWS_ACCESS_KEY_ID'] ?? 'bench',
      AWS_SECRET_ACCESS_KEY: process.env['AWS_SECRET_ACCESS_KEY'] ?? 'bench-secret',
      AWS_REGION: process.env['AWS_REGION'] ?? 'us-east-1',
    },
    child,
    stats,
  };
}
