import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { requireTool } from '../support/go-tools.ts';
import { freePort } from '../support/ports.ts';
import { startProcess, waitUntilReady } from '../support/process.ts';
import { ApiClient } from './api-client.ts';

export interface ApiServerOptions {
  readonly directory: string;
  /** The client URL of what backs it. */
  readonly endpoint: string;
  /** What it shows to it, and by whom it knows it; undefined for plain text. */
  readonly certificates: ClientCertificates | undefined;
  readonly eventTtlSeconds: number;
  readonly compactionSeconds: number;
  readonly watchCache: boolean;
}

/** PEM files. */
export interface ClientCertificates {
  readonly authorityFile: string;
  readonly certFile: string;
  readonly keyFile: string;
}

export interface ApiServer {
  readonly client: ApiClient;
  readonly pid: number;
  readonly url: string;
  readonly token: string;
  /** How it was started, for the report. */
  readonly description: string;
  /** Whether it has not ended. */
  running(): boolean;
  stop(): Promise<void>;
}

const READY_DEADLINE_MS = 120_000;

/** Starts kube-apiserver alone, without controllers, and resolves when `/readyz` says ok. */
export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  mkdirSync(options.directory, { recursive: true });
  const command = await requireTool('kube-apiserver');
  const port = await freePort();
  const token = randomBytes(16).toString('hex');
  const process = await startProcess({
    command,
    arguments: apiServerArguments(options, port, token),
    logFile: join(options.directory, 'kube-apiserver.log'),
  });
  const url = `https://127.0.0.1:${port}`;
  const client = new ApiClient(url, token);
  const stop = async (): Promise<void> => {
    await client.close();
    await process.stop(20_000);
  };
  try {
    await waitUntilReady(
      process,
      async () => (await client.text('/readyz')).status === 200,
      READY_DEADLINE_MS,
    );
  } catch (error) {
    await stop();
    throw error;
  }
  const description = `at ${url}, watch cache ${options.watchCache ? 'on' : 'off'}`;
  return { client, pid: process.pid, url, token, description, running: process.running, stop };
}

function apiServerArguments(options: ApiServerOptions, port: number, token: string): string[] {
  const keyFile = join(options.directory, 'service-account.key');
  const tokenFile = join(options.directory, 'tokens.csv');
  writeFileSync(keyFile, serviceAccountKey(), { mode: 0o600 });
  // The group is exempt from priority and fairness, so that only what backs the server limits the load.
  writeFileSync(tokenFile, `${token},test,test,"system:masters"\n`, { mode: 0o600 });
  const { certificates } = options;
  return [
    `--etcd-servers=${options.endpoint}`,
    ...(certificates === undefined
      ? []
      : [
          `--etcd-cafile=${certificates.authorityFile}`,
          `--etcd-certfile=${certificates.certFile}`,
          `--etcd-keyfile=${certificates.keyFile}`,
        ]),
    `--etcd-compaction-interval=${options.compactionSeconds}s`,
    `--event-ttl=${options.eventTtlSeconds}s`,
    `--watch-cache=${options.watchCache}`,
    ...['--bind-address=127.0.0.1', `--secure-port=${port}`, `--cert-dir=${options.directory}/certificates`],
    // No endpoints of the `kubernetes` service are written, so any address that is not loopback will do.
    ...['--advertise-address=192.0.2.1', '--external-hostname=localhost', '--endpoint-reconciler-type=none'],
    ...[`--token-auth-file=${tokenFile}`, '--authorization-mode=AlwaysAllow', '--anonymous-auth=false'],
    ...['--service-account-issuer=https://kubernetes.default.svc', '--service-cluster-ip-range=10.0.0.0/24'],
    ...[`--service-account-key-file=${keyFile}`, `--service-account-signing-key-file=${keyFile}`],
    '--disable-admission-plugins=ServiceAccount',
  ];
}

function serviceAccountKey(): string {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return privateKey.export({ type: 'pkcs1', format: 'pem' }).toString();
}
