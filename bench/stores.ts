import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { memoryDirectory } from '../test/support/memory-directory.ts';
import { startVersityGateway } from '../test/support/versitygw.ts';
import type { BenchOptions } from './options.ts';
import { firstLine, startChild } from './processes.ts';
import type { StoreStats } from './store/slow-store.ts';

/** The store that one server of one round writes to. */
export interface BenchStore {
  readonly description: string;
  /** For netsy's `--store`. */
  readonly url: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Its processes; none when the store is not ours. */
  readonly pids: readonly number[];
  /** Counters since the last call with `reset`; undefined when the store doesn't count. */
  stats(reset: boolean): Promise<StoreStats | undefined>;
  stop(): Promise<void>;
}

/** What ten minutes of the scenario memory put, and as much again. */
const IN_MEMORY_BYTES_MIN = 8 * 1024 ** 3;

const uncounted = { pids: [], stats: () => Promise.resolve(undefined), stop: () => Promise.resolve() };

/** Starts a fresh store as the options say; `directory` is empty, and its files are emptied when the run ends. */
export async function startStore(options: BenchOptions, directory: string): Promise<BenchStore> {
  switch (options.store) {
    case 'file': {
      const path = join(directory, 'store');
      return { description: 'a directory', url: `file://${path}`, environment: {}, ...uncounted };
    }
    case 's3': {
      const url = options.storeUrl ?? '';
      return { description: url, url, environment: {}, ...uncounted };
    }
    case 'slow-s3':
      return await startSlowS3(options);
  }
}

/** What is behind the delay: what slow-store-main's `--backend` gets, and who may talk to it. */
interface Upstream {
  /** Said in the bench's output; undefined: as the slow store names it. */
  readonly name?: string;
  readonly backend: string;
  readonly pids: readonly number[];
  readonly credentials: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

async function startUpstream(backend: string): Promise<Upstream> {
  if (backend === 'versitygw') {
    // It does not sync its files, so that a disk would add nothing but its file system's moods: ext4 without a journal makes
    // files several times dearer after the last run's were removed.
    const memory = memoryDirectory(IN_MEMORY_BYTES_MIN);
    const gateway = await startVersityGateway({ buckets: ['bench'], parent: memory ?? tmpdir() });
    // Its keys go to our server; its endpoint goes to the slow store alone.
    const { AWS_ENDPOINT_URL_S3: _, ...credentials } = gateway.environment;
    const { endpoint, process } = gateway;
    const name = `versitygw on ${memory ?? 'disk'}`;
    return { name, backend: endpoint, pids: [process.pid], credentials, stop: () => gateway.stop() };
  }
  // The memory backend takes any; a server that runs already takes those of our environment.
  const credentials = {
    AWS_ACCESS_KEY_ID: process.env['AWS_ACCESS_KEY_ID'] ?? 'bench',
    AWS_SECRET_ACCESS_KEY: process.env['AWS_SECRET_ACCESS_KEY'] ?? 'bench-secret',
  };
  return { backend, pids: [], credentials, stop: () => Promise.resolve() };
}

async function startSlowS3(options: BenchOptions): Promise<BenchStore> {
  const upstream = await startUpstream(options.backend);
  const child = await startChild('store', process.execPath, [
    fileURLToPath(new URL('./store/slow-store-main.js', import.meta.url)),
    `--backend=${upstream.backend}`,
    `--seed=${options.seed}`,
    `--put-median-ms=${options.putMedianMs}`,
    `--read-median-ms=${options.readMedianMs}`,
    `--sigma=${options.sigma}`,
    `--tail-share=${options.tailShare}`,
    `--tail-min-ms=${options.tailMinMs}`,
    `--tail-max-ms=${options.tailMaxMs}`,
    `--put-effect=${options.putEffect}`,
  ]);
  const { port, adminPort } = JSON.parse(await firstLine(child)) as { port: number; adminPort: number };
  const stats = async (reset: boolean): Promise<StoreStats> => {
    const path = reset ? '__reset' : '__stats';
    const answer = await fetch(`http://127.0.0.1:${adminPort}/${path}`, { method: reset ? 'POST' : 'GET' });
    return (await answer.json()) as StoreStats;
  };
  const { backend } = await stats(false);
  return {
    description: `slow S3 (${upstream.name ?? backend}): PUT median ${options.putMedianMs} ms, sigma ${options.sigma}, ${options.tailShare * 100} % at ${options.tailMinMs}-${options.tailMaxMs} ms, effect at the ${options.putEffect}, seed ${options.seed}`,
    url: 's3://bench/prefix',
    environment: {
      AWS_ENDPOINT_URL: `http://127.0.0.1:${port}`,
      AWS_REGION: process.env['AWS_REGION'] ?? 'us-east-1',
      ...upstream.credentials,
    },
    pids: [child.pid, ...upstream.pids],
    stats,
    async stop() {
      await child.end();
      await upstream.stop();
    },
  };
}
