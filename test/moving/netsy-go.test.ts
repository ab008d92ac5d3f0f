import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { importDatabase } from '../../src/main/import/import.ts';
import { GoBucket } from '../../src/main/import/netsy-go.ts';
import { openFileStore } from '../../src/main/store/file.ts';
import { systemClock } from '../../src/shared/base/clock.ts';
import { systemRandom } from '../../src/shared/base/random.ts';
import { KV } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { Event_EventType } from '../../src/shared/etcd/gen/mvccpb/kv_pb.ts';
import { compressBody } from '../../src/workers/task/compress.ts';
import { ALL_KEYS, Client } from '../crash/client.ts';
import { requireTool } from '../support/go-tools.ts';
import {
  type Netsy,
  type NetsyOptions,
  runNetsy,
  serverArguments,
  startNetsy,
  temporaryDirectory,
} from '../support/netsy.ts';
import { missingTools } from '../support/tools.ts';
import { startVersityGateway, type VersityGateway } from '../support/versitygw.ts';
import { COMPACTED_AT, GoWriter, goChunkKey, goFile, goSnapshotKey } from './go-bucket.ts';

const FIXTURE = join('test', 'fixtures', 'netsy-go');
const run = promisify(execFile);

function newStore(): string {
  return pathToFileURL(join(temporaryDirectory(), 'store')).href;
}

function importOf(source: string, store: string): ReturnType<typeof runNetsy> {
  return runNetsy(['import', source, '--store', store, '--json']);
}

/** Runs the import, which must succeed. */
function imported(source: string, store: string): Record<string, unknown> {
  const { code, stdout, stderr } = importOf(source, store);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout) as Record<string, unknown>;
}

async function serving<T>(
  store: string,
  body: (client: Client, netsy: Netsy) => Promise<T>,
  options: NetsyOptions = {},
): Promise<T> {
  const netsy = await startNetsy({ ...options, arguments: ['--store', store] });
  const client = new Client(netsy.authority);
  try {
    return await body(client, netsy);
  } finally {
    client.close();
    await netsy.stop();
  }
}

/** Whether each change from revision 1 to `last` is a delete, as a watcher sees them: one per revision. */
async function deletesTo(client: Client, last: number): Promise<boolean[]> {
  const watch = client.watch();
  watch.send({ requestUnion: { case: 'createRequest', value: { ...ALL_KEYS, startRevision: 1n } } });
  const deletes: boolean[] = [];
  while (deletes.length < last) {
    for (const { type, kv } of (await watch.next()).events) {
      assert.equal(Number(kv?.modRevision), deletes.length + 1);
      deletes.push(type === Event_EventType.DELETE);
    }
  }
  watch.cancel();
  return deletes;
}

/** A directory of Netsy for Go's files. */
function bucketOf(files: Readonly<Record<string, Uint8Array>>): string {
  const directory = temporaryDirectory();
  for (const [key, bytes] of Object.entries(files)) {
    const path = join(directory, key);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, bytes);
  }
  return directory;
}

/** A copy of the fixture, in which something is changed. */
function fixtureWith(change: (directory: string) => void): string {
  const directory = join(temporaryDirectory(), 'bucket');
  cpSync(FIXTURE, directory, { recursive: true });
  change(directory);
  return directory;
}

/** What etcdctl says, without the header's ids and term, which are a server's own. */
async function etcdctlSays(netsy: Netsy): Promise<object> {
  const etcdctl = await requireTool('etcdctl');
  const words = ['--endpoints', netsy.endpoint, 'get', '/registry/', '--prefix', '-w', 'json'];
  const { stdout } = await run(etcdctl, words, { maxBuffer: 1 << 26 });
  const said = JSON.parse(stdout) as { header: { revision: number } };
  return { ...said, header: { revision: said.header.revision } };
}

