import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { LAUNCHER, MAIN, serverArguments, temporaryDirectory } from '../support/netsy.ts';
import { startProcess, waitUntilReady } from '../support/process.ts';
import { missingTools } from '../support/tools.ts';

const OURS = {
  MALLOC_ARENA_MAX: '2',
  MALLOC_MMAP_THRESHOLD_: '65536',
  MALLOC_TRIM_THRESHOLD_: '131072',
} as const;

/** What the `node` that it finds in PATH is told: its environment, and behind an empty line a line for each argument. */
const NODE = '#!/bin/sh\nenv\necho\nprintf "%s\\n" "$@"\n';

interface Told {
  readonly environment: ReadonlyMap<string, string>;
  readonly program: string;
  readonly words: readonly string[];
}

/** Runs the launcher, or a link to it, with a `node` that says what it was told. */
function launch(options: {
  readonly words?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly launcher?: readonly string[];
  readonly directory?: string;
}): Told {
  const bin = temporaryDirectory();
  writeFileSync(join(bin, 'node'), NODE, { mode: 0o755 });
  const { launcher = [LAUNCHER], words = [], environment = {}, directory = bin } = options;
  const [command, ...first] = launcher;
  const { status, stdout, stderr } = spawnSync(command!, [...first, ...words], {
    cwd: directory,
    env: { PATH: `${bin}:${process.env['PATH']}`, ...environment },
    encoding: 'utf8',
  });
  assert.equal(status, 0, stderr);
  const end = stdout.indexOf('\n\n');
  const variables = stdout.slice(0, end);
  const [program = '', ...rest] = stdout.slice(end + 2, -1).split('\n');
  const pairs = variables.split('\n').map((line): [string, string] => {
    const at = line.indexOf('=');
    return [line.slice(0, at), line.slice(at + 1)];
  });
  return { environment: new Map(pairs), program: realpathSync(program), words: rest };
}

function mallocOf({ environment }: Told): Record<string, string> {
  return Object.fromEntries([...environment].filter(([name]) => name.startsWith('MALLOC_')));
}

describe('the program of the package', () => {
  it('gives malloc its variables, and all words to the compiled program', () => {
    const words = ['--name', 'two words', '', '$HOME *', '--', '-x'];
    const told = launch({ words });
    assert.deepEqual(mallocOf(told), OURS);
    assert.deepEqual([told.program, ...told.words], [realpathSync(MAIN), ...words]);
  });

  it("leaves the operator's own variables as they are, and takes an empty one away", () => {
    const environment = { MALLOC_ARENA_MAX: '8', MALLOC_TRIM_THRESHOLD_: '', NODE_OPTIONS: '--no-warnings' };
    const told = launch({ environment });
    const { MALLOC_MMAP_THRESHOLD_ } = OURS;
    assert.deepEqual(mallocOf(told), { MALLOC_ARENA_MAX: '8', MALLOC_MMAP_THRESHOLD_ });
    assert.equal(told.environment.get('NODE_OPTIONS'), '--no-warnings');
    const tunables = { GLIBC_TUNABLES: 'glibc.malloc.arena_max=4' };
    assert.deepEqual(mallocOf(launch({ environment: tunables })), {});
    assert.deepEqual(mallocOf(launch({ environment: { GLIBC_TUNABLES: 'glibc.cpu.x=1' } })), OURS);
  });

  it('finds the compiled program behind links, as npm makes them', () => {
    const folder = join(temporaryDirectory(), 'a folder');
    mkdirSync(join(folder, 'bin'), { recursive: true });
    symlinkSync(join(LAUNCHER, '..'), join(folder, 'package'));
    symlinkSync('../package/netsy.sh', join(folder, 'bin/netsy'));
    symlinkSync(join(folder, 'bin/netsy'), join(folder, 'second'));
    for (const launcher of [[join(folder, 'bin/netsy')], ['./second'], ['sh', 'second'], ['bin/netsy']])
      assert.equal(launch({ launcher, directory: folder }).program, realpathSync(MAIN), launcher.join(' '));
    const beside = launch({ launcher: ['sh', 'netsy'], directory: join(folder, 'bin') });
    assert.equal(beside.program, realpathSync(MAIN));
  });

  for (const shell of [['dash'], ['bash', '--posix']]) {
    it(`runs under ${shell.join(' ')}`, { skip: missingTools(shell[0]!) }, () => {
      const told = launch({ launcher: [...shell, LAUNCHER], words: ['verify', 'a b'] });
      assert.deepEqual(mallocOf(told), OURS);
      assert.deepEqual(told.words, ['verify', 'a b']);
    });
  }

  it("becomes the server: the process is node's, and a signal to it drains", async (context) => {
    const folder = temporaryDirectory();
    symlinkSync(LAUNCHER, join(folder, 'netsy'));
    symlinkSync(process.execPath, join(folder, 'node'));
    const server = await startProcess({
      command: join(folder, 'netsy'),
      arguments: serverArguments({ dataDir: join(folder, 'data') }),
      environment: { PATH: `${folder}:${process.env['PATH']}` },
      logFile: join(folder, 'netsy.log'),
    });
    context.after(() => server.stop());
    const log = (): string => readFileSync(server.logFile, 'utf8');
    await waitUntilReady(server, async () => log().includes('"msg":"serving"'));
    if (process.platform === 'linux') {
      const variables = readFileSync(`/proc/${server.pid}/environ`, 'utf8').split('\0');
      assert.ok(variables.includes(`MALLOC_MMAP_THRESHOLD_=${OURS.MALLOC_MMAP_THRESHOLD_}`));
      assert.match(readFileSync(`/proc/${server.pid}/cmdline`, 'utf8'), /^node\0/);
    }
    process.kill(server.pid, 'SIGTERM');
    assert.equal(await server.ended, 'exit code 0');
    assert.match(log(), /"msg":"stopping"/);
  });
});
