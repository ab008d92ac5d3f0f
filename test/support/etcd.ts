import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { requireTool } from './go-tools.ts';
import { freePorts } from './ports.ts';
import { type RunningProcess, startProcess, waitUntilReady } from './process.ts';

/** A real, single-member etcd: the peer that our server's answers are compared with. */
export interface Etcd {
  /** Its client URL, `http://127.0.0.1:port`; the same after each `start`. */
  readonly endpoint: string;
  /** `https://127.0.0.1:port` when it was started with certificates. */
  readonly secureEndpoint: string;
  /** The running process, or the last one. */
  readonly process: RunningProcess;
  /** Starts it again on the same data and ports, after `process.kill()` or `process.stop()`. */
  restart(): Promise<void>;
}

/**
 * Starts etcd on free ports with its data and its log `etcd.log` in `directory`; resolves when it is healthy. With
 * `certificates`, flags of TLS, it serves https as well.
 */
export async function startEtcd(
  directory: string,
  extraArguments: readonly string[] = [],
  certificates: readonly string[] = [],
): Promise<Etcd> {
  mkdirSync(directory, { recursive: true });
  const command = await requireTool('etcd');
  const [clientPort, peerPort, securePort] = await freePorts(3);
  const endpoint = `http://127.0.0.1:${clientPort}`;
  const secureEndpoint = `https://127.0.0.1:${securePort}`;
  const clientUrls = certificates.length === 0 ? endpoint : `${endpoint},${secureEndpoint}`;
  const peer = `http://127.0.0.1:${peerPort}`;
  const start = async (): Promise<RunningProcess> => {
    const started = await startProcess({
      command,
      arguments: [
        ...['--name', 'peer', '--data-dir', join(directory, 'data'), '--initial-cluster', `peer=${peer}`],
        ...['--listen-client-urls', clientUrls, '--advertise-client-urls', clientUrls],
        ...certificates,
        ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
        ...extraArguments,
      ],
      logFile: join(directory, 'etcd.log'),
    });
    await waitUntilReady(started, () => isHealthy(endpoint));
    return started;
  };
  let process = await start();
  return {
    endpoint,
    secureEndpoint,
    get process() {
      return process;
    },
    restart: async () => {
      process = await start();
    },
  };
}

/** Whether `/health` of etcd's client port, or of a server that answers as etcd does, says it is healthy. */
export async function isHealthy(endpoint: string): Promise<boolean> {
  const response = await fetch(`${endpoint}/health`, { signal: AbortSignal.timeout(2_000) });
  const body = (await response.json()) as { health?: string };
  return response.ok && body.health === 'true';
}