describe("moving in a bucket of Netsy for Go's", { timeout: 180_000, skip: missingTools('go') }, () => {
  const expected = JSON.parse(readFileSync(join(FIXTURE, 'expected-range.json'), 'utf8')) as object;
  const store = newStore();
  let gateway: VersityGateway;

  before(async () => {
    gateway = await startVersityGateway({ buckets: ['old', 'new'] });
  });
  after(() => gateway.stop());

  it('from a directory: etcdctl gets what it got there, and the history is whole', async () => {
    const { revision, records, chunks, objects, unread } = imported(FIXTURE, store);
    assert.deepEqual(
      { revision, records, objects, unread },
      { revision: 62, records: 62, objects: 23, unread: 40 },
    );
    assert.equal(chunks, 2);
    await serving(store, async (client, netsy) => {
      assert.deepEqual(await etcdctlSays(netsy), expected);
      const deletes = await deletesTo(client, 62);
      assert.equal(deletes.filter((isDelete) => isDelete).length, 6);
      const old = await client.call(KV.method.range, { ...ALL_KEYS, revision: 1n });
      assert.deepEqual([Number(old.kvs[0]?.modRevision), old.kvs.length], [1, 1]);
      const { header } = await client.call(KV.method.put, {
        key: Buffer.from('next'),
        value: Buffer.from('x'),
      });
      assert.equal(Number(header?.revision), 63, 'and goes on');
    });
    const { code, stdout } = runNetsy(['verify', store]);
    assert.equal(code, 0, stdout);
  });

  it('from S3 to S3', async () => {
    cpSync(FIXTURE, join(gateway.directory, 'old', 'prefix'), { recursive: true });
    const { environment } = gateway;
    const words = ['dist/netsy/main.cjs', 'import', 's3://old/prefix', '--store', 's3://new/netsy'];
    await run(process.execPath, words, { env: { ...process.env, ...environment } });
    await serving(
      's3://new/netsy',
      async (_, netsy) => {
        assert.deepEqual(await etcdctlSays(netsy), expected);
      },
      { environment },
    );
  });
});

