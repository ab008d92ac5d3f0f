import { setMaxListeners } from 'node:events';
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { fileURLToPath } from 'node:url';

/**
 * `npm test [-- WORD …]`: runs every test file with node's own test runner, or those whose path has one of the
 * words. One file more at a time than there are cores: most of them start servers, and wait now and then.
 */

const CONCURRENCY = availableParallelism() + 1;
/** A file that hangs is a failure; the slowest takes about a minute. */
const FILE_TIMEOUT_MS = 600_000;
/** They take longest: begun first, none of them is what all the others have to wait for in the end. */
const FIRST = [
  ...['recovery/cache', 'crash/stragglers', 'crash/merge', 'sim/sim', 'bench/programs', 'upkeep/snapshotter'],
  ...['restore/refer', 'docs/commands', 'crash/random', 'e2e/unread-answers', 'crash/points'],
];

const root = dirname(fileURLToPath(import.meta.url));
const words = process.argv.slice(2);

/** Where a file is in the order. */
function placeOf(file: string): number {
  const place = FIRST.findIndex((name) => file === `${name}.test.js`);
  return place === -1 ? FIRST.length : place;
}

const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.js'))
  .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
  .sort()
  .sort((a, b) => placeOf(a) - placeOf(b))
  .map((file) => join(root, file));

if (files.length === 0) {
  process.stderr.write(`no test file has ${words.join(' or ')} in its path\n`);
  process.exit(1);
}
const stop = new AbortController();
// Each file under way listens, and more.
setMaxListeners(0, stop.signal);
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort());
const tests = run({ files, concurrency: CONCURRENCY, timeout: FILE_TIMEOUT_MS, signal: stop.signal });
tests.on('test:fail', ({ todo }) => {
  if (todo === undefined || todo === false) process.exitCode = 1;
});
tests.compose(new spec()).pipe(process.stdout);
