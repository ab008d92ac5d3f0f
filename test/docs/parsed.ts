import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runNetsy, temporaryDirectory } from '../support/netsy.ts';
import { ROOT } from './markdown.ts';
import { commandsOf } from './site.ts';

/** What can be said of a command without running it. */

const FLAG = /(?<=^|\s)--[a-z][a-z0-9-]*/g;
const helps = new Map<string, ReadonlySet<string>>();

/** The flags that a program's help names. */
function flagsIn(help: string): ReadonlySet<string> {
  return new Set(['--help', ...[...help.matchAll(/--[a-z][a-z0-9-]*/g)].map(([flag]) => flag)]);
}

function flagsOf(name: string, help: () => string): ReadonlySet<string> {
  const known = helps.get(name) ?? flagsIn(help());
  helps.set(name, known);
  return known;
}

function scripts(): Readonly<Record<string, string>> {
  const text = readFileSync(join(ROOT, 'package.json'), 'utf8');
  return (JSON.parse(text) as { scripts: Record<string, string> }).scripts;
}

/** The program of ours that an npm script ends in. */
function programOf(script: string): string | undefined {
  return /((?:dist|src)\/\S+\.(?:js|sh))$/.exec(script)?.[1];
}

/** The flags of our programs: of the server and its commands, and of every npm script that has a help, so not of builds. */
export function ourFlags(): ReadonlySet<string> {
  const commands = ['', 'config', 'doctor', 'status', 'verify', 'inspect', 'import', 'restore', 'fork'];
  const programs = Object.entries(scripts()).flatMap(([name, script]) =>
    /^(?:pre|build|test|check)/.test(name) ? [] : (programOf(script) ?? []),
  );
  const sets = [...commands.map(flagsOfNetsy), ...programs.map(flagsOfProgram)];
  return new Set(sets.flatMap((set) => [...set]));
}

/** `npm run NAME -- --flag …`: the script is there and knows the flags; or a command of npm's own is there. */
export function checkScripts(text: string): void {
  for (const line of commandsOf(text)) {
    const [, own, name = ''] = /^npm (run )?(\S+)/.exec(line) ?? assert.fail(`"${line}" is not npm's`);
    if (own === undefined && scripts()[name] === undefined) {
      const { status } = spawnSync('npm', [name, '--help'], { stdio: 'ignore' });
      assert.equal(status, 0, `npm has no command "${name}"`);
      continue;
    }
    const script = scripts()[name] ?? assert.fail(`package.json has no script "${name}"`);
    const words = line.replace(/\s#.*$/, '').split(' -- ')[1] ?? '';
    const program = programOf(script);
    if (!words.includes('--') || program === undefined) continue;
    const known = flagsOfProgram(program);
    for (const [flag] of words.matchAll(FLAG)) assert.ok(known.has(flag), `${name}: there is no ${flag}`);
  }
}

function flagsOfProgram(program: string): ReadonlySet<string> {
  return flagsOf(program, () => {
    if (program.endsWith('src/main/netsy.sh')) return runNetsy(['--help']).stdout;
    const words = ['--no-warnings', join(ROOT, program), '--help'];
    const { status, stdout, stderr } = spawnSync(process.execPath, words, {
      encoding: 'utf8',
      cwd: temporaryDirectory(),
    });
    assert.equal(status, 0, `${program} --help: ${stderr}`);
    return stdout;
  });
}

/** Of one of netsy's commands, or of the server if `name` is empty. */
function flagsOfNetsy(name: string): ReadonlySet<string> {
  return flagsOf(`netsy ${name}`, () => {
    const words = name === '' ? [] : [name];
    const { code, stdout, stderr } = runNetsy([...words, '--help']);
    assert.equal(code, 0, stderr);
    assert.ok(stdout.startsWith(['Usage: netsy', ...words].join(' ')), `there is no command "${name}"`);
    return stdout;
  });
}

/** `netsy COMMAND --flag …`: both are there. */
export function checkNetsy(command: string): void {
  const [, word = ''] = command.replace(/^netsy help/, 'netsy').split(/\s+/);
  const known = flagsOfNetsy(/^[a-z]/.test(word) ? word : '');
  for (const [flag] of command.matchAll(FLAG)) assert.ok(known.has(flag), `${command}: there is no ${flag}`);
}

const ACTIONS = new Set([
  ...['GetObject', 'PutObject', 'DeleteObject', 'AbortMultipartUpload', 'ListBucket'].map((a) => `s3:${a}`),
  ...['kms:GenerateDataKey', 'kms:Decrypt'],
]);

/** JSON that parses; and of a policy, statements of the form that AWS takes. */
export function checkPolicy(text: string): void {
  const parsed = JSON.parse(text) as Record<string, unknown>;
  if (!('Version' in parsed || 'Effect' in parsed)) return;
  const statements = ('Version' in parsed ? parsed['Statement'] : [parsed]) as Record<string, unknown>[];
  if ('Version' in parsed) assert.equal(parsed['Version'], '2012-10-17');
  assert.ok(statements.length > 0);
  for (const { Effect, Action, Resource } of statements) {
    assert.ok(Effect === 'Allow' || Effect === 'Deny');
    for (const action of [Action].flat()) assert.ok(ACTIONS.has(String(action)), String(action));
    for (const one of [Resource].flat()) assert.match(String(one), /^arn:aws:(?:s3:::|kms:)/);
  }
}

/** YAML that Go's parser reads; and what is for Prometheus, as Prometheus itself checks it. */
export function checkYaml(text: string): void {
  for (const part of text.split(/^---$/m)) {
    const file = join(temporaryDirectory(), 'part.yaml');
    writeFileSync(file, part);
    const words = ['check', 'config', '--syntax-only', file];
    const { status, stdout, stderr } = spawnSync('promtool', words, { encoding: 'utf8' });
    const said = `${stdout}${stderr}`;
    if (/^scrape_configs:/m.test(part)) assert.equal(status, 0, said);
    // What is for another program has fields that are unknown to this one; what is no YAML has a line.
    else assert.match(said, /field \w+ not found/, said);
    assert.doesNotMatch(said, /yaml: line \d+: (?!field)/, said);
  }
}
