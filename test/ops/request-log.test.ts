import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  Auth,
  Compare_CompareTarget,
  KV,
  type TxnRequestSchema,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { CallerClient } from '../auth/caller-client.ts';
import { startEtcd } from '../support/etcd.ts';
import { bytes } from '../support/etcd-client.ts';
import { type Netsy, runNetsy, startNetsy, temporaryDirectory } from '../support/netsy.ts';
import { missingTools } from '../support/tools.ts';

type Line = Readonly<Record<string, unknown>>;

function slowLines(netsy: Pick<Netsy, 'log'>): Line[] {
  const lines = netsy.log().split('\n').filter(Boolean);
  return lines.map((line) => JSON.parse(line) as Line).filter(({ msg }) => msg === 'request stats');
}

/** Names of the fields, and what both servers must say alike: times, addresses and headers' ids differ. */
function comparable(line: Line): Line {
  const { 'request count': requests, 'request size': requestBytes, 'response count': responses } = line;
  const names = Object.keys(line).filter((name) => name !== 'caller');
  return { names: names.sort(), type: line['response type'], requests, requestBytes, responses };
}

/** A server that takes every request for slow. */
function startSlow(...words: string[]): Promise<Netsy> {
  return startNetsy({ arguments: ['--warning-unary-request-duration', '0s', ...words] });
}

const CREATED = Compare_CompareTarget.CREATE;

const putOf = (name: string, value: string): MessageInitShape<typeof TxnRequestSchema> => ({
  success: [{ request: { case: 'requestPut', value: { key: bytes(name), value: bytes(value) } } }],
});

describe('slow requests', { timeout: 120_000 }, () => {
  it('are told with etcd’s words and fields, what was asked for, and no value', async () => {
    const netsy = await startSlow();
    const client = new CallerClient(netsy.authority);
    try {
      await client.call(KV.method.put, { key: bytes('north'), value: bytes('a-hidden-value') });
      await client.call(KV.method.range, { key: bytes('n'), rangeEnd: bytes('o'), limit: 5n });
      await client.call(KV.method.txn, putOf('south', 'another-hidden-value'));
      const [put, range, txn] = slowLines(netsy);
      assert.equal(put?.['level'], 'warn');
      assert.equal(put?.['response type'], '/etcdserverpb.KV/Put');
      assert.equal(put?.['request content'], 'key:"north" value_size:14');
      assert.match(String(put?.['time spent']), /^\d+\.\d{3}ms$/);
      assert.match(String(put?.['remote']), /^127\.0\.0\.1:\d+$/);
      assert.equal(put?.['request size'], 23);
      assert.ok(Number(put?.['response size']) > 10);
      assert.equal(range?.['request content'], 'key:"n" range_end:"o" limit:5');
      const wanted = 'compare:<> success:<request_put:<key:"south" value_size:20>> failure:<>';
      assert.equal(txn?.['request content'], wanted);
      assert.doesNotMatch(netsy.log(), /hidden/);
      const metrics = await (await fetch(`${netsy.endpoint}/metrics`)).text();
      assert.match(metrics, /^etcd_server_slow_apply_total 3$/m);
    } finally {
      client.close();
      await netsy.stop();
    }
  });

  it('have the counts and sizes that a real etcd gives the same calls', {
    skip: missingTools('go'),
  }, async () => {
    const etcd = await startEtcd(join(temporaryDirectory(), 'etcd'), [
      '--warning-unary-request-duration=1us',
    ]);
    const netsy = await startSlow();
    const work = async (authority: string): Promise<void> => {
      const client = new CallerClient(authority);
      const { put, range, deleteRange, txn, compact } = KV.method;
      for (const name of ['a1', 'a2', 'a3']) await client.call(put, { key: bytes(name), value: bytes('v') });
      await client.call(range, { key: bytes('a'), rangeEnd: bytes('b'), limit: 2n });
      await assert.rejects(client.call(range, { key: bytes('a1'), revision: 99n }));
      await client.call(txn, { ...putOf('c', 'value'), failure: [] });
      const notNew = { case: 'createRevision' as const, value: 7n };
      await client.call(txn, { compare: [{ key: bytes('a1'), target: CREATED, targetUnion: notNew }] });
      await client.call(deleteRange, { key: bytes('a1'), rangeEnd: bytes('a3'), prevKv: true });
      await client.call(compact, { revision: 2n });
      client.close();
    };
    try {
      const told: Line[][] = [];
      for (const { authority, log } of [
        { authority: new URL(etcd.endpoint).host, log: () => readFileSync(etcd.process.logFile, 'utf8') },
        netsy,
      ]) {
        await work(authority);
        const ofClient = slowLines({ log }).filter((line) => String(line['response type']).includes('.KV/'));
        told.push(ofClient.map((line) => comparable(line)));
      }
      assert.equal(told[0]?.length, 9);
      assert.deepEqual(told[1], told[0]);
    } finally {
      await netsy.stop();
      await etcd.process.stop();
    }
  });

  it('in an outage, when all are slow, ten lines a second say so, and how many were not told', async () => {
    const netsy = await startSlow();
    const client = new CallerClient(netsy.authority);
    try {
      const call = (): Promise<unknown> => client.call(KV.method.range, { key: bytes('n') });
      const begun = Date.now();
      await Promise.all(Array.from({ length: 300 }, call));
      const seconds = (Date.now() - begun) / 1000;
      const told = slowLines(netsy).length;
      assert.ok(told >= 10 && told <= 10 * (seconds + 2), String(told));
      await new Promise((resolve) => setTimeout(resolve, 1100));
      await call();
      const untold = slowLines(netsy).reduce(
        (sum, one) => sum + Number(one['slow requests not told'] ?? 0),
        0,
      );
      assert.equal(untold + slowLines(netsy).length, 301);
    } finally {
      client.close();
      await netsy.stop();
    }
  });
});

