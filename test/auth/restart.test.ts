import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Auth } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { failureOf, settled } from '../support/etcd-client.ts';
import { type Netsy, startNetsy } from '../support/netsy.ts';
import { CallerClient } from './caller-client.ts';
import { addUser, CHEAP, enableAuth, put, range } from './fixture.ts';

const PASSWORD = 'a-password-that-no-log-may-hold';

async function withClient<T>(server: Netsy, body: (client: CallerClient) => Promise<T>): Promise<T> {
  const client = new CallerClient(server.authority);
  try {
    return await body(client);
  } finally {
    client.close();
  }
}

describe('users and roles after a power cut', { timeout: 60_000 }, () => {
  for (const cacheIsLost of [false, true]) {
    it(`are as they were acknowledged${cacheIsLost ? ', also when the cache is lost' : ''}`, async (context) => {
      const first = await startNetsy({ arguments: CHEAP });
      context.after(() => first.stop());
      const before = await withClient(first, async (client) => {
        const root = await enableAuth(client);
        await addUser(client, root, 'alice', ['a', 'b']);
        await client.call(Auth.method.userAdd, { name: 'gone', password: PASSWORD }, root);
        await client.call(Auth.method.userDelete, { name: 'gone' }, root);
        const alice = await client.login('alice', 'alice');
        await put(client, 'a', alice);
        const { authRevision } = await client.call(Auth.method.authStatus, {});
        return { authRevision, alice };
      });
      await first.kill();
      if (cacheIsLost) rmSync(join(first.dataDir, 'cache'), { recursive: true });

      const second = await startNetsy({ arguments: CHEAP, dataDir: first.dataDir });
      context.after(() => second.stop());
      await withClient(second, async (client) => {
        const status = await client.call(Auth.method.authStatus, {});
        assert.deepEqual([status.enabled, status.authRevision], [true, before.authRevision]);
        assert.equal((await failureOf(put(client, 'a', {}))).details, 'etcdserver: user name is empty');
        const stale = await failureOf(put(client, 'a', before.alice));
        assert.deepEqual([stale.code, stale.details], [16, 'etcdserver: invalid auth token']);
        const alice = await client.login('alice', 'alice');
        assert.equal((await range(client, 'a', alice)).count, 1n);
        assert.equal((await failureOf(put(client, 'b', alice))).code, 7);
        const root = await client.login('root', 'root');
        const { users } = await client.call(Auth.method.userList, {}, root);
        assert.deepEqual(users, ['alice', 'root']);
      });
      await second.stop();
      for (const log of [first.log(), second.log()]) {
        assert.ok(!log.includes(PASSWORD) && !log.includes(before.alice['token']!) && !log.includes('$2'));
      }
    });
  }

  it('hold every change that was acknowledged before the cut, which came in the midst of others', async (context) => {
    const first = await startNetsy({ arguments: CHEAP });
    context.after(() => first.stop());
    const acknowledged = new Set<string>();
    await withClient(first, async (client) => {
      const root = await enableAuth(client);
      const adds = Array.from({ length: 200 }, async (_, index) => {
        const added = await settled(client.call(Auth.method.roleAdd, { name: `role-${index}` }, root));
        if ('value' in added) acknowledged.add(`role-${index}`);
      });
      while (acknowledged.size < 20) await new Promise((resolve) => setImmediate(resolve));
      await first.kill();
      await Promise.all(adds);
    });
    const second = await startNetsy({ arguments: CHEAP, dataDir: first.dataDir });
    context.after(() => second.stop());
    await withClient(second, async (client) => {
      const root = await client.login('root', 'root');
      const { roles } = await client.call(Auth.method.roleList, {}, root);
      const missing = [...acknowledged].filter((name) => !roles.includes(name));
      assert.deepEqual(missing, []);
    });
  });
});
