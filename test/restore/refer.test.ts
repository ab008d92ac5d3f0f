import assert from 'node:assert/strict';
import { existsSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openStore } from '../../src/main/store/open.ts';
import type { ObjectStore } from '../../src/main/store/store.ts';
import { systemClock } from '../../src/shared/base/clock.ts';
import { systemRandom } from '../../src/shared/base/random.ts';
import { KV } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { bytes, EtcdClient } from '../support/etcd-client.ts';
import { LogObjects } from '../support/log-objects.ts';
import { runNetsy, startNetsy, temporaryDirectory } from '../support/netsy.ts';
import { startVersityGateway, type VersityGateway } from '../support/versitygw.ts';
import { assertSame, failure, ranToItsEnd, type Served, served, servedFrom } from './tools.ts';

const OLD = 's3://forks/old';
const SNAPSHOTS = ['--snapshot-records', '30', '--snapshot-age', '1000h'];

describe('a fork on S3 refers to the snapshot that it begins with', { timeout: 240_000 }, () => {
  let gateway: VersityGateway;
  let environment: Readonly<Record<string, string>>;
  let then: Served;

  const objectsOf = (name: string): LogObjects => new LogObjects(join(gateway.directory, 'forks', name));
  const fork = (to: string, ...more: string[]): Record<string, unknown> =>
    ranToItsEnd(['fork', '--store', OLD, '--into', `s3://forks/${to}`, ...more], environment);
  const howOf = (result: Record<string, unknown>): string => (result['snapshot'] as { how: string }).how;
  const startOf = (url: string): { code: number | null; stderr: string } =>
    runNetsy(
      ['--store', url, '--data-dir', temporaryDirectory(), '--listen-client-urls', 'http://127.0.0.1:0'],
      environment,
      60_000,
    );

  async function keysOf(url: string, prefix: string): Promise<string[]> {
    const store = await opened(url);
    const keys: string[] = [];
    for await (const { key } of store.list(prefix)) keys.push(key);
    await store.close();
    return keys;
  }
  function opened(url: string): Promise<ObjectStore> {
    return openStore(url, { clock: systemClock, random: systemRandom, environment });
  }

  before(async () => {
    gateway = await startVersityGateway({ buckets: ['forks'] });
    ({ environment } = gateway);
    const netsy = await startNetsy({ arguments: ['--store', OLD, ...SNAPSHOTS], environment });
    const client = new EtcdClient(netsy.authority);
    const put = (key: string): Promise<unknown> =>
      client.call(KV.method.put, { key: bytes(key), value: bytes('x') });
    // A log in which a snapshot has room before it.
    for (let write = 0; write < 40; write++) await put(`first/${write}`);
    while (objectsOf('old').sequences('snapshots').length === 0) await sleep(50);
    for (let write = 0; write < 5; write++) await put(`then/${write}`);
    then = await served(netsy.authority);
    client.close();
    await netsy.stop();
  });
  after(async () => {
    await gateway.stop();
  });

  it('copies no snapshot, pins it, and serves, verifies and forks what the old store held', async () => {
    const result = fork('new');
    assert.equal(howOf(result), 'referenced');
    assert.deepEqual(await keysOf('s3://forks/new', 'snapshots/'), []);
    assert.equal((await keysOf('s3://forks/new', 'references/')).length, 1);
    assertSame(await servedFrom('s3://forks/new', environment), then);
    const verified = ranToItsEnd(['verify', 's3://forks/new'], environment);
    assert.equal(verified['whole'], true);
    assert.doesNotMatch(JSON.stringify(verified['notes']), /nothing reads it/);
    const { pins, odd } = ranToItsEnd(['status', OLD], environment) as Record<string, object[]>;
    const stores = (pins ?? []).map((pin) => (pin as { store: string }).store);
    assert.deepEqual(stores, ['s3://forks/new']);
    assert.deepEqual(odd, []);
    assert.match(runNetsy(['status', OLD], environment).stdout, /is kept for s3:\/\/forks\/new/);
    assert.deepEqual(ranToItsEnd(['status', 's3://forks/new'], environment)['odd'], []);
    assert.match(failure(['fork', '--store', OLD, '--into', 's3://forks/new'], environment), /is not empty/);
    assert.equal(ranToItsEnd(['verify', OLD], environment)['whole'], true);

    const again = ['fork', '--store', 's3://forks/new', '--into', 's3://forks/again'];
    assert.equal(howOf(ranToItsEnd(again, environment)), 'referenced');
    assert.equal((await keysOf(OLD, 'pins/')).length, 2, 'the store that has the snapshot is pinned');
    assert.deepEqual(await keysOf('s3://forks/new', 'pins/'), []);
    assertSame(await servedFrom('s3://forks/again', environment), then);
    const restored = ['restore', '--store', 's3://forks/again', '--into', 's3://forks/restored'];
    ranToItsEnd(restored, environment);
  });

  it('copies with --copy, and leaves no pin', async () => {
    const pins = await keysOf(OLD, 'pins/');
    assert.equal(howOf(fork('copy', '--copy')), 'copied');
    assert.equal((await keysOf('s3://forks/copy', 'snapshots/')).length, 1);
    assert.deepEqual(await keysOf(OLD, 'pins/'), pins);
    assertSame(await servedFrom('s3://forks/copy', environment), then);
  });

  it('interrupted after the pin, it is refused by servers, and goes on when it is run again', async () => {
    const url = 's3://forks/halfway';
    fork('halfway');
    const store = await opened(url);
    // All that comes after the pin.
    for (const key of await keysOf(url, 'references/')) await store.delete(key);
    await store.close();
    const { code, stderr } = startOf(url);
    assert.equal(code, 1, 'a server on half a fork must not start');
    assert.match(stderr, /fork that did not end|the log has lost chunks/);
    const result = fork('halfway');
    assert.equal(result['resumed'], true);
    assert.equal(howOf(result), 'referenced');
    assertSame(await servedFrom(url, environment), then);
  });

  it('needs the old store until it has snapshots of its own, and says so in one line', async () => {
    const [url, own] = ['s3://forks/bereft', objectsOf('bereft')];
    fork('bereft');
    const base = join(gateway.directory, 'forks', 'old', 'snapshots');
    const away = `${base}-away`;
    renameSync(base, away);
    try {
      const { code, stderr } = startOf(url);
      assert.equal(code, 1);
      assert.match(
        stderr,
        /forks\/bereft\/? is a fork that still needs snapshots\/\d+\.netsy of s3:\/\/forks\/old: it is gone/,
      );
    } finally {
      renameSync(away, base);
    }
    const netsy = await startNetsy({ arguments: ['--store', url, '--snapshot-records', '10'], environment });
    const client = new EtcdClient(netsy.authority);
    for (let write = 0; write < 15; write++)
      await client.call(KV.method.put, { key: bytes(`own/${write}`), value: bytes('x') });
    while (!existsSync(join(own.directory, 'snapshots')) || own.sequences('snapshots').length === 0)
      await sleep(50);
    const wanted = await served(netsy.authority);
    client.close();
    await netsy.stop();
    renameSync(base, away);
    try {
      assertSame(await servedFrom(url, environment), wanted);
    } finally {
      renameSync(away, base);
    }
  });
});
