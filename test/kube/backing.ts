import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isHealthy, startEtcd } from '../support/etcd.ts';
import { freePort } from '../support/ports.ts';
import { type RunningProcess, startProcess, waitUntilReady } from '../support/process.ts';
import { startVersityGateway } from '../support/versitygw.ts';
import type { BackingKind, KubeOptions } from './options.ts';

/** What backs the API server: our server on one of its stores, or etcd. */
export interface Backing {
  readonly name: string;
  /** Its client URL, the same after each start. */
  readonly endpoint: string;
  /** What it is and where, for the report. */
  readonly description: string;
  /** Whether its process has not ended. */
  running(): boolean;
  /** Starts it again, after `kill`, on the same data. Resolves when it is healthy. */
  start(): Promise<void>;
  /** SIGKILL; resolves when it has ended. */
  kill(): Promise<void>;
  /** Deletes what it keeps on its own disk, while it is down; only where that is not the truth. */
  readonly forgetLocalState?: () => void;
  /** Ends it, and the object store that was started for it. */
  stop(): Promise<void>;
}

const BUCKET = 'kube';
/** A server that finds another's lease in the store must outwait it. */
const HEALTHY_DEADLINE_MS = 90_000;

/** Starts what `kind` names, with its data and logs in `directory`. */
export function startBacking(kind: BackingKind, directory: string, options: KubeOptions): Promise<Backing> {
  mkdirSync(directory, { recursive: true });
  if (kind === 'etcd') return startControl(directory);
  if (kind === 'netsy-file') return startOnFiles(directory, options);
  return startOnS3(directory, options);
}

async function startControl(directory: string): Promise<Backing> {
  const etcd = await startEtcd(directory);
  return {
    name: 'etcd',
    endpoint: etcd.endpoint,
    description: `etcd 3.7.3 at ${etcd.endpoint}`,
    running: () => etcd.process.running(),
    start: () => etcd.restart(),
    kill: () => etcd.process.kill(),
    stop: () => etcd.process.stop(),
  };
}

function startOnFiles(directory: string, options: KubeOptions): Promise<Backing> {
  const store = `file://${join(directory, 'store')}`;
  return startNetsy('netsy on file://', store, directory, options, {}, async () => undefined);
}

async function startOnS3(directory: string, options: KubeOptions): Promise<Backing> {
  const gateway = await startVersityGateway();
  const store = `s3://${BUCKET}/scenarios`;
  try {
    await gateway.createBucket(BUCKET);
  } catch (error) {
    await gateway.stop();
    throw error;
  }
  const name = 'netsy on s3:// (versitygw)';
  return startNetsy(name, store, directory, options, gateway.environment, () => gateway.stop());
}

async function startNetsy(
  name: string,
  store: string,
  directory: string,
  options: KubeOptions,
  environment: Readonly<Record<string, string>>,
  stopStore: () => Promise<void>,
): Promise<Backing> {
  const endpoint = `http://127.0.0.1:${await freePort()}`;
  const dataDirectory = join(directory, 'data');
  const logFile = join(directory, 'netsy.log');
  const entry = options.netsyPath ?? fileURLToPath(new URL('../../src/main/main.js', import.meta.url));
  const flags = ['--listen-client-urls', endpoint, '--advertise-client-urls', endpoint];
  let running: RunningProcess | undefined;
  const start = async (): Promise<void> => {
    running = await startProcess({
      command: process.execPath,
      arguments: [entry, ...flags, '--data-dir', dataDirectory, '--store', store],
      environment,
      logFile,
    });
    await waitUntilReady(running, () => isHealthy(endpoint), HEALTHY_DEADLINE_MS);
  };
  const stop = async (): Promise<void> => {
    await running?.stop();
    await stopStore();
  };
  try {
    await start();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    name,
    endpoint,
    description: `${name} at ${endpoint}`,
    running: () => running?.running() ?? false,
    start,
    kill: async () => running?.kill(),
    forgetLocalState: () => rmSync(dataDirectory, { recursive: true }),
    stop,
  };
}
