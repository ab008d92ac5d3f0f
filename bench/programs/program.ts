import { setTimeout as sleep } from 'node:timers/promises';
import type { GoToolName } from '../../test/support/go-tools.ts';
import { Connection } from '../grpc/connection.ts';
import { method, range } from '../load/messages.ts';
import { type Child, startChild } from '../processes.ts';
import type { BenchStore } from '../stores.ts';

/** A server that answers. */
export interface RunningServer {
  readonly host: string;
  readonly port: number;
  /** Undefined when somebody else started it. */
  readonly child?: Child;
}

/** Which store a program needs: the bench's, a directory, or none but what it has in its own directory. */
type StoreNeed = 'bench' | 'directory' | 'none';

/** What a program's own check of its store says once the server has ended. */
export interface Audit {
  readonly whole: boolean;
  /** One line. */
  readonly text: string;
}

/** One of the programs that are measured; each round and scenario starts it anew. */
export interface Program {
  readonly name: string;
  readonly store: StoreNeed;
  /** What must be built before it can be started. */
  readonly tool?: GoToolName;
  /** False for the echo: its answers are not looked at, and nothing is read back. */
  readonly checked: boolean;
  /** `extra` are flags of a scenario that varies them; none in all others, because defaults are what is measured. */
  start(directory: string, store: BenchStore, extra: readonly string[]): Promise<RunningServer>;
  /** Reads the whole store, whose server has ended. */
  audit?(store: BenchStore): Promise<Audit>;
}

const readyWithinMs = 60_000;

/** Starts a server and waits until it answers. Rejects, with its last words, when it ends before. */
export async function startServer(
  command: string,
  parameters: readonly string[],
  port: number,
  options: { readonly env?: NodeJS.ProcessEnv; readonly cwd?: string } = {},
): Promise<RunningServer> {
  const child = await startChild('server', command, parameters, options);
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

/** A server that runs already. */
export function endpointProgram(endpoint: URL): Program {
  const [host, port] = [endpoint.hostname, Number(endpoint.port)];
  const start = async (): Promise<RunningServer> => {
    await untilReady(host, port);
    return { host, port };
  };
  return { name: endpoint.host, store: 'none', checked: true, start };
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
