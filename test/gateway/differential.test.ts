import { describe, it } from 'node:test';
import { gatewayRoutes } from '../../src/main/rpc/gateway-routes.ts';
import { Auth, KV, Lease } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { Election } from '../../src/shared/etcd/gen/v3electionpb/v3election_pb.ts';
import { Lock } from '../../src/shared/etcd/gen/v3lockpb/v3lock_pb.ts';
import { randomJson } from '../fuzz/json.ts';
import { Seeded } from '../support/seeded.ts';
import { missingTools } from '../support/tools.ts';
import { base64, post } from './http.ts';
import { Peers } from './peers.ts';
import { NO_JSON, TXNS, VALUES } from './texts.ts';

const K = base64('k');
/** Longer ones nest deeper than this server takes. */
const RANDOM_BYTES_MAX = 5_000;
const RANDOM_TRIES = 600;
/** What neither waits, nor ends etcd, nor depends on the moment or on which server answers. */
const RANDOM_ROUTES = [...gatewayRoutes([KV, Lease, Auth, Lock, Election])].filter(
  ([path]) =>
    !/grant$|leases$|enable$|keepalive$|compaction$|lock\/lock$|campaign$|observe$|proclaim$|resign$|user\/|authenticate$/.test(
      path,
    ),
);

const MISSING_LEASE = '7587890123456789013';
const LEASE = '7587890123456789012';

