import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { summarize } from '../../src/main/import/contents.ts';
import { DatabaseFile } from '../../src/main/import/database-file.ts';
import {
  AlarmRequest_AlarmAction,
  AlarmType,
  Maintenance,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { startEtcd } from '../support/etcd.ts';
import { EtcdClient } from '../support/etcd-client.ts';
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
  `${READER} del open/a`,
  '--user reader:wrong get open/a',
  'get open/a',
];

const ALARM_QUESTIONS = [`${ROOT} alarm list`, `${ROOT} put open/a 3`];

async function answers(endpoint: string, questions = QUESTIONS): Promise<string[]> {
  const found: string[] = [];
  for (const question of questions) {
    // A log line's time and place are the client's own.
    found.push((await etcdctl(endpoint, question)).replace(/^.*"error":/, ''));
  }
  return found;
}

async function raiseNoSpace(authority: string): Promise<void> {
  const client = new EtcdClient(authority);
  const alarm = { action: AlarmRequest_AlarmAction.ACTIVATE, memberID: 5n, alarm: AlarmType.NOSPACE };
  await client.call(Maintenance.method.alarm, alarm);
  client.close();
}

test('users, passwords, roles, an enabled auth and alarms move in and out', {
  timeout: 180_000,
  skip: missingTools('go'),
}, async (context) => {
  const etcd = await startEtcd(temporaryDirectory());
  context.after(() => etcd.process.stop());
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
  ]) {
    assert.doesNotMatch(await etcdctl(etcd.endpoint, words), /rpc error/, words);
  }
  await raiseNoSpace(new URL(etcd.endpoint).host);
  await etcdctl(etcd.endpoint, 'auth enable');
  await etcdctl(etcd.endpoint, `${ROOT} snapshot save ${file}`);
  const wanted = await answers(etcd.endpoint);
  const alarmed = await answers(etcd.endpoint, ALARM_QUESTIONS);
  await etcd.process.stop();
  assert.match(wanted[0]!, /Authentication Status: true/);
  assert.match(alarmed[1]!, /database space exceeded/);

  const store = pathToFileURL(join(temporaryDirectory(), 'store')).href;
  const imported = runNetsy(['import', file, '--store', store, '--json']);
  assert.equal(imported.code, 0, imported.stderr);
  const { users, roles, authEnabled } = JSON.parse(imported.stdout) as Record<string, unknown>;
  assert.deepEqual([users, roles, authEnabled], [3, 1, true]);
  const netsy = await startNetsy({ arguments: ['--store', store] });
  context.after(async () => void (await netsy.stop()));
  assert.deepEqual(await answers(netsy.endpoint), wanted);
  assert.deepEqual(await answers(netsy.endpoint, ALARM_QUESTIONS), alarmed);

  const back = join(temporaryDirectory(), 'out.db');
  assert.match(await etcdctl(netsy.endpoint, `snapshot save ${back}`), /user name is empty/);
  await etcdctl(netsy.endpoint, `${ROOT} snapshot save ${back}`);
  const saved = new DatabaseFile(back);
  assert.equal(summarize(saved.database).alarms, 1);
  saved.close();
  // An etcd that has an alarm does not get healthy.
  await etcdctl(netsy.endpoint, `${ROOT} alarm disarm`);
  await etcdctl(netsy.endpoint, `${ROOT} snapshot save ${back}`);
  await netsy.stop();
  const again = await etcdFrom(back);
  context.after(() => again.process.stop());
  assert.deepEqual(await answers(again.endpoint), wanted);
});
