import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { requireTool } from '../test/support/go-tools.ts';
import { freePort, freePorts } from '../test/support/ports.ts';
import { Connection } from './grpc/connection.ts';
import { method, range } from './load/messages.ts';
import type { ServerName } from './options.ts';
import { type Child, startChild } from './processes.ts';
import type { BenchStore } from './stores.ts';

/** A server that answers. */
interface RunningServer {
  readonly host: string;
  readonly port: number;
  /** Undefined when somebody else started it. */
  readonly child?: Child;
}

/** One of the programs that are measured; each round starts it anew. */
export interface Subject {
  readonly name: string;
  /** True when its writes go to the bench's store, so that PUTs can be counted. */
  readonly usesStore: boolean;
  start(directory: string, store: BenchStore): Promise<RunningServer>;
}

const readyWithinMs = 60_000;

export function subjectOf(name: ServerName): Subject {
  switch (name) {
    case 'netsy':
      return { name, usesStore: true, start: startNetsy };
    case 'etcd':
      return {
        name,
        usesStore: false,
        start: async (directory) => await startEtcd(await requireTool('etcd'), directory),
      };
  }
}

export function endpointSubject(endpoint: URL): Subject {
  const [host, port] = [endpoint.hostname, Number(endpoint.port)];
  const start = async (): Promise<RunningServer> => {
    await untilReady(host, port);
    return { host, port };
  };
  return { name: endpoint.host, usesStore: false, start };
}

/** Only what says where things are: what is measured are the defaults. */
async function startNetsy(directory: string, store: BenchStore): Promise<RunningServer> {
  const port = await freePort();
  const ours = Object.keys(store.environment).length > 0;
  const inherited = Object.entries(process.env).filter(
    ([name]) => !name.startsWith('NETSY_') && !(ours && name.startsWith('AWS_')),
  );
  const entry = fileURLToPath(new URL('../src/main/main.js', import.meta.url));
  const parameters = [
    entry,
    `--listen-client-urls=http://127.0.0.1:${port}`,
    `--data-dir=${join(directory, 'data')}`,
    `--store=${store.url}`,
  ];
  const env = { ...Object.fromEntries(inherited), ...store.environment };
  return await started(await startChild('server', process.execPath, parameters, { env }), port);
}

async function startEtcd(binary: string, directory: string): Promise<RunningServer> {
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
  return await started(await startChild('server', binary, parameters), port!);
}

async function started(child: Child, port: number): Promise<RunningServer> {
  const ended = new AbortController();
  child.process.once('exit', () => ended.abort());
  try {
    await untilReady('127.0.0.1', port, ended.signal);
  } catch (error) {
    await child.end();
    throw new Error(`${String(error)}; its last words:\n${child.lastWords()}`);
  }
  return { host: '127.0.0.1', port, child };
}

/** Asks for a key until it is answered. Rejects after a minute, or when `ended` is aborted. */
async function untilReady(host: string, port: number, ended?: AbortSignal): Promise<void> {
  const giveUpMs = performance.now() + readyWithinMs;
  let reason = 'no answer';
  while (performance.now() < giveUpMs && !ended?.aborted) {
    try {
      const connection = await Connection.open(host, port);
      await oneRange(connection).finally(() => connection.close());
      return;
    } catch (error) {
      reason = String(error);
      await sleep(100);
    }
  }
  throw new Error(`the server ${ended?.aborted ? 'ended before it was ready' : `is not ready: ${reason}`}`);
}

function oneRange(connection: Connection): Promise<void> {
  return new Promise((resolve, reject) => {
    connection.unary(method.range, range(Buffer.from('bench-ready')), (error) => {
      if (error) reject(error);
      else resolve();
    });
  });
}
