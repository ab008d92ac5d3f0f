import assert from 'node:assert/strict';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { KV, Maintenance } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { Fixture } from '../e2e/fixture.ts';
import { bytes } from '../support/etcd-client.ts';

const MIB = 1024 * 1024;
const BIG_KEYS = 30;
const HASHES = 4;
const WRITERS = 8;

describe('maintenance under load', { timeout: 120_000 }, () => {
  const server = new Fixture();

  function cacheFile(): string {
    return join(server.netsy.dataDir, 'cache', 'cache.sqlite');
  }

  function diskBytes(): number {
    return statSync(cacheFile()).size + statSync(`${cacheFile()}-wal`).size;
  }

  it('HashKV lets reads and writes pass while it runs', async () => {
    for (let index = 0; index < BIG_KEYS; index++) await server.put(`big${index}`, 'x'.repeat(MIB));
    const { header } = await server.put('passed');
    const alone = await server.client.call(Maintenance.method.hashKV, { revision: header!.revision });
    let done = false;
    const request = { revision: header!.revision };
    const hashing = Promise.all(
      Array.from({ length: HASHES }, () => server.client.call(Maintenance.method.hashKV, request)),
    ).finally(() => {
      done = true;
    });
    const written = server.put('passed', 'again');
    let passed = 0;
    for (; !done; passed++) assert.equal((await server.range('passed')).kvs.length, 1);
    assert.ok(passed >= 5, `${passed} reads passed`);
    await written;
    assert.deepEqual(new Set((await hashing).map(({ hash }) => hash)), new Set([alone.hash]));
  });

  it('Defragment gives the space back to the disk while writes and reads go on, and loses none', async () => {
    const { header } = await server.client.call(KV.method.deleteRange, {
      key: bytes('big'),
      rangeEnd: bytes('bih'),
    });
    await server.client.call(KV.method.compact, { revision: header!.revision, physical: true });
    const before = await server.client.call(Maintenance.method.status, {});
    assert.ok(before.dbSizeInUse < 5 * MIB, 'a compaction frees pages');
    assert.ok(before.dbSize > 25n * BigInt(MIB), 'which stay in the file');

    let stop = false;
    const written = new Map<string, string>();
    const load = Array.from({ length: WRITERS }, async (_, writer) => {
      for (let count = 0; !stop; count++) {
        const key = `w${writer}-${count % 50}`;
        await server.put(key, `value ${count}`);
        written.set(key, `value ${count}`);
        if (count % 5 === 0) await server.range('w', 'x');
      }
    });
    const beforeWrites = written.size;
    const response = await server.client.call(Maintenance.method.defragment, {});
    assert.ok(written.size > beforeWrites, 'writes went on');
    assert.equal(response.header, undefined, 'as etcd, no header');
    const disk = diskBytes();
    stop = true;
    await Promise.all(load);

    assert.ok(disk < 12 * MIB, `${disk} bytes are still on the disk`);
    const after = await server.client.call(Maintenance.method.status, {});
    assert.ok(after.dbSize < 8 * MIB, `dbSize is ${after.dbSize}`);
    await server.client.call(Maintenance.method.defragment, {});
    assert.equal(statSync(`${cacheFile()}-wal`).size, 0, 'SQLite’s log is given back too');
    const { kvs } = await server.range('w', 'x');
    const read = kvs.map(({ key, value }) => [Buffer.from(key).toString(), Buffer.from(value).toString()]);
    assert.deepEqual(new Map(read as [string, string][]), new Map([...written].sort()));
  });
});
