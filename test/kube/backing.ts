import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Certificates, makeCertificates } from '../support/certificates.ts';
import { isHealthy, startEtcd } from '../support/etcd.ts';
import { freePorts } from '../support/ports.ts';
import { type RunningProcess, startProcess, waitUntilReady } from '../support/process.ts';
import { startVersityGateway } from '../support/versitygw.ts';
import type { ClientCertificates } from './api-server.ts';
import type { BackingKind, KubeOptions } from './options.ts';

/** What backs the API server: our server on one of its stores, or etcd. */
export interface Backing {
  readonly name: string;
  /** Its client URL, the same after each start. */
  readonly endpoint: string;
  /** What its clients must show, and by whom they know it; undefined when it speaks plain text. */
  readonly certificates?: ClientCertificates | undefined;
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
  const secured = options.secured.includes('netsy-file');
  const parts = { name: 'netsy on file://', store, directory, secured, environment: {} };
  return startNetsy({ ...parts, stopStore: async () => undefined }, options);
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
  const secured = options.secured.includes('netsy-s3');
  const parts = { name: 'netsy on s3:// (versitygw)', store, directory, secured };
  const { environment } = gateway;
  return startNetsy({ ...parts, environment, stopStore: () => gateway.stop() }, options);
}

interface NetsyParts {
  readonly name: string;
  readonly store: string;
  readonly directory: string;
  /** Serves TLS and demands client certificates, one name's alone. */
  readonly secured: boolean;
  readonly environment: Readonly<Record<string, string>>;
  readonly stopStore: () => Promise<void>;
}

async function startNetsy(parts: NetsyParts, options: KubeOptions): Promise<Backing> {
  const { store, directory, environment } = parts;
  const [port, pagesPort] = await freePorts(2);
  const made = parts.secured ? makeCertificates() : undefined;
  const endpoint = `${made === undefined ? 'http' : 'https'}://127.0.0.1:${port}`;
  const pages = `http://127.0.0.1:${pagesPort}`;
  const dataDirectory = join(directory, 'data');
  const logFile = join(directory, 'netsy.log');
  const entry = options.netsyPath ?? fileURLToPath(new URL('../../netsy/main.cjs', import.meta.url));
  const urls = ['--listen-client-urls', endpoint, '--advertise-client-urls', endpoint];
  const flags = [...urls, '--listen-metrics-urls', pages, ...(made === undefined ? [] : tlsFlags(made))];
  let running: RunningProcess | undefined;
  const start = async (): Promise<void> => {
    running = await startProcess({
      command: process.execPath,
      arguments: [entry, ...flags, '--data-dir', dataDirectory, '--store', store],
      environment,
      logFile,
    });
    await waitUntilReady(running, () => isHealthy(pages), HEALTHY_DEADLINE_MS);
  };
  const stop = async (): Promise<void> => {
    await running?.stop();
    await parts.stopStore();
    made?.remove();
  };
  try {
    await start();
  } catch (error) {
    await stop();
    throw error;
  }
  const name = made === undefined ? parts.name : `${parts.name} with client certificates`;
  return {
    name,
    endpoint,
    certificates: made && { authorityFile: made.authority.certFile, ...made.client },
    description: `${name} at ${endpoint}`,
    running: () => running?.running() ?? false,
    start,
    kill: async () => running?.kill(),
    forgetLocalState: () => rmSync(dataDirectory, { recursive: true }),
    stop,
  };
}

function tlsFlags({ server, authority }: Certificates): string[] {
  const files = ['--cert-file', server.certFile, '--key-file', server.keyFile];
  return [...files, '--trusted-ca-file', authority.certFile, '--client-cert-allowed-cn', 'client'];
}
