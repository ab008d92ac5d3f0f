import { spawnSync } from 'node:child_process';

/**
 * For node:test's `skip`: why a test that needs these programs can't run here, or false if it can. With CI=true
 * nothing is skipped, so that the test fails for want of its program.
 */
export function missingTools(...names: readonly string[]): string | false {
  if (process.env['CI'] === 'true') return false;
  const missing = names.filter((name) => spawnSync('sh', ['-c', 'command -v "$0"', name]).status !== 0);
  return missing.length === 0 ? false : `needs ${missing.join(' and ')}, which is not installed here`;
}
