import assert from 'node:assert/strict';
import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { KV } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { writeHistory } from '../moving/history.ts';
import { bytes, EtcdClient } from '../support/etcd-client.ts';
import { LogObjects } from '../support/log-objects.ts';
import { MAIN, type Netsy, runNetsy, startNetsy, temporaryDirectory } from '../support/netsy.ts';
import { startProcess } from '../support/process.ts';
import { startVersityGateway } from '../support/versitygw.ts';
import {
  assertSame,
  failure,
  filesOf,
  newStore,
  ranToItsEnd,
  type Served,
  served,
  servedFrom,
} from './tools.ts';

const SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31));

async function put(client: EtcdClient, key: string, value = 'x'): Promise<bigint> {
  const { header } = await client.call(KV.method.put, { key: bytes(key), value: bytes(value) });
  return header!.revision;
}

describe(`netsy fork (seed ${SEED})`, { timeout: 240_000 }, () => {
  const flags = ['--snapshot-records', '30', '--snapshot-age', '1000h'];
  let netsy: Netsy;
  let log: LogObjects;
  let store: string;
  let revision: bigint;
  let then: Served;

  before(async () => {
    netsy = await startNetsy({ arguments: flags });
    log = new LogObjects(join(netsy.dataDir, 'store'));
    store = pathToFileURL(log.directory).href;
    const client = new EtcdClient(netsy.authority);
    for (let write = 0; write < 40; write++) await put(client, `first/${write}`);
    while (log.sequences('snapshots').length === 0) await sleep(50);
    await writeHistory(client, SEED, 25);
    revision = await put(client, 'point');
    then = await served(netsy.authority);
    await put(client, 'after');
    client.close();
  });
  after(async () => {
    await netsy.stop();
  });

  it('goes on from a point, shares the snapshot, and leaves the old store as it was', async () => {
    const { directory, url } = newStore();
    const files = filesOf(log.directory);
    const to = ['--to-revision', String(revision)];
    const result = ranToItsEnd(['fork', '--store', store, ...to, '--into', url]);
    assert.deepEqual(filesOf(log.directory), files);
    const { how, key } = result['snapshot'] as { how: string; key: string };
    assert.equal(how, 'linked');
    assert.equal(statSync(join(directory, key)).ino, statSync(join(log.directory, key)).ino);
    assert.equal(ranToItsEnd(['verify', url])['whole'], true);

    const data = temporaryDirectory();
    const grown = ['--store', url, '--snapshot-records', '10', '--merge-chunks', '8'];
    let forked = await startNetsy({ dataDir: data, arguments: grown });
    const [old, own] = [new EtcdClient(netsy.authority), new EtcdClient(forked.authority)];
    assertSame(await served(forked.authority), then);
    const idOf = async (client: EtcdClient): Promise<bigint> =>
      (await client.call(KV.method.range, { key: bytes('point') })).header!.clusterId;
    assert.notEqual(await idOf(own), await idOf(old), 'a cluster of its own');
    assert.equal(await put(own, 'mine'), revision + 1n);
    const seen = await old.call(KV.method.range, { key: bytes('mine') });
    assert.equal(seen.count, 0n, 'the old store knows nothing of it');
    for (let write = 0; write < 20; write++) await put(own, `mine/${write}`);
    while (new LogObjects(directory).sequences('snapshots').length < 2) await sleep(50);
    const wanted = await served(forked.authority);
    await forked.kill();
    rmSync(join(data, 'cache'), { recursive: true });
    forked = await startNetsy({ dataDir: data, arguments: grown });
    assertSame(await served(forked.authority), wanted);
    await forked.stop();
    old.close();
    own.close();
    assert.equal(ranToItsEnd(['verify', url])['whole'], true);
    assert.match(failure(['fork', '--store', store, '--into', url]), /is not empty/);
  });

  it('killed anywhere, it is refused by servers, and goes on when it is run again', async (t) => {
    const { directory, url } = newStore();
    const made = new LogObjects(directory);
    const words = ['fork', '--store', store, '--to-revision', String(revision), '--into', url];
    const logFile = join(temporaryDirectory(), 'fork.log');
    for (const chunks of [1, 4]) {
      const child = await startProcess({ command: process.execPath, arguments: [MAIN, ...words], logFile });
      while (child.running() && made.sequences('chunks').length < chunks) await sleep(1);
      await child.kill();
      if (made.sequences('snapshots').length > 0) {
        // It was too quick to be stopped halfway; then it is whole.
        t.diagnostic(`not killed before its end, at chunk ${chunks}`);
        assertSame(await servedFrom(url), then);
        return;
      }
      const serve = ['--store', url, '--data-dir', temporaryDirectory()];
      const { code, stderr } = runNetsy([...serve, '--listen-client-urls', 'http://127.0.0.1:0']);
      assert.equal(code, 1, 'a server on half a fork must not start');
      assert.match(stderr, /fork that did not end|the log has lost chunks/);
    }
    const other = ['fork', '--store', store, '--to-revision', String(revision - 3n), '--into', url];
    assert.match(failure(other), /holds a fork of .* at revision \d+ that did not end: run that one again/);
    assert.equal(ranToItsEnd(words)['resumed'], true);
    assertSame(await servedFrom(url), then);
  });

  it('restores a point that has no snapshot before it', async () => {
    const { url } = newStore();
    const { code, stderr } = runNetsy(['fork', '--store', store, '--to-revision', '9', '--into', url]);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /there is no snapshot before that point/);
    const { state } = await servedFrom(url);
    assert.equal(state.revision, '9');
  });

  it('onto S3, and from there on S3 again', async () => {
    const gateway = await startVersityGateway({ buckets: ['forks'] });
    try {
      const { environment } = gateway;
      const to = ['--to-revision', String(revision)];
      ranToItsEnd(['fork', '--store', store, ...to, '--into', 's3://forks/one'], environment);
      const result = ranToItsEnd(
        ['fork', '--store', 's3://forks/one', '--into', 's3://forks/two'],
        environment,
      );
      assert.equal((result['snapshot'] as { how: string }).how, 'referenced');
      assertSame(await servedFrom('s3://forks/two', environment), then);
    } finally {
      await gateway.stop();
    }
  });
});
