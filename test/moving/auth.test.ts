import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { startEtcd } from '../support/etcd.ts';
import { requireTool } from '../support/go-tools.ts';
import { runNetsy, startNetsy, temporaryDirectory } from '../support/netsy.ts';
import { missingTools } from '../support/tools.ts';
import { etcdFrom } from './tools.ts';

const run = promisify(execFile);

async function etcdctl(endpoint: string, words: string): Promise<string> {
  const tool = await requireTool('etcdctl');
  const all = ['--endpoints', endpoint, ...words.split(' ')];
  return run(tool, all).then(
    ({ stdout }) => stdout,
    (error: { stderr: string }) =>
      error.stderr.split('\n').find((line) => line.includes('rpc error')) ?? error.stderr,
  );
}

const ROOT = '--user root:root-pw';
const READER = '--user reader:reader-pw';

/** What shows whether users, passwords, roles and the auth revision are there. */
const QUESTIONS = [
  `${ROOT} auth status`,
  `${ROOT} user list`,
  `${ROOT} user get reader`,
  `${ROOT} role list`,
  `${ROOT} role get readers`,
  `${READER} get open/a`,
  `${READER} get closed/a`,
  `${READER} put open/a 2`,
  '--user reader:wrong get open/a',
  'get open/a',
];

async function answers(endpoint: string): Promise<string[]> {
  const found: string[] = [];
  for (const question of QUESTIONS) {
    // A log line's time and place are the client's own.
    found.push((await etcdctl(endpoint, question)).replace(/^.*"error":/, ''));
  }
  return found;
}

test('users, passwords, roles and an enabled auth move in and out', {
  skip: missingTools('go'),
}, async () => {
  const etcd = await startEtcd(temporaryDirectory());
  const file = join(temporaryDirectory(), 'in.db');
  for (const words of [
    'put open/a 1',
    'put closed/a 1',
    'user add root:root-pw',
    'user add reader:reader-pw',
    'user add nobody --no-password',
    'role add readers',
    'role grant-permission readers read open/ --prefix',
    'user grant-role reader readers',
    'user grant-role root root',
    'auth enable',
    `${ROOT} snapshot save ${file}`,
  ]) {
    assert.doesNotMatch(await etcdctl(etcd.endpoint, words), /rpc error/, words);
  }
  const wanted = await answers(etcd.endpoint);
  await etcd.process.stop();
  assert.match(wanted[0]!, /Authentication Status: true/);

  const store = pathToFileURL(join(temporaryDirectory(), 'store')).href;
  const imported = runNetsy(['import', file, '--store', store, '--json']);
  assert.equal(imported.code, 0, imported.stderr);
  const { users, roles, authEnabled } = JSON.parse(imported.stdout) as Record<string, unknown>;
  assert.deepEqual([users, roles, authEnabled], [3, 1, true]);
  const netsy = await startNetsy({ arguments: ['--store', store] });
  assert.deepEqual(await answers(netsy.endpoint), wanted);

  const back = join(temporaryDirectory(), 'out.db');
  assert.match(await etcdctl(netsy.endpoint, `snapshot save ${back}`), /user name is empty/);
  await etcdctl(netsy.endpoint, `${ROOT} snapshot save ${back}`);
  await netsy.stop();
  const again = await etcdFrom(back);
  assert.deepEqual(await answers(again.endpoint), wanted);
  await again.process.stop();
});
