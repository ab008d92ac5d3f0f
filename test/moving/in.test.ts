import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { KV } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { type Etcd, startEtcd } from '../support/etcd.ts';
import { bytes, EtcdClient } from '../support/etcd-client.ts';
import { type Netsy, runNetsy, startNetsy, temporaryDirectory } from '../support/netsy.ts';
import { missingTools } from '../support/tools.ts';
import { assertSameState, hashKvOf, type StoreState, stateOf, writeHistory } from './history.ts';
import { etcdFrom, fileHashKv, saveSnapshot } from './tools.ts';

const FRESH_SEED = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31));

function newStore(): string {
  return pathToFileURL(join(temporaryDirectory(), 'store')).href;
}

function authorityOf({ endpoint }: { readonly endpoint: string }): string {
  return new URL(endpoint).host;
}

/** Runs the import, which must succeed. */
function imported(file: string, store: string): Record<string, unknown> {
  const { code, stdout, stderr } = runNetsy(['import', file, '--store', store, '--json']);
  assert.equal(code, 0, stderr);
  return JSON.parse(stdout) as Record<string, unknown>;
}

describe('moving in: an etcd, netsy import, and back', { timeout: 180_000, skip: missingTools('go') }, () => {
  const directory = temporaryDirectory();
  const store = newStore();
  let etcd: Etcd;
  let netsy: Netsy | undefined;
  let back: Etcd | undefined;
  let state: StoreState;
  let hashKv: object;
  let file: string;

  before(async () => {
    etcd = await startEtcd(directory);
    const client = new EtcdClient(authorityOf(etcd));
    await writeHistory(client, FRESH_SEED, 110);
    await client.call(KV.method.put, { key: bytes('large'), value: bytes('L'.repeat(1_500_000)) });
    client.close();
    state = await stateOf(authorityOf(etcd));
    hashKv = await hashKvOf(authorityOf(etcd));
    file = await saveSnapshot(etcd.endpoint);
    await etcd.process.stop();
  });
  after(async () => {
    await netsy?.stop();
    await back?.process.stop();
    await etcd?.process.stop();
  });

  it(`serves every key, revision, event and lease that etcd served (seed ${FRESH_SEED})`, async () => {
    const result = imported(file, store);
    assert.equal(String(result['revision']), state.revision);
    assert.equal(result['leases'], state.leases.length);
    netsy = await startNetsy({ arguments: ['--store', store] });
    assertSameState(await stateOf(netsy.authority), state);
    assert.deepEqual(await hashKvOf(netsy.authority), hashKv);
  });

  it("the way back gives etcd's HashKV again, and an etcd that serves the same", async () => {
    const saved = await saveSnapshot(netsy!.endpoint);
    assert.deepEqual(await fileHashKv(saved), hashKv);
    back = await etcdFrom(saved);
    assertSameState(await stateOf(authorityOf(back)), state);
    assert.deepEqual(await hashKvOf(authorityOf(back)), hashKv);
  });

  it('the next write has the next revision, and a server without a cache finds it all', async () => {
    const client = new EtcdClient(netsy!.authority);
    const put = await client.call(KV.method.put, { key: bytes('large') });
    assert.equal(String(put.header!.revision - 1n), state.revision);
    client.close();
    const wanted = await stateOf(netsy!.authority);
    await netsy!.stop();
    netsy = await startNetsy({ arguments: ['--store', store] });
    assertSameState(await stateOf(netsy.authority), wanted);
  });

  it('a store that is not empty is refused, and stays as it is', async () => {
    const again = runNetsy(['import', file, '--store', store]);
    assert.equal(again.code, 1);
    assert.match(again.stderr, /is not empty \(it holds chunks\//);
    const served = await stateOf(netsy!.authority);
    assert.equal(BigInt(served.revision), BigInt(state.revision) + 1n);
  });

  it("a stopped etcd's own database file is taken, which has no SHA-256", () => {
    const plain = join(directory, 'data', 'member', 'snap', 'db');
    const run = runNetsy(['import', plain, '--store', newStore()]);
    assert.equal(run.code, 0, run.stderr);
    assert.match(run.stdout, new RegExp(`revision ${state.revision}, `));
    assert.match(run.stderr, /no SHA-256 at its end/);
  });

  it('a damaged file is refused by name and place before anything is written', () => {
    const damaged = join(temporaryDirectory(), 'damaged.db');
    const contents = readFileSync(file);
    contents[contents.length - 5000]! ^= 1;
    writeFileSync(damaged, contents);
    const empty = newStore();
    const flipped = runNetsy(['import', damaged, '--store', empty]);
    assert.equal(flipped.code, 1);
    assert.match(flipped.stderr, /damaged\.db: the SHA-256 at its end is [0-9a-f]{64}, its contents'/);
    writeFileSync(damaged, contents.subarray(0, 8192));
    const cut = runNetsy(['import', damaged, '--store', empty]);
    assert.match(cut.stderr, /damaged\.db: the file is truncated: its meta says \d+ pages/);
    copyFileSync(join(directory, 'etcd.log'), damaged);
    assert.match(runNetsy(['import', damaged, '--store', empty]).stderr, /damaged\.db: .*no etcd database/);
    assert.match(runNetsy(['import', `${damaged}.no`, '--store', empty]).stderr, /there is no such file/);
    imported(file, empty);
  });
});