describe("an import of a bucket of Netsy for Go's", { timeout: 180_000 }, () => {
  it('that was interrupted is not served, and goes on with the same command', async () => {
    const writer = new GoWriter();
    for (let index = 0; index < 60; index++) writer.put(`key-${index % 7}`, 'x'.repeat(200_000));
    const bucket = bucketOf({ [goSnapshotKey(60)]: goFile(1, writer.records) });
    const store = newStore();
    const opened = await openFileStore(new URL(store).pathname, { clock: systemClock, random: systemRandom });
    const source = await GoBucket.open({
      store: await openFileStore(bucket, { clock: systemClock, random: systemRandom }),
      progress: () => {},
    });
    let puts = 0;
    const interrupted = importDatabase({
      source,
      store: opened,
      append: async (key, object) => {
        if (++puts > 2) throw new Error('interrupted');
        await opened.putIfAbsent(key, object);
        return 'durable';
      },
      compress: (body) => compressBody(body, 1),
      clock: systemClock,
      random: systemRandom,
      progress: () => {},
    });
    await assert.rejects(interrupted, /interrupted/);
    await opened.close();
    const dataDir = temporaryDirectory();
    const refused = runNetsy(serverArguments({ dataDir, arguments: ['--store', store] }));
    assert.match(refused.stderr + refused.stdout, /an import that did not end/);
    const other = importOf(FIXTURE, store);
    assert.match(other.stderr, /holds an import of something else/);
    const { resumed, records } = imported(bucket, store);
    assert.deepEqual([resumed, records], [true, 60]);
    await serving(store, async (client) => assert.equal((await deletesTo(client, 60)).length, 60), {
      dataDir,
    });
  });

  it('keeps what a compaction there has left, and serves nothing that is not whole', async () => {
    const writer = new GoWriter()
      .put('a', '1')
      .put('b', '1')
      .put('a', '2')
      .put('c', '1')
      .delete('c')
      .put('b', '2');
    const bucket = bucketOf({
      [goSnapshotKey(6)]: goFile(1, writer.compacted(3)),
      [goChunkKey(8)]: goFile(2, writer.put('a', '3', 77n).delete('b').records.slice(6)),
    });
    const store = newStore();
    const { compactRevision, records, revision, leased } = imported(bucket, store);
    // At revision 3 the first b is gone already: it was replaced in 6.
    assert.deepEqual(
      { compactRevision, records, revision, leased },
      { compactRevision: 6, records: 6, revision: 8, leased: 1 },
    );
    await serving(store, async (client) => {
      const at = async (from: bigint): Promise<string[]> => {
        const { kvs } = await client.call(KV.method.range, { ...ALL_KEYS, revision: from });
        return kvs.map(({ key, value, version }) => `${Buffer.from(key)}=${Buffer.from(value)} ${version}`);
      };
      await assert.rejects(at(5n), /required revision has been compacted/);
      assert.deepEqual(await at(6n), ['a=2 2', 'b=2 2']);
      assert.deepEqual(await at(0n), ['a=3 3']);
      const { kvs } = await client.call(KV.method.range, { key: Buffer.from('a') });
      assert.equal(kvs[0]?.lease, 77n);
    });
  });

  const chunk = (revision: number): string => goChunkKey(revision);
  const flip = (path: string): void => {
    const bytes = readFileSync(path);
    bytes[bytes.length >> 1]! ^= 4;
    writeFileSync(path, bytes);
  };
  const broken: Readonly<Record<string, readonly [source: () => string, line: RegExp]>> = {
    'a damaged chunk': [
      () => fixtureWith((at) => flip(join(at, chunk(50)))),
      /chunks\/0050\/0{17}50\.netsy: .* at byte \d+: .*expected/,
    ],
    'a damaged snapshot': [
      () => fixtureWith((at) => flip(join(at, goSnapshotKey(40)))),
      /snapshots\/0{17}40\.netsy: /,
    ],
    'a chunk that is missing': [
      () => fixtureWith((at) => rmSync(join(at, chunk(50)))),
      /0051\/0{17}51\.netsy: a record is revision 51, and before it is revision 49: records are missing$/,
    ],
    'a chunk under the name of another': [
      () => fixtureWith((at) => cpSync(join(at, chunk(50)), join(at, chunk(63)))),
      /0063\/0{17}63\.netsy: ends with revision 62, and by its name with 63$/,
    ],
    'a version that does not follow': [
      () =>
        bucketOf({
          [chunk(2)]: goFile(2, [
            ...new GoWriter().put('a', '1').records,
            {
              ...new GoWriter().put('b', '').put('a', '2').records[1]!,
              created: false,
              createRevision: 1n,
              prevRevision: 1n,
              version: 3n,
            },
          ]),
        }),
      /is revision 2 and has version 3, which must be 2$/,
    ],
    'a delete of what is not there': [
      () => bucketOf({ [chunk(1)]: goFile(2, [{ revision: 1n, deleted: true, key: Buffer.from('a') }]) }),
      /is revision 1 and deletes a key that does not exist$/,
    ],
    'a value that a compaction should have left': [
      () =>
        bucketOf({
          [chunk(1)]: goFile(2, [{ ...new GoWriter().put('a', '1').records[0]!, compactedAt: COMPACTED_AT }]),
        }),
      /is revision 1 of "a", is compacted, and nothing has replaced it$/,
    ],
    'an encrypted record': [
      () => bucketOf({ [chunk(1)]: goFile(2, [{ ...new GoWriter().put('a', '1').records[0]!, dek: 1n }]) }),
      /dek: expected 0 \(encrypted records are not supported\), found 1$/,
    ],
    'an empty bucket': [
      () => bucketOf({ 'readme.txt': Buffer.from('x') }),
      /holds no chunks\/ and no snapshots\/ of Netsy for Go/,
    ],
    'a store of this netsy': [
      () => bucketOf({ 'chunks/0000000000000000001.netsy': Buffer.from('x') }),
      /is a store of this netsy already/,
    ],
    'what does not exist': [() => '/nowhere/at/all', /\/nowhere\/at\/all: there is no such file$/],
  };
  for (const [what, [source, line]] of Object.entries(broken)) {
    it(`refuses ${what}, with one line, and writes nothing`, () => {
      const store = newStore();
      const { code, stdout, stderr } = importOf(source(), store);
      assert.deepEqual([code, stdout], [1, '']);
      const lines = stderr.trimEnd().split('\n');
      assert.match((JSON.parse(lines[lines.length - 1]!) as { msg: string }).msg, line);
      const directory = new URL(store).pathname;
      assert.deepEqual(existsSync(directory) ? readdirSync(directory) : [], []);
    });
  }
});
