import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';

const marking = new URL('../../src/shared/base/marking.js', import.meta.url);

/** What V8 says of its collections in a process that keeps so many objects, and makes ArrayBuffers beside them. */
async function collections(objects: number, isInOneGo: boolean): Promise<string> {
  const program = `
    import { markInOneGo } from '${marking}';
    const looks = [];
    const clock = { after: (_, look) => looks.push(look) };
    if (${isInOneGo}) markInOneGo(clock);
    globalThis.kept = Array.from({ length: ${objects} }, (_, at) => ({ at, name: 'name-' + at }));
    for (const look of looks.splice(0)) look();
    console.log('BEGIN');
    const ring = [];
    for (let round = 0; round < 40; round++) {
      for (let made = 0; made < 500; made++) ring[made] = new Uint8Array(65_000);
      await new Promise((resolve) => setImmediate(resolve));
    }
  `;
  const args = ['--trace-gc', '--input-type=module', '-e', program];
  const { stdout } = await promisify(execFile)(process.execPath, args, { maxBuffer: 64 * 1024 * 1024 });
  return stdout.slice(stdout.indexOf('BEGIN'));
}

const STEPS = /Mark-Compact.*steps since start of marking/;
const ANY = /Mark-Compact/;

describe('the heap', () => {
  it('is marked in steps by V8 itself, as this test can see', async () => {
    assert.match(await collections(1000, false), STEPS);
  });

  it('is marked in one go', async () => {
    const said = await collections(1000, true);
    assert.match(said, ANY);
    assert.doesNotMatch(said, STEPS);
  });

  it('is marked in steps again when it is large', async () => {
    assert.match(await collections(2_000_000, true), STEPS);
  });
});
