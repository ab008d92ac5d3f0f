import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { KV } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { missingTools } from '../support/tools.ts';
import { Fixture } from './fixture.ts';

interface Printed {
  code: number | null;
  out: string;
  err: string;
}

describe('etcdctl', { timeout: 60_000, skip: missingTools('etcdctl') }, () => {
  const server = new Fixture();

  const environment = (): NodeJS.ProcessEnv => ({
    ...process.env,
    ETCDCTL_API: '3',
    ETCDCTL_ENDPOINTS: server.netsy.authority,
  });

  function etcdctl(words: string, input = '', env = environment()): Printed {
    const run = spawnSync('etcdctl', words.split(' '), { env, input, encoding: 'utf8' });
    return { code: run.status, out: run.stdout, err: run.stderr };
  }

  function prints(words: string, wanted: string | RegExp, input?: string, env?: NodeJS.ProcessEnv): void {
    const { code, out, err } = etcdctl(words, input, env);
    assert.equal(code, 0, `${words}: ${err}`);
    if (typeof wanted === 'string') assert.equal(out, wanted, words);
    else assert.match(out, wanted, words);
  }

  it('puts, gets and deletes', () => {
    prints('put a 1', 'OK\n');
    prints('put --prev-kv a 2', 'OK\na\n1\n');
    prints('put ab 3', 'OK\n');
    prints('get a', 'a\n2\n');
    prints('get --prefix a', 'a\n2\nab\n3\n');
    prints('get --prefix --keys-only a', 'a\n\nab\n\n');
    prints('get --prefix --print-value-only --order=DESCEND --limit=1 a', '3\n');
    prints('get --rev=2 a', 'a\n1\n');
    prints('del --prefix a', '2\n');
    prints('get --prefix a', '');
  });

  it('runs transactions from its input', () => {
    prints('txn', 'FAILURE\n\nOK\n', 'value("t") = "x"\n\nget t\n\nput t x\n\n');
    prints('txn', 'SUCCESS\n\nt\nx\n', 'value("t") = "x"\n\nget t\n\nput t y\n\n');
  });

  it('grants, lists, renews and revokes leases', () => {
    const id = /lease (\w+) granted with TTL\(60s\)/.exec(etcdctl('lease grant 60').out)?.[1];
    assert.ok(id !== undefined);
    prints(`put --lease=${id} leased v`, 'OK\n');
    prints(
      `lease timetolive --keys ${id}`,
      /granted with TTL\(60s\), remaining\(\d+s\), attached keys\(\[leased\]\)/,
    );
    prints('lease list', new RegExp(`found 1 leases\\n${id}`));
    prints(`lease keep-alive --once ${id}`, /keepalived with TTL\(60\)/);
    prints(`lease revoke ${id}`, `lease ${id} revoked\n`);
    prints('get leased', '');
  });

  it('compacts, and prints etcd errors', () => {
    for (let index = 0; index < 3; index++) prints('put c v', 'OK\n');
    const revision = /"revision":(\d+)/.exec(etcdctl('get -w json c').out)?.[1];
    prints(`compact --physical ${revision}`, `compacted revision ${revision}\n`);
    const { code, err } = etcdctl('get --rev=2 c');
    assert.equal(code, 1);
    assert.match(err, /etcdserver: mvcc: required revision has been compacted/);
  });

  it('shows status, health, members and alarms, and defragments', () => {
    prints('endpoint status', /, \w+, 3\.7\.3, [\d.]+ kB, true, false, /);
    prints('endpoint health', '');
    prints('member list', /, started, default, /);
    prints('alarm list', '');
    prints('defrag', /Finished defragmenting/);
  });

  it('shows status and health, and defragments, at an endpoint that is a URL, which 3.4 sends as :authority', () => {
    const { endpoint, authority } = server.netsy;
    const url = { ...environment(), ETCDCTL_ENDPOINTS: endpoint };
    prints('endpoint status', /^http:.*, \w+, 3\.7\.3, [\d.]+ kB, true, false, /, '', url);
    prints('endpoint health', '', '', url);
    prints('defrag', /Finished defragmenting/, '', url);
    const both = { ...environment(), ETCDCTL_ENDPOINTS: `${endpoint},${authority}` };
    prints('endpoint status', /^http:.*\n127\..*\n$/, '', both);
  });

  it('watches a prefix', async () => {
    const child = spawn('etcdctl', ['watch', '--prefix', 'w/'], { env: environment() });
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => {
      out += chunk;
    });
    while (out === '') {
      await server.put('w/first', 'x');
      await sleep(50);
    }
    await server.put('w/k', 'v');
    await server.client.call(KV.method.deleteRange, {
      key: new Uint8Array(Buffer.from('w/k')),
    });
    while (!out.endsWith('DELETE\nw/k\n\n')) await sleep(20);
    assert.match(out, /PUT\nw\/k\nv\nDELETE\nw\/k\n\n$/);
    child.kill();
    await once(child, 'exit');
  });

  it('holds a lock while its command runs', () => {
    prints('lock name echo held', /^held\n$/);
  });
});
