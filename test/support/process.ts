import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { systemClock } from '../../src/shared/base/clock.ts';

/**
 * Processes that tests start. Each is ended by its own pid and never by name: by `stop`, by `kill`, or, when
 * the test process itself ends in any way that runs its exit handlers, by SIGKILL. Output goes to a file
 * rather than a pipe, so a killed process loses no line and a slow test holds no process up.
 */
export interface StartOptions {
  readonly command: string;
  readonly arguments: readonly string[];
  /** Added to this process's own environment. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly workingDirectory?: string;
  /** Receives standard output and standard error; appended to. */
  readonly logFile: string;
}

export interface RunningProcess {
  readonly pid: number;
  readonly logFile: string;
  /** Whether it has not ended yet. */
  running(): boolean;
  /** Resolves, when it ends, with how: `exit code 1`, `signal SIGKILL`. Never rejects. */
  readonly ended: Promise<string>;
  /** SIGTERM, and SIGKILL once `graceMs` have passed. Resolves when it has ended; harmless when it already has. */
  stop(graceMs?: number): Promise<void>;
  /** SIGKILL, as a power cut would. Resolves when it has ended. */
  kill(): Promise<void>;
}

const live = new Set<ChildProcess>();
let exitHandlerInstalled = false;

function killAllAtExit(): void {
  if (exitHandlerInstalled) return;
  exitHandlerInstalled = true;
  process.on('exit', () => {
    for (const child of live) child.kill('SIGKILL');
  });
}

/** Starts a process. Rejects when the command can't be run at all. */
export async function startProcess(options: StartOptions): Promise<RunningProcess> {
  killAllAtExit();
  const log = openSync(options.logFile, 'a');
  const child = spawn(options.command, options.arguments, {
    cwd: options.workingDirectory,
    env: { ...process.env, ...options.environment },
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  await once(child, 'spawn');
  live.add(child);
  const ended = once(child, 'exit').then(([code, signal]) => {
    live.delete(child);
    return signal === null ? `exit code ${code}` : `signal ${signal}`;
  });
  return {
    pid: child.pid!,
    logFile: options.logFile,
    running: () => live.has(child),
    ended,
    stop: (graceMs = 10_000) => stopChild(child, ended, graceMs),
    kill: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

async function stopChild(child: ChildProcess, ended: Promise<string>, graceMs: number): Promise<void> {
  child.kill('SIGTERM');
  const timer = systemClock.after(graceMs, () => child.kill('SIGKILL'));
  await ended;
  timer.cancel();
}

/**
 * Waits until `ready` resolves to true, asking every `everyMs`; an attempt that rejects counts as not ready.
 * Rejects, with the end of the log, when the process ends first or `deadlineMs` have passed.
 */
export async function waitUntilReady(
  process: RunningProcess,
  ready: () => Promise<boolean>,
  deadlineMs = 60_000,
  everyMs = 50,
): Promise<void> {
  const deadline = systemClock.monotonicMs() + deadlineMs;
  while (!(await ready().catch(() => false))) {
    const name = basename(process.logFile);
    if (!process.running()) {
      throw new Error(
        `${name}: ended before it was ready (${await process.ended})\n${logTail(process.logFile)}`,
      );
    }
    if (systemClock.monotonicMs() > deadline) {
      throw new Error(`${name}: not ready after ${deadlineMs} ms\n${logTail(process.logFile)}`);
    }
    await systemClock.sleep(everyMs);
  }
}

/** The last `lines` lines of a log file, of those that `wanted` accepts; empty when there is no such file. */
export function logTail(file: string, lines = 40, wanted: (line: string) => boolean = () => true): string {
  if (!existsSync(file)) return '';
  return readFileSync(file, 'utf8').trimEnd().split('\n').filter(wanted).slice(-lines).join('\n');
}
