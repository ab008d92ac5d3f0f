import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { it } from 'node:test';
import { MAIN } from '../support/netsy.ts';
import { freePort } from '../support/ports.ts';

it('a store that does not answer: who waits is told why at once, not after the minute of tries', {
  timeout: 30_000,
}, async () => {
  const endpoint = `http://127.0.0.1:${await freePort()}`;
  const at = ['s3://bucket/prefix', '--json', '--s3-endpoint', endpoint, '--s3-region', 'us-east-1'];
  const env = { ...process.env, AWS_ACCESS_KEY_ID: 'key', AWS_SECRET_ACCESS_KEY: 'secret-key' };
  const child = spawn(process.execPath, [MAIN, 'status', ...at], { env });
  const begunMs = Date.now();
  for await (const line of createInterface(child.stderr)) {
    const { level, command, msg } = JSON.parse(line) as Record<string, string>;
    assert.deepEqual([level, command], ['info', 'status']);
    assert.match(
      msg ?? '',
      /^trying for 60 s: cannot list prefix\/references\/: no answer from http:.*ECONNREFUSED/,
    );
    break;
  }
  child.kill();
  assert.ok(Date.now() - begunMs < 25_000);
});
