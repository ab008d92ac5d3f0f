import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { Both } from '../concurrency/both.ts';
import { requireTool } from '../support/go-tools.ts';
import { missingTools } from '../support/tools.ts';

const run = promisify(execFile);

/**
 * What Go programs build on etcd with etcd's own packages: `test/go/cmd/recipes` runs each of them with several
 * clients at a time and says what they saw, which must be what they see on etcd.
 */
describe("Go's clientv3 recipes", { timeout: 300_000, skip: missingTools('go') }, () => {
  const both = new Both();
  let recipes: string;

  before(async () => {
    recipes = await requireTool('recipes');
  });

  it('locks, elections, transactions, queues and wrappers see what they see on etcd', async () => {
    const said = await both.see(async ({ authority }) => {
      // It exits with 1 when a recipe fails, and says which in the same lines.
      const outcome = run(recipes, [`http://${authority}`], { timeout: 200_000 });
      return outcome.catch((error: { stdout: string }) => error).then(({ stdout }) => stdout.split('\n'));
    });
    assert.equal(said.length, 17, 'a line for each recipe');
    assert.deepEqual(
      said.filter((line) => line.includes('FAILED')),
      [],
    );
  });
});