describe('the JSON gateway beside a real etcd', { timeout: 120_000, skip: missingTools('go') }, () => {
  const peers = new Peers();

  it('answers every method on every kind of path as etcd does', async () => {
    const paths = [
      '/v3/kv/put',
      '/v3/watch',
      '/v3/kv/range/',
      '/v3/kv',
      '/v3/',
      '/v3',
      '/v3/kv/Put',
      '/v3/none',
      '/v3beta/kv/put',
    ];
    const odd = [
      '//v3/kv/range',
      '/v3//kv/range',
      '/v3/./kv/range',
      '/v3/kv/../kv/range',
      '/v3/kv/%72ange',
      '/v3/kv%2Frange',
      '/v3/kv/range?a=b',
      '/v3?a=b',
      '/v3/kv/range%20',
      '/v3alpha/kv/range',
      '/v3beta',
      '/v3beta/',
    ];
    for (const path of [...paths, ...odd]) {
      for (const method of ['GET', 'HEAD', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'])
        await peers.same({ method, path });
    }
    for (const path of [...paths.slice(2), ...odd]) await peers.json(path, `{"key":"${K}"}`);
  });

  it('refuses what is no JSON in the words of etcd', async () => {
    for (const body of NO_JSON) {
      for (const path of ['/v3/kv/range', '/v3/kv/txn']) await peers.json(path, body);
    }
    for (const body of ['', ' ', '\n\t\r ', '\u00a0']) await peers.json('/v3/kv/range', body);
    for (const bytes of [[0xff], [0x7b, 0xff], [0x22, 0xff, 0x22], [0xc3, 0x28]]) {
      await peers.same({ path: '/v3/kv/range', body: Uint8Array.from(bytes) });
    }
  });

  it('takes and refuses values of fields as etcd does', async () => {
    await peers.post('/v3/kv/put', { key: K, value: base64('v') });
    for (const body of VALUES) await peers.json('/v3/kv/range', body);
    for (const body of TXNS) await peers.json('/v3/kv/txn', body);
  });

  it('answers KV requests with the same names, order and forms', async () => {
    await peers.post('/v3/kv/put', { key: K, value: base64('<&>') });
    await peers.post('/v3/kv/put', { key: K, value: '', prev_kv: true });
    await peers.post('/v3/kv/put', { key: K, lease: MISSING_LEASE });
    await peers.post('/v3/kv/put', { key: K, ignoreValue: true, value: K });
    await peers.post('/v3/kv/put', {});
    for (let index = 0; index < 12; index++)
      await peers.post('/v3/kv/put', { key: base64(`n${index}`), value: base64('x'.repeat(index)) });
    const all = { key: base64('n'), range_end: base64('o') };
    for (const more of [
      {},
      { limit: 3 },
      { count_only: true },
      { keysOnly: true, sort_order: 'DESCEND', sortTarget: 'MOD' },
      { min_mod_revision: '5' },
      { revision: 1 },
      { revision: '99999' },
    ]) {
      await peers.post('/v3/kv/range', { ...all, ...more });
    }
    await peers.post('/v3/kv/range', { key: 'AA==', range_end: 'AA==' });
    await peers.post('/v3/kv/deleterange', { ...all, prev_kv: true });
    await peers.post('/v3/kv/deleterange', all);
    await peers.post('/v3/kv/compaction', { revision: '4' });
    await peers.post('/v3/kv/compaction', { revision: '4', physical: true });
    await peers.post('/v3/kv/compaction', { revision: 99_999 });
    await peers.post('/v3/kv/range', { key: K, revision: 3 });
  });

  it('serves leases by both names, ids beyond 2^53 exact', async () => {
    await peers.json('/v3/lease/grant', `{"ID":${LEASE},"TTL":"600"}`);
    await peers.json('/v3/lease/grant', `{"ID":"${LEASE}","TTL":600}`);
    await peers.post('/v3/lease/grant', { ID: '1', TTL: '9000000001' });
    await peers.post('/v3/kv/put', { key: base64('leased'), lease: LEASE });
    await peers.post('/v3/lease/leases');
    await peers.post('/v3/kv/lease/leases');
    await peers.post('/v3/lease/timetolive', { ID: MISSING_LEASE });
    await peers.post('/v3/kv/lease/timetolive', { ID: MISSING_LEASE, keys: true });
    await peers.json('/v3/lease/keepalive', `{"ID":${LEASE}}`);
    await peers.json('/v3/lease/keepalive', `{"ID":${LEASE}} {"ID":1}{"ID":"${LEASE}"}\n`);
    for (const body of [
      '',
      'x',
      '{}',
      `{"ID":"${LEASE}"}x{"ID":1}`,
      '[]',
      '{"ID":"x"}',
      `{"ID":${LEASE}}{`,
    ]) {
      await peers.json('/v3/lease/keepalive', body);
    }
    await peers.post('/v3/lease/revoke', { ID: LEASE });
    await peers.post('/v3/kv/lease/revoke', { ID: LEASE });
  });

  it('streams a watch as lines, and ends a line as etcd does', async () => {
    const start = {
      create_request: { key: base64('w'), range_end: base64('x'), start_revision: '20', prev_kv: true },
    };
    const { revision } = (await post(peers.netsy.endpoint, '/v3/kv/range', { key: K }))['header'] as {
      revision: string;
    };
    const from = { createRequest: { ...start.create_request, start_revision: revision, watch_id: '7' } };
    await peers.post('/v3/kv/put', { key: base64('w<1'), value: base64('one') });
    await peers.post('/v3/kv/put', { key: base64('w<1'), value: base64('two') });
    await peers.post('/v3/kv/deleterange', { key: base64('w<1') });
    await peers.post('/v3/watch', from, 2);
    await peers.same(
      { path: '/v3/watch', body: `${JSON.stringify(from)}${JSON.stringify(from)}`, lines: 3 },
      'in any order',
    );
    await peers.json(
      '/v3/watch',
      `{"create_request":{"key":"${K}","watchId":7}}{"cancel_request":{"watch_id":"7"}}`,
      2,
    );
    await peers.json('/v3/watch', `${JSON.stringify(from)} no JSON`, 2);
    await peers.post('/v3/watch', { create_request: { key: K, start_revision: 2 } }, 2);
  });

  it('honours the headers that etcd honours', async () => {
    const put = { path: '/v3/kv/put', body: JSON.stringify({ key: K, value: K }) };
    const form = { 'Content-Type': 'application/x-www-form-urlencoded' };
    const headers: Record<string, string>[] = [
      ...['1n', '1H', 'x', '1', '1x', '-1S', '0S', '99999999H'].map((timeout) => ({
        'Grpc-Timeout': timeout,
      })),
      { 'Content-Type': 'text/plain' },
      { Accept: 'application/xml' },
      { ...form, 'X-HTTP-Method-Override': 'GET' },
      { ...form, 'X-HTTP-Method-Override': 'post' },
      { 'X-HTTP-Method-Override': 'GET' },
      { Authorization: 'no token' },
      { 'Grpc-Metadata-Token': 'no token' },
      { Origin: 'http://example.com', Host: 'example.com' },
    ];
    for (const some of headers) await peers.same({ ...put, headers: some });
  });

  it('answers for the cluster, maintenance, locks and elections', async () => {
    for (const path of ['defragment', 'alarm']) await peers.post(`/v3/maintenance/${path}`);
    await peers.post('/v3/maintenance/hashkv', { revision: 99_999 });
    await peers.post('/v3/maintenance/downgrade', { action: 'VALIDATE', version: 'x' });
    await peers.post('/v3/maintenance/downgrade', { action: 'CANCEL' });
    await peers.post('/v3/maintenance/transfer-leadership', { targetID: '1' });
    await peers.post('/v3/cluster/member/add', { peerURLs: ['no URL'] });
    for (const path of ['remove', 'promote']) await peers.post(`/v3/cluster/member/${path}`, { ID: '1' });
    await peers.post('/v3/cluster/member/update', { ID: 1, peerURLs: ['http://127.0.0.1:1'] });
    await peers.json('/v3/lease/grant', `{"ID":${LEASE},"TTL":"600"}`);
    await peers.post('/v3/lock/lock', { name: base64('lock'), lease: LEASE });
    await peers.post('/v3/lock/unlock', { key: base64('lock') });
    await peers.post('/v3/lock/lock', { name: base64('lock'), lease: MISSING_LEASE });
    await peers.post('/v3/election/leader', { name: base64('nobody') });
    await peers.post('/v3/election/campaign', { name: base64('e'), lease: LEASE, value: base64('me') });
    await peers.post('/v3/election/leader', { name: base64('e') });
    await peers.post('/v3/election/observe', { name: base64('e') }, 1);
    await peers.post('/v3/election/proclaim', { value: base64('you') });
    await peers.post('/v3/election/resign');
    await peers.post('/v3/lease/revoke', { ID: LEASE });
  });

  it('refuses half of a character, in the words that etcd has for what comes after it', async () => {
    const halves = [
      '\\ud800',
      '\\uDC00',
      'a\\ud83d\\ude00\\udbff',
      '\\ud800\\u0041',
      '\\ud800\\ud800',
      '\\\\\\ud800',
    ];
    const rests = ['', 'x', "'\\n ", 'äöü', 'abcdeä', '\u{1f600}\u{1f600}', '\u200b\u00a0', '\\"\\"'];
    for (const half of halves) {
      for (const rest of rests) {
        for (const end of ['}', ', "value": ""}', '\n\t\r    }'])
          await peers.json('/v3/kv/put', `{"key": "${half}${rest}"${end}`);
      }
    }
  });

  it('reads random JSON for random messages as etcd does', async (context) => {
    const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
    context.diagnostic(`seed ${seed}`);
    const random = new Seeded(seed);
    for (let tries = 0; tries < RANDOM_TRIES; tries++) {
      const [path, method] = random.pick(RANDOM_ROUTES);
      const body = randomJson(random, method.input);
      if (body.length > RANDOM_BYTES_MAX) continue;
      await peers.json(path, body);
    }
  });

  it('refuses a request that is too large as etcd does, before and after the service sees it', async () => {
    for (const size of [1_600_000, 2_097_130, 2_300_000]) {
      await peers.post('/v3/kv/put', { key: K, value: Buffer.alloc(size).toString('base64') });
    }
    await peers.post('/v3/kv/put', { key: K, value: Buffer.alloc(1_000_000, 'v').toString('base64') });
    await peers.post('/v3/kv/range', { key: K });
  });
});
