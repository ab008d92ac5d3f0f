import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import test from 'node:test';

/**
 * The house rules that no linter knows: rooms import only rooms on lower lines of the table below, what a
 * simulation must own comes from `shared/base`, and files and functions stay small.
 */

/** Top to bottom; rooms on one line are neighbours and don't know each other. */
const LINES: string[][] = [
  ['main'],
  ['main/config'],
  ['main/rpc'],
  ['main/ops'],
  ['main/import', 'main/restore', 'main/audit'],
  ['main/lease', 'main/auth', 'main/cluster', 'main/upkeep', 'main/concurrency'],
  ['main/commit'],
  ['main/watch'],
  ['main/recovery'],
  ['main/store'],
  ['main/state'],
  ['main/pool'],
  ['workers'],
  ['workers/sqlite', 'workers/task', 'workers/file'],
  ['workers/contract'],
  ['shared/format'],
  ['shared/auth'],
  ['shared/etcd'],
  ['shared/model'],
  ['shared/bolt'],
  ['shared/base'],
];
/** Of the worker threads' code the main thread may only import the messages. */
const MAIN_MAY_IMPORT = /^(main|workers\/contract|shared)\b/;
const FILE_LINES_MAX = 500;
/** A script as text, which no server runs. */
const FOR_BROWSERS = 'main/ops/page-script.ts';

const SRC = join(process.cwd(), 'src');

interface Source {
  path: string;
  room: string;
  text: string;
}

function sources(): Source[] {
  return readdirSync(SRC, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && !path.endsWith('.d.ts') && !path.includes('/gen/'))
    .map((path) => ({ path, room: dirname(path), text: readFileSync(join(SRC, path), 'utf8') }));
}

function lineOf(room: string): number {
  return LINES.findIndex((line) => line.includes(room));
}

function importsOf({ path, text }: Source): string[] {
  const found = text.matchAll(/(?:from|import)\s*\(?'(\.[^']+)'/g);
  return [...found].map((match) => normalize(join(dirname(path), match[1]!)));
}

function roomOfImport(target: string): string {
  return dirname(target).replace(/\/gen(\/.*)?$/, '');
}

function problemWith(source: Source, target: string): string | undefined {
  const room = roomOfImport(target);
  if (room === source.room) return undefined;
  if (lineOf(room) === -1) return `${source.path} imports ${target}: its room is not in the table`;
  if (source.room.startsWith('main') && !MAIN_MAY_IMPORT.test(room)) {
    return `${source.path} imports ${target}: the main thread may only import the workers' messages`;
  }
  if (lineOf(room) > lineOf(source.room)) return undefined;
  return `${source.path} imports ${target}: arrows point down only`;
}

test('every room is in the table of layers, and imports only rooms below it', () => {
  const all = sources();
  assert.deepEqual(
    [...new Set(all.map(({ room }) => room))].filter((room) => lineOf(room) === -1),
    [],
  );
  const problems = all.flatMap((source) => importsOf(source).map((target) => problemWith(source, target)));
  assert.deepEqual(
    problems.filter((problem) => problem !== undefined),
    [],
  );
});

test('the layer rule finds an arrow that points up, one between neighbours, and one into a worker', () => {
  const at = (path: string): Source => ({ path, room: dirname(path), text: '' });
  assert.match(problemWith(at('main/store/s3.ts'), 'main/commit/pipeline.ts') ?? '', /down only/);
  assert.match(problemWith(at('main/lease/lessor.ts'), 'main/cluster/node.ts') ?? '', /down only/);
  assert.match(problemWith(at('main/state/x.ts'), 'workers/sqlite/state.ts') ?? '', /messages/);
  assert.equal(problemWith(at('main/commit/pipeline.ts'), 'main/store/store.ts'), undefined);
});

test('clock, random numbers and timers come from shared/base alone, so that a simulation can own them', () => {
  const raw =
    /\bDate\.now\(|new Date\(\)|Math\.random\(|performance\.now\(|\bset(Timeout|Interval)\(|process\.hrtime/;
  const users = sources()
    .filter(({ path, text }) => !path.startsWith('shared/base/') && path !== FOR_BROWSERS && raw.test(text))
    .map(({ path }) => path);
  assert.deepEqual(users, []);
});

test('no source file is longer than 500 lines', () => {
  const long = sources().filter(({ text }) => text.split('\n').length > FILE_LINES_MAX);
  assert.deepEqual(
    long.map(({ path }) => path),
    [],
  );
});

test("the version that the server says is package.json's", () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  const source = readFileSync(join(SRC, 'shared/model/version.ts'), 'utf8');
  assert.ok(source.includes(`NETSY_VERSION = '${version}'`));
});
