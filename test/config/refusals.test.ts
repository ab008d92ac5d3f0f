import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { asksForJson } from '../../src/main/config/output-form.ts';
import { MAIN, runNetsy, serverArguments, temporaryDirectory } from '../support/netsy.ts';

/** netsy's commands, as its help has them, and serving. */
const COMMANDS = [
  '',
  ...[...runNetsy(['--help']).stdout.matchAll(/^ {7}netsy ([a-z]+) /gm)].map(([, name]) => name!),
];
/** Operands that a command does not begin without. */
const OPERANDS: Readonly<Record<string, readonly string[]>> = {
  config: ['check'],
  import: ['/nowhere/snapshot.db'],
  inspect: ['/nowhere/1.netsy'],
  restore: ['--into', 'file:///nowhere/new'],
  fork: ['--into', 'file:///nowhere/new'],
  completion: ['bash'],
};
/** Those that read the server's flags and variables. */
const WITHOUT_SETTINGS = new Set(['inspect', 'completion']);

interface Refused {
  readonly code: number;
  readonly stdout: string;
  readonly lines: readonly string[];
}

function refused(words: readonly string[], environment: Readonly<Record<string, string>> = {}) {
  const env = { ...process.env, ...environment };
  return new Promise<Refused>((resolve) => {
    execFile(process.execPath, [MAIN, ...words], { env }, (error, stdout, stderr) => {
      resolve({ code: Number(error?.code ?? 0), stdout, lines: stderr.trimEnd().split('\n') });
    });
  });
}

describe('what is refused', { timeout: 120_000 }, () => {
  it('has every command here', () => {
    const names = 'config doctor status verify inspect import restore fork completion'.split(' ');
    assert.deepEqual(COMMANDS, ['', ...names]);
  });

  for (const name of COMMANDS) {
    const called = name === '' ? [] : [name, ...(OPERANDS[name] ?? [])];
    const code = name === 'verify' ? 2 : 1;

    const assertText = (said: Refused, line: RegExp): void => {
      assert.deepEqual([said.code, said.stdout, said.lines.length], [code, '', 1], said.lines.join('\n'));
      assert.match(said.lines[0]!, line);
    };
    const assertJson = (said: Refused, line: RegExp): void => {
      assert.deepEqual([said.code, said.stdout, said.lines.length], [code, '', 1], said.lines.join('\n'));
      const { level, ts, command = '', msg } = JSON.parse(said.lines[0]!) as Record<string, string>;
      assert.deepEqual([level, command], ['error', name]);
      assert.ok(Date.parse(ts!) > 0);
      assert.match(msg!, line);
    };

    it(`netsy ${name}: a flag that it has not is one line that says what to do, and ends with ${code}`, async () => {
      const help = ['netsy', ...(name === '' ? [] : [name]), '--help'].join(' ');
      const line = new RegExp(`unknown option '--bogus'; see ${help}$`);
      const [text, json, explicit] = await Promise.all([
        refused([...called, '--bogus']),
        refused([...called, '--bogus', '--json']),
        refused([...called, '--bogus'], { NETSY_LOG_FORMAT: 'json' }),
      ]);
      assertText(text, new RegExp(`^netsy: ${line.source}`));
      assertJson(json, line);
      assertJson(explicit, line);
    });

    if (WITHOUT_SETTINGS.has(name)) continue;
    it(`netsy ${name}: a bad variable and a bad flag, as text and as JSON`, async () => {
      const json = name === '' ? ['--log-format=json'] : ['--json'];
      const soon = { NETSY_BATCH_WINDOW: 'soon' };
      const [text, variable, flag] = await Promise.all([
        refused(called, soon),
        refused([...called, ...json], soon),
        refused([...called, ...json, '--store', 'nope://x']),
      ]);
      assertText(text, /^netsy: NETSY_BATCH_WINDOW: "soon" is not a duration; use /);
      assertJson(variable, /^NETSY_BATCH_WINDOW: "soon" is not a duration; use /);
      assertJson(flag, /^--store: "nope:\/\/x" is not a store; use /);
    });
  }

  it('a file that can not be read, and a missing operand', async () => {
    const tls = [
      '--cert-file',
      '/nowhere/a',
      '--key-file',
      '/nowhere/b',
      '--listen-client-urls',
      'https://[::1]:1',
    ];
    const [file, operand] = await Promise.all([
      refused(['config', 'check', '--json', ...tls]),
      refused(['import', '--json']),
    ]);
    for (const { code, lines } of [file, operand]) assert.deepEqual([code, lines.length], [1, 1]);
    assert.match((JSON.parse(file.lines[0]!) as { msg: string }).msg, /^--cert-file: can't be read: /);
    assert.match((JSON.parse(operand.lines[0]!) as { msg: string }).msg, /^import: name the snapshot file/);
  });

  it('with --json what is said of progress is JSON too', async () => {
    const { code, stdout, lines } = await refused(['verify', '/nowhere', '--json']);
    assert.equal(code, 2);
    assert.equal((JSON.parse(stdout) as { whole: null }).whole, null);
    for (const line of lines) assert.equal((JSON.parse(line) as { command: string }).command, 'verify');
  });

  it('JSON is for those who ask for it, and the last word on it counts', () => {
    assert.equal(asksForJson(['--name', 'x'], {}), false);
    assert.equal(asksForJson(['--log-format=json'], {}), true);
    assert.equal(asksForJson(['--name', 'x', '--log-format', 'json'], {}), true);
    assert.equal(asksForJson(['--log-format', 'json', '--log-format', 'console'], {}), false);
    assert.equal(asksForJson(['--log-format=console'], { NETSY_LOG_FORMAT: 'json' }), false);
    assert.equal(asksForJson(['status', '--json'], { NETSY_LOG_FORMAT: 'console' }), true);
  });
});

describe('a package that was compiled for another Node', () => {
  it('is told with what to do, in one line', () => {
    const preload = join(temporaryDirectory(), 'preload.cjs');
    const said = "The module 'x.node'\nwas compiled against a different version.\nPlease try `npm install`.";
    const failure = `Object.assign(new Error(${JSON.stringify(said)}), { code: 'ERR_DLOPEN_FAILED' })`;
    writeFileSync(preload, `process.dlopen = () => { throw ${failure}; };`);
    const { code, stderr } = runNetsy(serverArguments({ dataDir: temporaryDirectory() }), {
      NODE_OPTIONS: `--require ${preload}`,
    });
    assert.equal(code, 1);
    const { msg } = JSON.parse(stderr.trimEnd().split('\n').at(-1)!) as { msg: string };
    assert.equal(msg, said.replaceAll('\n', ' '));
  });
});

describe('netsy help', () => {
  it('fits a terminal of 80 columns, for each command', () => {
    for (const name of COMMANDS) {
      const { code, stdout } = runNetsy([...(name === '' ? [] : [name]), '--help']);
      assert.equal(code, 0);
      assert.deepEqual(
        stdout.split('\n').filter((line) => line.length > 80),
        [],
        name,
      );
    }
  });

  it('says what --help says, of a command too', () => {
    assert.equal(runNetsy(['help']).stdout, runNetsy(['--help']).stdout);
    const { code, stdout } = runNetsy(['help', 'verify']);
    assert.deepEqual([code, stdout], [0, runNetsy(['verify', '--help']).stdout]);
    assert.match(stdout, /^Usage: netsy verify STORE/);
    const { code: refusedWith, stderr } = runNetsy(['help', 'nothing']);
    assert.equal(refusedWith, 1);
    assert.match(stderr, /^netsy: "nothing" is not a command; use one of config, /);
  });
});
