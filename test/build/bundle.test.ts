import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire, SourceMap } from 'node:module';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Names, readModule } from '../../build/modules.ts';
import { MAIN, temporaryDirectory } from '../support/netsy.ts';

const THREADS = ['file', 'log-snapshot', 'reader', 'snapshot', 'task', 'writer'];
const NAMES: Names = {
  module: (file) => `ours('${file}')`,
  lazyModule: (file) => `later('${file}')`,
  external: (specifier) => `theirs('${specifier}')`,
  url: () => 'here',
};

function bundle(name: string): string {
  return readFileSync(fileURLToPath(new URL(`../../netsy/${name}.js`, import.meta.url)), 'utf8');
}

/** A module of this text, as the bundle has it. */
function readText(text: string): ReturnType<typeof readModule> {
  const file = join(temporaryDirectory(), 'module.js');
  writeFileSync(file, text);
  return readModule(file, NAMES);
}

test('a module becomes the body of a function, line for line, whatever it imports and exports', () => {
  const module = readText(
    [
      "import '/side.js';",
      "import fs, { readFileSync as read } from 'node:fs';",
      "import * as path from 'node:path';",
      'export const a = here(import.meta.url);',
      'export async function* c() { yield await import("node:os"); }',
      'export class D {',
      '}',
      'export var E;',
      'function f() { }',
      'export { f, f as g };',
      'export default function h() { }',
      '//# sourceMappingURL=module.js.map',
    ].join('\n'),
  );
  assert.deepEqual(module.body.split('\n'), [
    "theirs('/side.js');",
    "const fs = theirs('node:fs'); const { readFileSync: read } = theirs('node:fs');",
    "const path = theirs('node:path');",
    'const a = here(here);',
    'async function* c() { yield await import("node:os"); }',
    'class D {',
    '}',
    'var E;',
    'function f() { }',
    ';',
    'function h() { }',
    'return { a, c, D, E, f, g: f, default: h };',
  ]);
});

test('what a bundle can not have is refused when it is built, not lost', () => {
  for (const line of [
    'export let a = 1;',
    "export * from './a.js';",
    'export const { a } = b;',
    'import {',
  ]) {
    assert.throws(() => readText(`${line}\n`), /a bundle can't have/, line);
  }
});

test('what a bundle takes by require is CommonJS, which no version of Node warns of', () => {
  const require = createRequire(MAIN);
  for (const name of ['main', ...THREADS]) {
    const packages = [...bundle(name).matchAll(/\brequire\('([^']+)'\)/g)].map((match) => match[1]!);
    for (const specifier of new Set(packages.filter((one) => !one.startsWith('node:')))) {
      assert.doesNotMatch(readFileSync(require.resolve(specifier), 'utf8'), /^(import|export)\b/m, specifier);
    }
  }
});

test('a place in a bundle is mapped to the line of its source', () => {
  const map = new SourceMap(JSON.parse(readFileSync(`${MAIN}.map`, 'utf8')));
  const line = bundle('main')
    .split('\n')
    .findIndex((text) => text.includes('class Server {'));
  const place = map.findEntry(line, 0);
  assert.ok('originalSource' in place);
  assert.match(place.originalSource, /\/src\/main\/server\.ts$/);
  const source = readFileSync('src/main/server.ts', 'utf8').split('\n');
  assert.match(source[place.originalLine]!, /^export class Server \{/);
});

test('a stack of a bundle leads to the sources', () => {
  const task = new URL('../../netsy/task.js', import.meta.url);
  const program = `const { default: run } = await import('${task}');
    await run({ type: 'checkpoint', cacheFile: '/nowhere/cache.sqlite' }).catch((error) => console.log(error.stack));`;
  const flags = ['--enable-source-maps', '--input-type=module', '-e', program];
  const { stdout } = spawnSync(process.execPath, flags, { encoding: 'utf8' });
  const [, line] = /src\/workers\/task\/checkpoint\.ts:(\d+)/.exec(stdout) ?? assert.fail(stdout);
  const source = readFileSync('src/workers/task/checkpoint.ts', 'utf8').split('\n');
  assert.match(source[Number(line) - 1]!, /new Database/);
});

test('a command loads nothing of a server', () => {
  const loaded = (...words: string[]): string => {
    const env = { ...process.env, NODE_DEBUG: 'module' };
    return spawnSync(process.execPath, [MAIN, ...words], { env, encoding: 'utf8' }).stderr;
  };
  const toSayVersion = loaded('--version');
  assert.match(toSayVersion, /commander/);
  for (const name of ['grpc-js', 'protobuf', 'better-sqlite3', 'zstd', 'prom-client', 'piscina', 'undici']) {
    assert.doesNotMatch(toSayVersion, new RegExp(`node_modules/[@a-z-/]*${name}`), name);
  }
});
