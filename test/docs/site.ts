import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../src/shared/base/clock.ts';
import { type GoToolName, requireTool } from '../support/go-tools.ts';
import { LAUNCHER, temporaryDirectory } from '../support/netsy.ts';
import { freePort } from '../support/ports.ts';
import { ROOT } from './markdown.ts';

/** Where the documentation's commands are run: a folder like a built clone, and `netsy` and etcd's tools on PATH. */

const DEADLINE_MS = 40_000;
const POLL_MS = 100;
const TOOLS: readonly GoToolName[] = ['etcdctl', 'etcdutl', 'grpcurl'];

export type Substitution = readonly [from: string | RegExp, to: string];

interface RunOptions {
  readonly environment?: Readonly<Record<string, string>>;
  readonly directory?: string;
}

/** A command that does not end by itself. */
export interface Lasting {
  output(): string;
  /** SIGTERM to it and all that it started. */
  stop(): Promise<void>;
}

export class Site {
  readonly directory: string;
  /** Where a server that is started without a flag for it listens. */
  readonly endpoint: string;
  readonly #bin: string;
  readonly #lasting: Lasting[] = [];
  #runs = 0;

  private constructor(directory: string, endpoint: string) {
    this.directory = directory;
    this.endpoint = endpoint;
    this.#bin = join(directory, 'bin');
  }

  static async make(): Promise<Site> {
    const site = new Site(temporaryDirectory(), `http://127.0.0.1:${await freePort()}`);
    mkdirSync(site.#bin);
    symlinkSync(LAUNCHER, join(site.#bin, 'netsy'));
    symlinkSync(process.execPath, join(site.#bin, 'node'));
    for (const name of TOOLS) symlinkSync(await requireTool(name), join(site.#bin, name));
    site.clone(site.directory);
    return site;
  }

  /** Another machine's working directory. */
  machine(name: string): string {
    const directory = join(this.directory, name);
    mkdirSync(directory);
    this.clone(directory);
    return directory;
  }

  /** What is in a built clone, as far as commands need it; nothing is built there. */
  private clone(directory: string): void {
    const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
      scripts: Record<string, string>;
    };
    const scripts = { ...manifest.scripts, build: 'true', prestart: 'true' };
    writeFileSync(join(directory, 'package.json'), JSON.stringify({ ...manifest, scripts }));
    for (const part of ['dist', 'src']) symlinkSync(join(ROOT, part), join(directory, part));
  }

  /** Runs a script to its end, which must be exit code 0; gives all that it printed. */
  async run(script: string, options: RunOptions = {}): Promise<string> {
    const { ended, output, stop } = this.#start(script, options);
    const timer = systemClock.after(DEADLINE_MS, () => void stop());
    const code = await ended;
    timer.cancel();
    await stop();
    assert.equal(code, 0, `${script}\n${output()}`);
    return output();
  }

  /** Starts a script that lasts, and waits until `isReady`. */
  async start(
    script: string,
    isReady: (output: string) => Promise<boolean> | boolean,
    options: RunOptions = {},
  ): Promise<Lasting> {
    const { running, output, stop } = this.#start(script, options);
    const lasting = { output, stop };
    this.#lasting.push(lasting);
    const deadline = systemClock.monotonicMs() + DEADLINE_MS;
    while (!(await isReady(output()))) {
      assert.ok(running(), `ended early: ${script}\n${output()}`);
      assert.ok(systemClock.monotonicMs() < deadline, `not ready: ${script}\n${output()}`);
      await systemClock.sleep(POLL_MS);
    }
    return lasting;
  }

  /** Starts a script that serves at `endpoint`. */
  serve(script: string, options: RunOptions = {}): Promise<Lasting> {
    return this.start(script, () => this.#isReady(), options);
  }

  async #isReady(): Promise<boolean> {
    return (await fetch(`${this.endpoint}/readyz`).catch(() => undefined))?.ok === true;
  }

  /** Ends what `start` started. */
  async stopAll(): Promise<void> {
    for (const one of this.#lasting.splice(0).reverse()) await one.stop();
  }

  #start(
    script: string,
    { environment = {}, directory = this.directory }: RunOptions,
  ): Lasting & { readonly ended: Promise<number | null>; running(): boolean } {
    const file = join(this.directory, `${++this.#runs}.log`);
    const log = openSync(file, 'a');
    const child = spawn('bash', ['-c', `set -euo pipefail\n${script}`], {
      cwd: directory,
      env: {
        ...process.env,
        PATH: `${this.#bin}:${process.env['PATH']}`,
        NETSY_LISTEN_CLIENT_URLS: this.endpoint,
        // etcdctl refuses to be told both by its flag and by its variable.
        ...(!script.includes('--endpoints') && { ETCDCTL_ENDPOINTS: this.endpoint }),
        ...environment,
      },
      stdio: ['ignore', log, log],
      // A group of its own, so that what npm and bash start ends with them.
      detached: true,
    });
    closeSync(log);
    const kill = (): void => void killGroup(child.pid!, 'SIGKILL');
    process.on('exit', kill);
    const ended = once(child, 'exit').then(([code]) => code as number | null);
    return {
      ended,
      running: () => child.exitCode === null && child.signalCode === null,
      output: () => (existsSync(file) ? readFileSync(file, 'utf8') : ''),
      stop: async () => {
        await endGroup(child.pid!);
        await ended;
        process.off('exit', kill);
      },
    };
  }
}

const STOP_MS = 15_000;

async function endGroup(pid: number): Promise<void> {
  killGroup(pid, 'SIGTERM');
  const deadline = systemClock.monotonicMs() + STOP_MS;
  while (killGroup(pid, 0) && systemClock.monotonicMs() < deadline) await systemClock.sleep(20);
  killGroup(pid, 'SIGKILL');
}

/** Whether there was such a group. */
function killGroup(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-pid, signal);
    return true;
  } catch {
    return false;
  }
}

/** The text with each substitution made; each must be of use, or the documentation has moved on. */
export function substitute(text: string, substitutions: readonly Substitution[]): string {
  return substitutions.reduce((before, [from, to]) => {
    assert.ok(typeof from === 'string' ? before.includes(from) : from.test(before), `${from} is in ${text}`);
    return before.replaceAll(from, to);
  }, text);
}

/** The commands of a block, one each, though they may go on over several lines. */
export function commandsOf(text: string): string[] {
  return text
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.startsWith('#'));
}
