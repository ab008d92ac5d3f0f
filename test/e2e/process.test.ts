import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { KV, Watch } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { bytes, EtcdClient, settled, text } from '../support/etcd-client.ts';
import { type Netsy, runNetsy, serverArguments, startNetsy, temporaryDirectory } from '../support/netsy.ts';

/** A start that must fail: what it says, checked to be one line for people. */
function refusedStart(words: readonly string[]): string {
  const { code, stdout, stderr } = runNetsy(words);
  assert.notEqual(code, 0);
  assert.equal(stdout, '');
  // The log goes to standard error too; the reason is its only error, or for people the line that is no log line.
  const lines = stderr
    .trimEnd()
    .split('\n')
    .filter((line) => !line.startsWith('{') || line.startsWith('{"level":"error"'));
  assert.equal(lines.length, 1, stderr);
  assert.doesNotMatch(stderr, /^ +at /m);
  return lines[0]!;
}

async function put(netsy: Netsy, key: string): Promise<void> {
  const client = new EtcdClient(netsy.authority);
  await client.call(KV.method.put, { key: bytes(key) });
  client.close();
}

describe('a start that can not succeed says why in one line', { timeout: 60_000 }, () => {
  it('names the flag of a bad value, and the variable it came from', () => {
    assert.match(refusedStart(['--batch-window', 'soon']), /--batch-window/);
    assert.match(refusedStart(['--no-such-flag']), /no-such-flag/);
    const { code, stderr } = runNetsy([], { NETSY_PIPELINE_DEPTH: 'x' });
    assert.notEqual(code, 0);
    assert.match(stderr, /^netsy: NETSY_PIPELINE_DEPTH: .+\n$/);
  });

  it('names a data directory that can not be one', () => {
    const file = join(temporaryDirectory(), 'file');
    writeFileSync(file, '');
    assert.match(refusedStart(serverArguments({ dataDir: file })), new RegExp(file));
    assert.match(refusedStart(serverArguments({ dataDir: join(file, 'below') })), new RegExp(file));
    assert.match(refusedStart(serverArguments({ dataDir: '/sys/netsy' })), /\/sys\/netsy/);
    assert.match(
      refusedStart(serverArguments({ dataDir: '/proc/netsy' })),
      /\/proc\/netsy\/store: no directory can be made in \/proc; choose another place/,
    );
    const elsewhere = ['--store', `file://${temporaryDirectory()}/store`];
    assert.match(
      refusedStart(serverArguments({ dataDir: '/proc/netsy', arguments: elsewhere })),
      /--data-dir: \/proc\/netsy can't be made: no directory can be made in \/proc; choose another place/,
    );
    const cache = ['--cache-dir', join(file, 'cache')];
    assert.match(
      refusedStart(serverArguments({ dataDir: temporaryDirectory(), arguments: cache })),
      /--cache-dir: .*\/file\/cache can't be made: ENOTDIR/,
    );
  });

  it('names a port that is in use, and leaves the server that uses it alone', async () => {
    const running = await startNetsy();
    const words = serverArguments({ dataDir: temporaryDirectory(), listen: running.endpoint });
    assert.match(refusedStart(words), new RegExp(running.authority));
    // Even one that shares its store must not take the log over before it finds that it can't serve.
    const store = ['--store', `file://${running.dataDir}/store`];
    assert.match(refusedStart([...words, ...store]), new RegExp(running.authority));
    await put(running, 'undisturbed');
    assert.equal(await running.stop(), 'exit code 0');
  });

  it('names a data directory that another one uses, and leaves that one alone', async () => {
    const running = await startNetsy();
    const reason = refusedStart(serverArguments({ dataDir: running.dataDir }));
    assert.match(reason, new RegExp(running.dataDir));
    assert.match(reason, /in use/);
    await put(running, 'undisturbed');
    assert.equal(await running.stop(), 'exit code 0');
  });

  it('names certificate files that are not there', () => {
    const words = ['--cert-file', '/nowhere/c', '--key-file', '/nowhere/k'];
    const all = serverArguments({
      dataDir: temporaryDirectory(),
      listen: 'https://127.0.0.1:0',
      arguments: words,
    });
    assert.match(refusedStart(all), /\/nowhere\/c/);
  });
});

describe('SIGTERM', { timeout: 60_000 }, () => {
  it('answers what was taken, ends with 0, and every acknowledged write is there afterwards', async () => {
    const netsy = await startNetsy();
    const client = new EtcdClient(netsy.authority);
    const acknowledged: string[] = [];
    const failures = new Set<string>();
    let writing = true;
    const writer = async (name: number): Promise<void> => {
      for (let round = 0; writing; round++) {
        const key = `${name}/${round}`;
        const outcome = await settled(client.call(KV.method.put, { key: bytes(key) }));
        if ('value' in outcome) acknowledged.push(key);
        else {
          failures.add(`${outcome.failure.code}`);
          return;
        }
      }
    };
    const writers = Array.from({ length: 20 }, (_, name) => writer(name));
    while (acknowledged.length < 200) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.equal(await netsy.stop(), 'exit code 0');
    writing = false;
    await Promise.all(writers);
    client.close();
    assert.deepEqual([...failures], ['14'], 'whoever was not answered was told that the server is going');
    const again = await startNetsy({ dataDir: netsy.dataDir });
    const reader = new EtcdClient(again.authority);
    const { kvs } = await reader.call(KV.method.range, { key: bytes('\0'), rangeEnd: bytes('\0') });
    const present = new Set(kvs.map(({ key }) => text(key)));
    for (const key of acknowledged) assert.ok(present.has(key), `${key} was acknowledged and is gone`);
    reader.close();
    await again.stop();
  });

  it('ends a server that has an idle connection and an open watch', async () => {
    const netsy = await startNetsy();
    const client = new EtcdClient(netsy.authority);
    await client.call(KV.method.put, { key: bytes('k') });
    const create = { key: bytes('k') };
    const watching = settled(
      client.watch(Watch.method.watch, { requestUnion: { case: 'createRequest', value: create } }),
    );
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert.equal(await netsy.stop(), 'exit code 0');
    assert.ok('failure' in (await watching));
    client.close();
  });
});

describe('netsy inspect', { timeout: 60_000 }, () => {
  it('prints the chunks of a store that a server wrote, and fails on a flipped bit by name', async () => {
    const netsy = await startNetsy();
    for (let index = 0; index < 5; index++) await put(netsy, `inspected-${index}`);
    await netsy.stop();
    const store = join(netsy.dataDir, 'store');
    const files = readdirSync(store, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.netsy'))
      .map((name) => join(store, name));
    assert.ok(files.length >= 6, 'an epoch and five puts');
    const { code, stdout } = runNetsy(['inspect', ...files]);
    assert.equal(code, 0);
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as object);
    for (const kind of ['header', 'footer']) {
      assert.equal(lines.filter((line) => kind in line).length, files.length);
    }
    for (let index = 0; index < 5; index++) assert.match(stdout, new RegExp(`inspected-${index}`));
    const damaged = readFileSync(files[2]!);
    damaged[damaged.length - 12]! ^= 1;
    const damagedFile = join(temporaryDirectory(), 'damaged.netsy');
    writeFileSync(damagedFile, damaged);
    const refused = runNetsy(['inspect', damagedFile]);
    assert.equal(refused.code, 1);
    assert.match(refused.stdout, /damaged\.netsy/);
    assert.match(refused.stdout, /"error"/);
  });
});