describe('no secret is logged', { timeout: 120_000 }, () => {
  const SECRETS = [
    ...['hidden-access-key', 'hidden-secret-key', 'hidden-session-token', 'hidden-url-password'],
    ...['hidden-root-password', 'hidden-wrong-password', 'hidden-new-password', 'hidden-forged-token'],
    ...['hidden-value', 'hidden-basic', 'hidden-query'],
  ];
  const environment = {
    AWS_ACCESS_KEY_ID: 'hidden-access-key',
    AWS_SECRET_ACCESS_KEY: 'hidden-secret-key',
    AWS_SESSION_TOKEN: 'hidden-session-token',
  };

  function assertNone(output: string, more: readonly string[] = []): void {
    for (const secret of [...SECRETS, ...more]) {
      const at = output.indexOf(secret);
      assert.equal(at, -1, `${secret}: ${output.slice(Math.max(0, at - 200), at + 60)}`);
    }
  }

  it('of users, tokens, keys and values, at level debug with every request told', async () => {
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
    const keyFile = join(temporaryDirectory(), 'jwt.key');
    writeFileSync(keyFile, pem);
    for (const kind of ['simple', `jwt,sign-method=RS256,priv-key=${keyFile},ttl=1m`]) {
      const words = ['--log-level', 'debug', '--warning-unary-request-duration', '0s', '--bcrypt-cost', '4'];
      const netsy = await startNetsy({ arguments: [...words, '--auth-token', kind], environment });
      const client = new CallerClient(netsy.authority);
      const auth = Auth.method;
      try {
        await client.call(auth.userAdd, { name: 'root', password: 'hidden-root-password' });
        await client.call(auth.userGrantRole, { user: 'root', role: 'root' });
        await client.call(auth.authEnable, {});
        const wrong = { name: 'root', password: 'hidden-wrong-password' };
        await assert.rejects(client.call(auth.authenticate, wrong));
        const right = { name: 'root', password: 'hidden-root-password' };
        const { token } = await client.call(auth.authenticate, right);
        const put = { key: bytes('k'), value: bytes('hidden-value') };
        await client.call(KV.method.put, put, { token });
        await client.call(KV.method.txn, putOf('k', 'hidden-value'), { token });
        await assert.rejects(client.call(KV.method.put, put, { token: 'hidden-forged-token' }));
        const change = { name: 'root', password: 'hidden-new-password' };
        await client.call(auth.userChangePassword, change, { token });
        await fetch(`${netsy.endpoint}/v3/kv/put?x=hidden-query`, {
          method: 'POST',
          headers: { Authorization: 'hidden-basic' },
          body: '{"key":"aw==","value":"hidden-value"}',
        });
        await fetch(`${netsy.endpoint}/nowhere?x=hidden-query`);
        const pages = ['metrics', 'status.json', '', 'health'].map((page) => `${netsy.endpoint}/${page}`);
        const shown = await Promise.all(pages.map(async (page) => (await fetch(page)).text()));
        client.close();
        await netsy.stop();
        assert.match(netsy.log(), /"response type":"\/etcdserverpb.Auth\/Authenticate"/);
        assertNone(`${netsy.log()}${shown.join('')}`, [token, pem.split('\n')[1] ?? 'no line']);
      } finally {
        client.close();
        await netsy.stop();
      }
    }
  });

  it('of store URLs that have them, which every command refuses', () => {
    const [store, other] = ['s3://me:hidden-url-password@bucket/p', 's3://other/p?x=hidden-query'];
    const commands = [
      [store],
      ['import', store, '--store', 's3://bucket/p'],
      ['import', other, '--store', 's3://bucket/p'],
      ['restore', '--store', 's3://bucket/p', '--into', store],
      ['fork', '--store', 's3://bucket/p', '--into', other],
    ];
    for (const command of commands) {
      const run = runNetsy(command, environment, 10_000);
      assert.notEqual(run.code, 0, command.join(' '));
      assert.notEqual(run.stderr, '');
      assertNone(run.stdout + run.stderr);
    }
  });

  it('of the store, when it fails to start, is doctored, or its settings are shown', () => {
    const words = ['--data-dir', temporaryDirectory(), '--log-level', 'debug'];
    const s3 = ['--s3-region', 'x', '--store', 's3://bucket/p'];
    const listen = ['--listen-client-urls', 'http://127.0.0.1:0'];
    const withPassword = 'http://me:hidden-url-password@127.0.0.1:1';
    const tries: [string[], string][] = [
      [['doctor', ...words, ...listen], 'http://127.0.0.1:1'],
      [['config', 'check', ...words, ...listen], 'http://127.0.0.1:1'],
      // Waits for its store, and is ended.
      [[...words, ...listen], 'http://127.0.0.1:1'],
      [['config', 'check', ...words], withPassword],
      [['status'], withPassword],
    ];
    for (const [command, endpoint] of tries) {
      const run = runNetsy([...command, ...s3, '--s3-endpoint', endpoint], environment, 5_000);
      assert.notEqual(run.stdout + run.stderr, '');
      assertNone(run.stdout + run.stderr);
    }
  });
});
