import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openStore } from '../../src/main/store/open.ts';
import { systemClock } from '../../src/shared/base/clock.ts';
import { systemRandom } from '../../src/shared/base/random.ts';
import { KV } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { bytes, EtcdClient } from '../support/etcd-client.ts';
import { LogObjects } from '../support/log-objects.ts';
import { MadeLog } from '../support/made-log.ts';
import { MAIN, runNetsy, startNetsy, temporaryDirectory } from '../support/netsy.ts';
import { type RunningProcess, startProcess } from '../support/process.ts';
import { failure, filesOf, newStore, ranToItsEnd } from './tools.ts';

const SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31));
const CHUNKS = 60;
const KEYS = 50;
const VALUE = Buffer.from(systemRandom.bytes(3000)).toString('base64');

/** A log without a server: every chunk has `KEYS` puts. */
async function madeStore(url: string): Promise<number> {
  const store = await openStore(url, { clock: systemClock, random: systemRandom, environment: {} });
  const log = new MadeLog(store);
  await log.claim();
  for (let chunk = 0; chunk < CHUNKS; chunk++) {
    await log.write(Array.from({ length: KEYS }, (_, key) => [`key/${chunk % 20}/${key}`, VALUE + chunk]));
  }
  await store.close();
  return log.revision;
}

describe(`a restore that is interrupted (seed ${SEED})`, { timeout: 180_000 }, () => {
  const old = newStore();
  const into = newStore();
  const objects = new LogObjects(into.directory);
  const words = ['restore', '--store', old.url, '--into', into.url];
  let revision: number;
  let files: string[];

  before(async () => {
    revision = await madeStore(old.url);
    files = filesOf(old.directory);
  });
  after(() => assert.deepEqual(filesOf(old.directory), files, 'nothing is written to the old store'));

  function start(): Promise<RunningProcess> {
    const logFile = join(temporaryDirectory(), 'restore.log');
    return startProcess({ command: process.execPath, arguments: [MAIN, ...words], logFile });
  }

  it('is killed while it reads: nothing is in the new store', async () => {
    const child = await start();
    while (!readFileSync(child.logFile, 'utf8').includes('reading')) await sleep(2);
    await sleep((SEED % 7) * 40);
    const begun = objects.sequences('chunks').length;
    await child.kill();
    assert.equal(begun, 0);
    assert.deepEqual(objects.sequences('snapshots'), []);
  });

  it('is killed while it writes: servers refuse the new store, and the next one begins anew', async () => {
    for (const attempt of [1, 2]) {
      const child = await start();
      while (objects.sequences('chunks').length < attempt) {
        assert.ok(child.running(), 'it ended before it could be killed');
        await sleep(1);
      }
      await child.kill();
      if (objects.sequences('snapshots').length > 0) assert.fail('it was too quick to be killed');
      const serve = ['--store', into.url, '--data-dir', temporaryDirectory()];
      const { code, stderr } = runNetsy([...serve, '--listen-client-urls', 'http://127.0.0.1:0']);
      assert.equal(code, 1, 'a server on a half restore must not start');
      assert.match(stderr, /holds a restore or fork that did not end.*run it again/);
    }
    assert.match(
      failure(['restore', '--store', into.url, '--into', newStore().url]),
      /restore that did not end/,
    );
  });

  it('is interrupted with SIGINT: says so in one line and ends', async () => {
    const child = await start();
    while (!readFileSync(child.logFile, 'utf8').includes('reading')) await sleep(2);
    process.kill(child.pid, 'SIGINT');
    assert.equal(await child.ended, 'exit code 1');
    assert.match(readFileSync(child.logFile, 'utf8'), /^netsy: restore was interrupted: run it again$/m);
    assert.ok(!existsSync(into.directory) || objects.sequences('snapshots').length === 0);
  });

  it('is run to its end: all is there, behind what the others left', async () => {
    const dry = ranToItsEnd([...words, '--dry-run']);
    const before = objects.sequences('chunks');
    const result = ranToItsEnd(words);
    assert.deepEqual(result['read'], dry['read']);
    assert.deepEqual(result['point'], dry['point']);
    assert.deepEqual(objects.sequences('chunks'), [...before, before.length + 1]);
    assert.deepEqual(objects.sequences('snapshots'), [before.length + 1]);
    const netsy = await startNetsy({ arguments: ['--store', into.url] });
    const client = new EtcdClient(netsy.authority);
    const all = { key: bytes('\0'), rangeEnd: bytes('\0'), countOnly: true };
    const { count, header } = await client.call(KV.method.range, all);
    client.close();
    await netsy.stop();
    assert.deepEqual([count, header!.revision], [BigInt(20 * KEYS), BigInt(revision)]);
    assert.equal(ranToItsEnd(['verify', into.url])['whole'], true);
    assert.match(failure(words), /is not empty \(it holds snapshots\//);
  });
});
