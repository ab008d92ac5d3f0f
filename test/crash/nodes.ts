import assert from 'node:assert/strict';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { systemClock } from '../../src/shared/base/clock.ts';
import { KV } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { type Netsy, startNetsy, temporaryDirectory } from '../support/netsy.ts';
import { missingTools } from '../support/tools.ts';
import { startVersityGateway } from '../support/versitygw.ts';
import { Client } from './client.ts';

/** Several processes on one store. */

/** By then a process that was taken over has ended, and a standby has taken over. */
const WITHIN_MS = 30_000;

/** A kind of store that nodes can share. */
export interface StoreKind {
  /** The URL of a new, empty one. */
  fresh(): string;
  readonly environment: Readonly<Record<string, string>>;
  /** Where the objects of the store at `url` are files. */
  directory(url: string): string;
  remove(): Promise<void>;
}

export const STORE_KINDS: readonly {
  readonly name: string;
  readonly skip: string | false;
  make(): Promise<StoreKind>;
}[] = [
  {
    name: 'a directory',
    skip: false,
    make: async () => ({
      fresh: () => pathToFileURL(join(temporaryDirectory(), 'store')).href,
      environment: {},
      directory: fileURLToPath,
      remove: async () => {},
    }),
  },
  {
    name: 'S3',
    skip: missingTools('go'),
    make: async () => {
      const gateway = await startVersityGateway({ buckets: ['shared'] });
      let prefixes = 0;
      return {
        fresh: () => `s3://shared/${prefixes++}`,
        environment: gateway.environment,
        directory: (url) => join(gateway.directory, url.slice('s3://'.length)),
        remove: () => gateway.stop(),
      };
    },
  },
];

export interface NodeOptions {
  readonly leaseTtl?: string;
  readonly dataDir?: string;
  readonly arguments?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

/** The processes of one new store, and clients of them, until `end`. */
export class Nodes {
  /** Of the store. */
  readonly url: string;
  readonly #kind: StoreKind;
  readonly #nodes: Netsy[] = [];
  readonly #clients: Client[] = [];

  constructor(kind: StoreKind) {
    this.#kind = kind;
    this.url = kind.fresh();
  }

  /** A new process, as soon as it serves. */
  async start(options: NodeOptions = {}): Promise<Netsy> {
    const { leaseTtl = '2s', arguments: more = [], environment, dataDir } = options;
    const node = await startNetsy({
      arguments: ['--store', this.url, '--lease-ttl', leaseTtl, ...more],
      environment: { ...this.#kind.environment, ...environment },
      ...(dataDir !== undefined && { dataDir }),
    });
    this.#nodes.push(node);
    return node;
  }

  client(node: Netsy, requireLeader = false): Client {
    const client = new Client(node.authority, requireLeader);
    this.#clients.push(client);
    return client;
  }

  /** Kills what still runs. */
  async end(): Promise<void> {
    for (const client of this.#clients) client.close();
    await Promise.all(this.#nodes.map((node) => node.kill()));
  }
}

/** Runs `body` with processes on a store of its own. */
export async function withNodes(kind: StoreKind, body: (nodes: Nodes) => Promise<void>): Promise<void> {
  const nodes = new Nodes(kind);
  try {
    await body(nodes);
  } finally {
    await nodes.end();
  }
}

/** As which it began to serve. */
export function roleAtStart(netsy: Netsy): string | undefined {
  return /"role":"(\w+)","msg":"serving"/.exec(netsy.log())?.[1];
}

/** How it ended; fails when it goes on. */
export async function endOf(netsy: Netsy): Promise<string> {
  const waiting = new AbortController();
  const goesOn = systemClock.sleep(WITHIN_MS, waiting.signal).then(() => 'it goes on');
  const ended = await Promise.race([netsy.exited, goesOn]);
  waiting.abort();
  if (ended === 'it goes on') await netsy.kill();
  return ended;
}

/** Writes `value` until it is acknowledged; answers how many milliseconds that took. */
export async function writesAgain(client: Client, key: Buffer, value: string): Promise<number> {
  const begun = systemClock.monotonicMs();
  for (;;) {
    try {
      await client.call(KV.method.put, { key, value: Buffer.from(value) }, 2_000);
      return systemClock.monotonicMs() - begun;
    } catch (error) {
      assert.ok(
        systemClock.monotonicMs() - begun < WITHIN_MS,
        `no writes again: ${(error as Error).message}`,
      );
      await systemClock.sleep(10);
    }
  }
}
