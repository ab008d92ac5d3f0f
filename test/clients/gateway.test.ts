import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { Fixture } from '../e2e/fixture.ts';
import { missingTools } from '../support/tools.ts';

const run = promisify(execFile);

describe('the curl script', { timeout: 120_000, skip: missingTools('curl', 'base64') }, () => {
  const server = new Fixture();

  it('finds every answer of the JSON gateway as it expects', async () => {
    const { stdout } = await run('test/clients/gateway.sh', [server.netsy.endpoint]);
    assert.match(stdout, /all as expected\n$/);
  });
});
