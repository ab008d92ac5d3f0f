import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { requireTool } from './go-tools.ts';
import { freePort } from './ports.ts';
import { type RunningProcess, startProcess, waitUntilReady } from './process.ts';

const ACCESS_KEY_ID = 'netsy-test';
const SECRET_ACCESS_KEY = 'netsy-test-secret';

/** A running S3 server with a directory of its own. */
export interface VersityGateway {
  /** `http://127.0.0.1:port` */
  readonly endpoint: string;
  readonly accessKey: string;
  readonly secretKey: string;
  /** AWS's variables for a store that uses it. */
  readonly environment: Readonly<Record<string, string>>;
  /** Its files: one directory per bucket. */
  readonly directory: string;
  /** The process, for tests that kill or stop it. */
  readonly process: RunningProcess;
  /** Makes a bucket by making its directory, as the gateway's posix backend defines it. */
  createBucket(name: string): Promise<void>;
  /** Ends the process and removes its directory. */
  stop(): Promise<void>;
}

export interface VersityGatewayOptions {
  /** Buckets to begin with. */
  readonly buckets?: readonly string[];
  /** Where its own directory is made; the system's for temporary files when left out. */
  readonly parent?: string;
}

/** Starts versitygw over a new temporary directory on a free port of the loopback, and waits until it answers. */
export async function startVersityGateway(options: VersityGatewayOptions = {}): Promise<VersityGateway> {
  const command = await requireTool('versitygw');
  const root = await mkdtemp(join(options.parent ?? tmpdir(), 'netsy-versitygw-'));
  const directory = join(root, 'buckets');
  const createBucket = async (name: string): Promise<void> => {
    await mkdir(join(directory, name), { recursive: true });
  };
  await mkdir(directory);
  for (const name of options.buckets ?? []) await createBucket(name);
  const { endpoint, process } = await startGateway(command, root, directory);
  return {
    endpoint,
    accessKey: ACCESS_KEY_ID,
    secretKey: SECRET_ACCESS_KEY,
    environment: {
      AWS_ENDPOINT_URL_S3: endpoint,
      AWS_ACCESS_KEY_ID: ACCESS_KEY_ID,
      AWS_SECRET_ACCESS_KEY: SECRET_ACCESS_KEY,
      AWS_REGION: 'us-east-1',
    },
    directory,
    process,
    createBucket,
    stop: async () => {
      await process.stop();
      await rm(root, { recursive: true, force: true });
    },
  };
}

/** A sidecar directory holds the metadata, because a temporary directory may lack extended attributes. */
async function startGateway(
  command: string,
  root: string,
  directory: string,
): Promise<{ endpoint: string; process: RunningProcess }> {
  const sidecar = join(root, 'metadata');
  await mkdir(sidecar);
  const address = `127.0.0.1:${await freePort()}`;
  const process = await startProcess({
    command,
    arguments: [
      ...['--port', address, '--health', '/health', '--keep-alive', '--quiet'],
      ...['posix', '--sidecar', sidecar, directory],
    ],
    environment: { ROOT_ACCESS_KEY: ACCESS_KEY_ID, ROOT_SECRET_KEY: SECRET_ACCESS_KEY },
    logFile: join(root, 'versitygw.log'),
  });
  try {
    await waitUntilReady(process, async () => (await fetch(`http://${address}/health`)).ok);
  } catch (error) {
    await process.stop();
    throw error;
  }
  return { endpoint: `http://${address}`, process };
}
