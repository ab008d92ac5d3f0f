import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';

/** A child of the bench. Its output is kept, so that a failure can show how it ended. */
export interface Child {
  readonly name: string;
  readonly pid: number;
  readonly process: ChildProcess;
  /** The last 4 KiB that it wrote. */
  lastWords(): string;
  /** SIGTERM, and SIGKILL after ten seconds; resolves when it has ended. */
  end(): Promise<void>;
}

const running = new Set<ChildProcess>();

// However the bench ends, it takes with it what it started, by pid.
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

let interrupted = false;

// The first signal ends the children, so that the round breaks and tidies up; a second one ends the bench.
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    if (interrupted) process.exit(130);
    interrupted = true;
    for (const child of running) child.kill('SIGTERM');
  });
}

/** True once the bench was told to end: no further round may begin. */
export function wasInterrupted(): boolean {
  return interrupted;
}

/** Starts a program; stdin and stdout are pipes. Rejects when it can't be started. */
export async function startChild(
  name: string,
  command: string,
  parameters: readonly string[],
  options: Pick<SpawnOptions, 'env' | 'cwd' | 'serialization'> & { ipc?: boolean } = {},
): Promise<Child> {
  const { ipc, ...rest } = options;
  const stdio: SpawnOptions['stdio'] = ipc ? ['ignore', 'ignore', 'pipe', 'ipc'] : ['pipe', 'pipe', 'pipe'];
  const child = spawn(command, parameters, { ...rest, stdio });
  running.add(child);
  let words = '';
  const keep = (piece: Buffer): void => {
    words = (words + piece.toString()).slice(-4096);
  };
  child.stdout?.on('data', keep);
  child.stderr?.on('data', keep);
  const ended = once(child, 'exit').then(() => running.delete(child));
  // Many a program writes on when it is told to end; nobody reads that.
  child.stdin?.on('error', () => {});
  await once(child, 'spawn');
  return {
    name,
    pid: child.pid!,
    process: child,
    lastWords: () => words,
    async end() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 10_000);
      await ended;
      clearTimeout(timer);
    },
  };
}

/** The first line of a child's stdout. Rejects with its last words when it ends before. */
export function firstLine(child: Child): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    child.process.stdout!.on('data', (piece: Buffer) => {
      text += piece.toString();
      if (text.includes('\n')) resolve(text.slice(0, text.indexOf('\n')));
    });
    child.process.once('exit', (code) => {
      reject(new Error(`${child.name} ended with ${code} before it was ready: ${child.lastWords()}`));
    });
  });
}

/** What a child writes to its stdout until it ends, and how it ends. */
export async function wholeOutput(
  child: Child,
): Promise<{ readonly code: number | null; readonly stdout: string }> {
  const pieces: Buffer[] = [];
  child.process.stdout!.on('data', (piece: Buffer) => pieces.push(piece));
  child.process.stdin?.end();
  // Unlike `exit`, `close` comes after the last output.
  const [code] = (await once(child.process, 'close')) as [number | null];
  return { code, stdout: Buffer.concat(pieces).toString('utf8') };
}
