import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../src/shared/base/clock.ts';
import { type RunningProcess, startProcess, waitUntilReady } from './process.ts';

/** The compiled program, in the same output directory as this file. */
export const MAIN = fileURLToPath(new URL('../../netsy/main.cjs', import.meta.url));
/** What the package has as its program. */
export const LAUNCHER = fileURLToPath(new URL('../../../src/main/netsy.sh', import.meta.url));

export interface NetsyOptions {
  /** Flags after those given here: `['--batch-window', '0s']`. */
  readonly arguments?: readonly string[];
  /** Added to this process's own environment. */
  readonly environment?: Readonly<Record<string, string>>;
  /** By default a new one. */
  readonly dataDir?: string;
  /** By default `http://127.0.0.1:0`. */
  readonly listen?: string;
  /** How many files it may have open; by default as many as this process. */
  readonly openFiles?: number;
  /** By default a minute. */
  readonly readyWithinMs?: number;
}

/** One run of the server in a process of its own. */
export interface Netsy {
  /** `http(s)://127.0.0.1:port`, the first of what it listens on. */
  readonly endpoint: string;
  /** `127.0.0.1:port` */
  readonly authority: string;
  readonly pid: number;
  /** Left in place by `stop` and `kill`, to be given to another start. */
  readonly dataDir: string;
  /** Everything it has written to standard output and standard error. */
  log(): string;
  /** SIGTERM, and SIGKILL if it does not end. Resolves to how it ended: `exit code 0`. */
  stop(): Promise<string>;
  /** SIGKILL, as a power cut would. */
  kill(): Promise<void>;
  /** Resolves, when it ends, with how: `exit code 1`, `signal SIGKILL`. Never rejects. */
  readonly exited: Promise<string>;
}

const directories: string[] = [];

/** A new directory that is removed when this test process ends. */
export function temporaryDirectory(): string {
  if (directories.length === 0) process.on('exit', removeDirectories);
  const directory = mkdtempSync(join(tmpdir(), 'netsy-test-'));
  directories.push(directory);
  return directory;
}

function removeDirectories(): void {
  for (const directory of directories) rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
}

/** Starts the server on a free port and resolves when it serves. Rejects, with its log, if it ends before. */
export async function startNetsy(options: NetsyOptions = {}): Promise<Netsy> {
  const dataDir = options.dataDir ?? temporaryDirectory();
  const child = await startProcess({
    ...withOpenFiles(options.openFiles, [
      process.execPath,
      MAIN,
      ...serverArguments({ ...options, dataDir }),
    ]),
    environment: options.environment ?? {},
    logFile: join(temporaryDirectory(), 'netsy.log'),
  });
  const log = (): string => readFileSync(child.logFile, 'utf8');
  await stopUnless(child, async () => servedAt(log()) !== undefined, options.readyWithinMs);
  const endpoint = servedAt(log()) as string;
  return {
    endpoint,
    authority: new URL(endpoint).host,
    pid: child.pid,
    dataDir,
    log,
    stop: async () => {
      await child.stop();
      return child.ended;
    },
    kill: () => child.kill(),
    exited: child.ended,
  };
}

function withOpenFiles(
  openFiles: number | undefined,
  words: readonly [string, ...string[]],
): { command: string; arguments: string[] } {
  if (openFiles === undefined) return { command: words[0], arguments: words.slice(1) };
  return { command: 'sh', arguments: ['-c', `ulimit -n ${openFiles}; exec "$@"`, 'sh', ...words] };
}

/** Resolves when the server's log has the text. */
export async function untilLogged(netsy: Pick<Netsy, 'log'>, pattern: RegExp): Promise<void> {
  while (!pattern.test(netsy.log())) await systemClock.sleep(20);
}

/** Runs the program to its end, which is expected within `timeoutMs`; for its other commands and failing starts. */
export function runNetsy(
  words: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  timeoutMs = 30_000,
): { code: number | null; stdout: string; stderr: string } {
  const env = { ...process.env, ...environment };
  const run = spawnSync(process.execPath, [MAIN, ...words], { env, timeout: timeoutMs, encoding: 'utf8' });
  return { code: run.status, stdout: run.stdout, stderr: run.stderr };
}

/** The flags of a server that a test starts. */
export function serverArguments(options: NetsyOptions & { readonly dataDir: string }): string[] {
  const listen = options.listen ?? 'http://127.0.0.1:0';
  const fixed = ['--data-dir', options.dataDir, '--listen-client-urls', listen, '--log-format', 'json'];
  return [...fixed, ...(options.arguments ?? [])];
}

async function stopUnless(
  child: RunningProcess,
  ready: () => Promise<boolean>,
  withinMs = 60_000,
): Promise<void> {
  try {
    await waitUntilReady(child, ready, withinMs, 20);
  } catch (error) {
    await child.stop();
    throw error;
  }
}

/** The first address of the log's line that says that the server serves. */
function servedAt(log: string): string | undefined {
  for (const line of log.split('\n')) {
    if (!line.includes('"msg":"serving"') || !line.endsWith('}')) continue;
    return (JSON.parse(line) as { clients: string[] }).clients[0];
  }
  return undefined;
}
