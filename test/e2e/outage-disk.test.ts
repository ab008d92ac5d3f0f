import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import type { ServiceError } from '@grpc/grpc-js';
import { status } from '@grpc/grpc-js';
import { AlarmType, KV, Maintenance } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { Client } from '../crash/client.ts';
import { readKeys } from '../crash/history.ts';
import { Ledger } from '../crash/ledger.ts';
import { eventually } from '../kube/parallel.ts';
import {
  type Netsy,
  type NetsyOptions,
  runNetsy,
  serverArguments,
  startNetsy,
  temporaryDirectory,
} from '../support/netsy.ts';

const DISK_BYTES = 16 * 1024 * 1024;
const WITHIN_MS = 30_000;
const KEY = Buffer.from('lane-0/0');

/** A small file system of its own, with a file that can be taken away to make room. */
class SmallDisk {
  readonly directory = join(temporaryDirectory(), 'disk');
  readonly #ballast = join(this.directory, 'ballast');

  /** Why there can't be one here; false when there is. */
  mount(): string | false {
    mkdirSync(this.directory);
    const options = ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'netsy-test', this.directory];
    const { status: code } = spawnSync('mount', options);
    return code === 0 ? false : 'needs the permission to mount a tmpfs, which is not given here';
  }

  unmount(): void {
    assert.equal(spawnSync('umount', [this.directory]).status, 0);
  }

  /** Leaves `bytes` free. */
  fill(bytes: number): void {
    const { bavail, bsize } = statfsSync(this.directory);
    writeFileSync(this.#ballast, Buffer.alloc(Math.max(0, bavail * bsize - bytes), 1));
  }

  free(): void {
    rmSync(this.#ballast);
  }
}

async function alarms(client: Client): Promise<AlarmType[]> {
  const reply = await client.call(Maintenance.method.alarm, {});
  return reply.alarms.map(({ alarm }) => alarm);
}

async function health(netsy: Netsy): Promise<string> {
  const response = await fetch(`${netsy.endpoint}/health`);
  return `${response.status} ${(await response.text()).trim()}`;
}

function put(client: Client): Promise<unknown> {
  return client.call(KV.method.put, { key: Buffer.from('other'), value: Buffer.from('value') });
}

async function refusedForSpace(client: Client): Promise<void> {
  await assert.rejects(put(client), (error: ServiceError) => {
    const said = [error.code, error.details];
    assert.deepEqual(said, [status.RESOURCE_EXHAUSTED, 'etcdserver: mvcc: database space exceeded']);
    return true;
  });
}

describe('the disk under the cache is full', { timeout: 120_000 }, () => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
  const disk = new SmallDisk();
  const dataDir = temporaryDirectory();
  const cacheDir = ['--cache-dir', join(disk.directory, 'cache')];
  const options = { dataDir, arguments: [...cacheDir, '--request-timeout', '2s'] };
  const ledger = new Ledger(seed, 8);
  const servers: Netsy[] = [];
  let reason: string | false = false;

  before(() => {
    reason = disk.mount();
  });
  // What a test that failed left running would keep the disk in use.
  afterEach(() => Promise.all(servers.splice(0).map((server) => server.kill())));
  after(() => {
    if (reason === false) disk.unmount();
  });

  async function start(startOptions: NetsyOptions): Promise<Netsy> {
    const server = await startNetsy(startOptions);
    servers.push(server);
    return server;
  }

  /** Writes until the server says that there is no room. */
  async function loadUntilFull(client: Client, netsy: Netsy): Promise<void> {
    const stop = new AbortController();
    const loaded = ledger.load(client, { signal: stop.signal, onUnknown: 'new keys' });
    const isFull = async (): Promise<true | undefined> =>
      (await alarms(client)).includes(AlarmType.NOSPACE) ? true : undefined;
    await eventually('no alarm is raised', WITHIN_MS, isFull, 20);
    stop.abort();
    await loaded;
    assert.equal(await health(netsy), '503 {"health":"false","reason":"ALARM NOSPACE"}');
    assert.match(netsy.log(), /"level":"error".*the disk under the cache refuses writes; make room/);
  }

  it('says so, refuses writes, reads on, and goes on by itself when there is room', async (test) => {
    if (reason !== false) return test.skip(reason);
    test.diagnostic(`SEED=${seed}`);
    const netsy = await start(options);
    const client = new Client(netsy.authority);
    await ledger.load(client, { operationsMax: 5 });
    for (let round = 0; round < 2; round++) {
      disk.fill(2 * 1024 * 1024);
      await loadUntilFull(client, netsy);
      await refusedForSpace(client);
      const { kvs } = await client.call(KV.method.range, { key: KEY, serializable: true });
      assert.ok(kvs.length <= 1);
      disk.free();
      await eventually('writes do not succeed again', WITHIN_MS, () =>
        put(client).then(
          () => true,
          () => undefined,
        ),
      );
      await client.call(KV.method.deleteRange, { key: Buffer.from('other') });
      assert.deepEqual(await alarms(client), []);
      assert.equal(await health(netsy), '200 {"health":"true","reason":""}');
      await ledger.verify(client, ['other']);
    }
    client.close();
    assert.equal(await netsy.stop(), 'exit code 0');
    test.diagnostic(`${ledger.acknowledged} acknowledged, ${ledger.refused} refused`);
  });

  it('keeps what was acknowledged when it is killed then, and says so at a start', async (test) => {
    if (reason !== false) return test.skip(reason);
    const full = await start(options);
    const client = new Client(full.authority);
    disk.fill(1024 * 1024);
    await loadUntilFull(client, full);
    await full.kill();
    client.close();
    rmSync(join(disk.directory, 'cache'), { recursive: true });
    disk.free();
    disk.fill(512 * 1024);
    const { code, stderr } = runNetsy(serverArguments(options));
    assert.equal(code, 1);
    assert.match(stderr, /"msg":"the disk under .* refuses writes .*; make room and start again"/);
    disk.free();
    const again = await start(options);
    const reader = new Client(again.authority);
    await ledger.verify(reader, ['other']);
    reader.close();
    assert.equal(await again.stop(), 'exit code 0');
  });

  it('while a compaction removes rows: it goes on when there is room, and so do writes', async (test) => {
    if (reason !== false) return test.skip(reason);
    const loaded = { ...options, dataDir: temporaryDirectory() };
    const first = await start(loaded);
    const loader = new Client(first.authority);
    await new Ledger(seed, 8).load(loader, { operationsMax: 40 });
    loader.close();
    assert.equal(await first.stop(), 'exit code 0');
    // Started again, SQLite's log is short: one that was copied and is written from its start has room of its own.
    const netsy = await start(loaded);
    const client = new Client(netsy.authority);
    const keys = await readKeys(client);
    const revision = BigInt(await client.revision());
    // Room for the compaction's own record, not for the pages that it changes.
    disk.fill(64 * 1024);
    const compacted = client.call(KV.method.compact, { revision, physical: true });
    await eventually('no alarm is raised', WITHIN_MS, async () =>
      (await alarms(client)).includes(AlarmType.NOSPACE) ? true : undefined,
    );
    await refusedForSpace(client);
    disk.free();
    await compacted;
    await eventually('the alarm stays', WITHIN_MS, async () =>
      (await alarms(client)).length === 0 ? true : undefined,
    );
    await put(client);
    await client.call(KV.method.deleteRange, { key: Buffer.from('other') });
    assert.deepEqual(await readKeys(client), keys);
    client.close();
    assert.equal(await netsy.stop(), 'exit code 0');
  });
});
