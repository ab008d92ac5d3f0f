import { describe, it } from 'node:test';
import { missingTools } from '../support/tools.ts';
import { base64, post } from './http.ts';
import { Peers } from './peers.ts';

describe("the JSON gateway and auth, beside a real etcd's", {
  timeout: 120_000,
  skip: missingTools('go'),
}, () => {
  const peers = new Peers();

  async function withTokens(
    name: string,
    use: (token: (peer: string) => string) => Promise<void>,
  ): Promise<void> {
    const tokens = new Map<string, string>();
    for (const endpoint of [peers.etcd, peers.netsy.endpoint]) {
      const { token } = await post(endpoint, '/v3/auth/authenticate', { name, password: name });
      tokens.set(endpoint, String(token));
    }
    await use((endpoint) => tokens.get(endpoint) ?? '');
  }

  it('administers users and roles, and says no to who may not', async () => {
    await peers.post('/v3/auth/status');
    await peers.post('/v3/auth/enable');
    for (const name of ['root', 'reader']) {
      await peers.post('/v3/auth/user/add', { name, password: name });
      await peers.post('/v3/auth/role/add', { name });
      await peers.post('/v3/auth/user/grant', { user: name, role: name });
    }
    const perm = { permType: 'READ', key: base64('r'), range_end: base64('s') };
    await peers.post('/v3/auth/role/grant', { name: 'reader', perm });
    await peers.post('/v3/auth/role/get', { role: 'reader' });
    await peers.post('/v3/auth/user/get', { name: 'reader' });
    await peers.post('/v3/auth/user/get', { name: 'nobody' });
    await peers.post('/v3/auth/user/list');
    await peers.post('/v3/auth/role/list');
    await peers.post('/v3/auth/authenticate', { name: 'root', password: 'root' });
    await peers.post('/v3/auth/enable');
    await peers.post('/v3/auth/status');
    await peers.post('/v3/auth/authenticate', { name: 'root', password: 'wrong' });
    for (const path of [
      '/v3/kv/put',
      '/v3/kv/range',
      '/v3/auth/user/list',
      '/v3/lease/leases',
      '/v3/maintenance/defragment',
      '/v3/maintenance/snapshot',
    ]) {
      await peers.post(path, { key: base64('r') });
    }
    await peers.post('/v3/watch', { create_request: { key: base64('r') } }, 1);
    for (const header of ['Authorization', 'Grpc-Metadata-Token', 'Grpc-Metadata-Authorization']) {
      for (const token of ['nonsense', 'Bearer nonsense', '']) {
        await peers.same({ path: '/v3/kv/put', body: '{}', headers: { [header]: token } });
      }
    }
  });

  it('takes the token from the header that clients put it in', async () => {
    await withTokens('reader', async (token) => {
      for (const [key, path] of [
        ['r1', 'range'],
        ['x', 'range'],
        ['r1', 'put'],
        ['', 'range'],
      ] as const) {
        for (const header of ['Authorization', 'Grpc-Metadata-Token']) {
          await peers.same({
            path: `/v3/kv/${path}`,
            body: JSON.stringify({ key: base64(key) }),
            headers: (endpoint) => ({ [header]: token(endpoint) }),
          });
        }
      }
      const watch = JSON.stringify({ create_request: { key: base64('x') } });
      await peers.same({
        path: '/v3/watch',
        body: watch,
        lines: 1,
        headers: (endpoint) => ({ Authorization: token(endpoint) }),
      });
      await peers.same({
        path: '/v3/maintenance/snapshot',
        headers: (endpoint) => ({ Authorization: token(endpoint) }),
      });
    });
    await withTokens('root', async (token) => {
      for (const path of ['/v3/kv/put', '/v3/auth/disable']) {
        await peers.same({
          path,
          body: JSON.stringify({ key: base64('x') }),
          headers: (endpoint) => ({ Authorization: token(endpoint) }),
        });
      }
    });
    await peers.post('/v3/kv/range', { key: base64('x') });
  });
});
