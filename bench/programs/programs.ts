import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { requireTool } from '../../test/support/go-tools.ts';
import { freePort, freePorts } from '../../test/support/ports.ts';
import { startChild, wholeOutput } from '../processes.ts';
import type { BenchStore } from '../stores.ts';
import { type Audit, type Program, type RunningServer, startServer } from './program.ts';

/**
 * How each program is started: with nothing but where its things are, since what is measured are the defaults. The
 * one exception is T4's `--wal-sync-upload true`, without which it acknowledges before the store has the write (it
 * is what its help calls the default; said here so that no environment changes it).
 */

export const programNames = ['netsy', 'netsy-file', 't4', 'etcd', 'kine', 'echo'] as const;
export type ProgramName = (typeof programNames)[number];

/** What the package has as its program; it starts the `node` of its PATH. */
const NETSY = fileURLToPath(new URL('../../../src/main/netsy.sh', import.meta.url));

const PROGRAMS: Readonly<Record<ProgramName, Program>> = {
  netsy: { name: 'netsy', store: 'bench', checked: true, start: startNetsy, audit },
  'netsy-file': { name: 'netsy-file', store: 'directory', checked: true, start: startNetsy, audit },
  t4: { name: 't4', tool: 't4', store: 'bench', checked: true, start: startT4 },
  etcd: { name: 'etcd', tool: 'etcd', store: 'none', checked: true, start: startEtcd },
  kine: { name: 'kine', tool: 'kine', store: 'none', checked: true, start: startKine },
  echo: { name: 'echo', store: 'none', checked: false, start: startEcho },
};

export function programOf(name: ProgramName): Program {
  return PROGRAMS[name];
}

/** Environment without what would configure the program itself. */
function environmentWithout(prefixes: readonly string[]): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !prefixes.some((prefix) => name.startsWith(prefix)),
  );
  return Object.fromEntries(kept);
}

async function startNetsy(
  directory: string,
  store: BenchStore,
  extra: readonly string[],
): Promise<RunningServer> {
  const port = await freePort();
  const parameters = [
    `--listen-client-urls=http://127.0.0.1:${port}`,
    `--data-dir=${join(directory, 'data')}`,
    `--store=${store.url}`,
    ...extra,
  ];
  return await startServer(NETSY, parameters, port, { env: netsyEnvironment(store) });
}

/** A store of the bench's own brings its credentials; another one needs those of our environment. */
function netsyEnvironment(store: BenchStore): NodeJS.ProcessEnv {
  const ours = Object.keys(store.environment).length > 0;
  const kept = environmentWithout(ours ? ['NETSY_', 'AWS_'] : ['NETSY_']);
  return { ...kept, PATH: `${dirname(process.execPath)}:${process.env['PATH']}`, ...store.environment };
}

/** `netsy verify`: every CRC, the chain, and the snapshots against the chunks. */
async function audit(store: BenchStore): Promise<Audit> {
  const parameters = ['verify', store.url, '--json'];
  const child = await startChild('netsy verify', NETSY, parameters, { env: netsyEnvironment(store) });
  const { code, stdout } = await wholeOutput(child);
  // Exit code 1 is damage, which the text tells of; with any other the store was not read.
  if (code !== 0 && code !== 1) throw new Error(`netsy verify ended with ${code}: ${child.lastWords()}`);
  const { whole, chunks, records, revision, damages, seconds } = JSON.parse(stdout) as Verified;
  const found = whole
    ? 'whole'
    : `DAMAGED in ${damages.length} place(s), first ${JSON.stringify(damages[0])}`;
  const text = `netsy verify: ${found}; ${chunks} chunks, ${records} records, revision ${revision}, read in ${seconds} s`;
  return { whole, text };
}

/** Of what `netsy verify --json` prints, as far as it is read. */
interface Verified {
  readonly whole: boolean;
  readonly chunks: number;
  readonly records: number;
  readonly revision?: number;
  readonly damages: readonly unknown[];
  readonly seconds: number;
}

async function startEtcd(directory: string): Promise<RunningServer> {
  const binary = await requireTool('etcd');
  const [port, peerPort] = await freePorts(2);
  const [clientUrl, peerUrl] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${peerPort}`];
  const parameters = [
    `--data-dir=${join(directory, 'data')}`,
    `--listen-client-urls=${clientUrl}`,
    `--advertise-client-urls=${clientUrl}`,
    `--listen-peer-urls=${peerUrl}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    `--initial-cluster=default=${peerUrl}`,
    '--log-level=error',
  ];
  return await startServer(binary, parameters, port!, { env: environmentWithout(['ETCD_']) });
}

/** On SQLite, its default, in the directory it is started in. */
async function startKine(directory: string): Promise<RunningServer> {
  const binary = await requireTool('kine');
  const port = await freePort();
  const cwd = join(directory, 'kine');
  mkdirSync(cwd);
  const parameters = [`--listen-address=tcp://127.0.0.1:${port}`, '--metrics-bind-address=0'];
  return await startServer(binary, parameters, port, { env: environmentWithout(['KINE_']), cwd });
}

async function startT4(directory: string, store: BenchStore): Promise<RunningServer> {
  const binary = await requireTool('t4');
  const [port, metricsPort] = await freePorts(2);
  const { bucket, prefix, endpoint, environment } = s3Of(store);
  const parameters = [
    'run',
    `--data-dir=${join(directory, 'data')}`,
    `--listen=127.0.0.1:${port}`,
    `--metrics-addr=127.0.0.1:${metricsPort}`,
    `--s3-bucket=${bucket}`,
    `--s3-prefix=${prefix}`,
    `--s3-endpoint=${endpoint}`,
    `--s3-region=${environment['AWS_REGION']}`,
    `--s3-access-key-id=${environment['AWS_ACCESS_KEY_ID']}`,
    `--s3-secret-access-key=${environment['AWS_SECRET_ACCESS_KEY']}`,
    '--wal-sync-upload=true',
    '--log-level=warn',
  ];
  return await startServer(binary, parameters, port!, { env: environmentWithout(['T4_', 'AWS_']) });
}

function s3Of({ url, environment }: BenchStore): {
  readonly bucket: string;
  readonly prefix: string;
  readonly endpoint: string;
  readonly environment: Readonly<Record<string, string>>;
} {
  const endpoint = environment['AWS_ENDPOINT_URL'];
  const { protocol, hostname, pathname } = new URL(url);
  if (protocol !== 's3:' || endpoint === undefined) throw new Error('t4 needs --store slow-s3');
  return { bucket: hostname, prefix: pathname.slice(1), endpoint, environment };
}

async function startEcho(): Promise<RunningServer> {
  const port = await freePort();
  const entry = fileURLToPath(new URL('./echo-main.js', import.meta.url));
  return await startServer(process.execPath, [entry, String(port)], port);
}
