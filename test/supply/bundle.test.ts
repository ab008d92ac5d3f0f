import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import test from 'node:test';
import { pathToFileURL } from 'node:url';
import { MAIN } from '../support/netsy.ts';

/** One file for each thread, as `npm run bundle` makes them. */
const BUNDLES = readdirSync(dirname(MAIN))
  .filter((name) => name.endsWith('.cjs'))
  .map((name) => join(dirname(MAIN), name));

test('what a thread takes by require is CommonJS, which no version of Node warns of', () => {
  assert.ok(BUNDLES.length >= 7);
  const require = createRequire(MAIN);
  for (const file of BUNDLES) {
    const names = [...readFileSync(file, 'utf8').matchAll(/\brequire\("([^"]+)"\)/g)].map(
      ([, name]) => name!,
    );
    for (const name of new Set(names.filter((one) => !one.startsWith('node:')))) {
      assert.doesNotMatch(readFileSync(require.resolve(name), 'utf8'), /^(import|export)\b/m, name);
    }
  }
});

test('a stack leads to the sources', () => {
  const task = pathToFileURL(join(dirname(MAIN), 'task.cjs'));
  const program = `const { default: task } = await import('${task}');
    await task.default({ type: 'checkpoint', cacheFile: '/nowhere/cache.sqlite' }).catch((error) => console.log(error.stack));`;
  const flags = ['--enable-source-maps', '--input-type=module', '-e', program];
  const { stdout } = spawnSync(process.execPath, flags, { encoding: 'utf8' });
  const [, line] = /src\/workers\/task\/checkpoint\.ts:(\d+)/.exec(stdout) ?? assert.fail(stdout);
  const source = readFileSync('src/workers/task/checkpoint.ts', 'utf8').split('\n');
  assert.match(source[Number(line) - 1]!, /new Database/);
});

test('a command loads nothing of a server', () => {
  const env = { ...process.env, NODE_DEBUG: 'module' };
  const { stderr } = spawnSync(process.execPath, [MAIN, '--version'], { env, encoding: 'utf8' });
  assert.match(stderr, /commander/);
  for (const name of ['grpc-js', 'protobuf', 'better-sqlite3', 'zstd', 'prom-client', 'piscina', 'undici']) {
    assert.doesNotMatch(stderr, new RegExp(`node_modules/[@a-z-/]*${name}`), name);
  }
});
