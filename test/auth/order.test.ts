import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Auth, KV, Lease, Watch } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { bytes, failureOf, settled } from '../support/etcd-client.ts';
import { type Netsy, startNetsy } from '../support/netsy.ts';
import { CallerClient, type Shown } from './caller-client.ts';
import { addUser, CHEAP, enableAuth, put, range } from './fixture.ts';

const DENIED = /revision of auth store is old|permission denied|invalid auth token/;

describe('permissions and what comes right after their change', { timeout: 60_000 }, () => {
  let server: Netsy;
  let client: CallerClient;
  let root: Shown;

  before(async () => {
    server = await startNetsy({ arguments: CHEAP });
    client = new CallerClient(server.authority);
    root = await enableAuth(client);
    await addUser(client, root, 'alice', ['a', 'b']);
  });
  after(async () => {
    client.close();
    await server.stop();
  });

  it('a write sent right after the revoke of its permission is refused, before anybody was told of the revoke', async () => {
    for (let round = 0; round < 5; round++) {
      const alice = await client.login('alice', 'alice');
      await put(client, 'a', alice);
      const revoked = client.call(Auth.method.userRevokeRole, { name: 'alice', role: 'alice' }, root);
      const late = await settled(put(client, 'a', alice));
      await revoked;
      assert.ok('failure' in late && DENIED.test(late.failure.details), JSON.stringify(late));
      await client.call(Auth.method.userGrantRole, { user: 'alice', role: 'alice' }, root);
    }
  });

  it('a write sent right after auth was enabled needs a user, before anybody was told', async () => {
    await client.call(Auth.method.authDisable, {}, root);
    await put(client, 'a', {});
    const enabled = client.call(Auth.method.authEnable, {});
    const late = await failureOf(put(client, 'a', {}));
    await enabled;
    assert.equal(late.details, 'etcdserver: user name is empty');
    root = await client.login('root', 'root');
  });

  it('a refused write changes nothing, and what came with it goes on', async () => {
    const alice = await client.login('alice', 'alice');
    const { header } = await put(client, 'a', alice);
    const outcomes = await Promise.all(['a', 'x', 'aa', 'y'].map((key) => settled(put(client, key, alice))));
    assert.deepEqual(
      outcomes.map((outcome) => 'value' in outcome),
      [true, false, true, false],
    );
    assert.equal((await range(client, 'x', root)).count, 0n);
    assert.equal((await range(client, 'a', root)).header?.revision, header!.revision + 2n);
  });

  it('an expired lease is revoked though nobody asks for it, and though auth is enabled', async () => {
    await client.call(Lease.method.leaseGrant, { ID: 7n, TTL: 1n }, root);
    const leased = { key: bytes('z'), value: bytes('v'), lease: 7n };
    await client.call(KV.method.put, leased, root);
    while ((await range(client, 'z', root)).count > 0n)
      await new Promise((resolve) => setTimeout(resolve, 50));
  });

  it('a stream refuses the watch that its user may not have, and serves the ones before and after it', async () => {
    const alice = await client.login('alice', 'alice');
    const create = (key: string) => ({
      requestUnion: { case: 'createRequest' as const, value: { key: bytes(key) } },
    });
    const answers = await client.first(Watch.method.watch, ['a', 'x', 'aa'].map(create), 3, alice);
    assert.deepEqual(
      answers.map(({ watchId, created, canceled, cancelReason }) => [
        watchId,
        created,
        canceled,
        cancelReason,
      ]),
      [
        [0n, true, false, ''],
        [-1n, true, true, 'rpc error: code = PermissionDenied desc = etcdserver: permission denied'],
        [1n, true, false, ''],
      ],
    );
  });

  it('the token may come as a bearer in `authorization`, but one in `token` goes before it', async () => {
    const { token } = await client.login('alice', 'alice');
    for (const authorization of [token!, `Bearer ${token}`]) await put(client, 'a', { authorization });
    assert.equal((await failureOf(put(client, 'a', { authorization: token!, token: 'forged' }))).code, 16);
  });

  it('a request that is no message is refused as such, whoever sends it', async () => {
    // Field 1 is a string; these bytes are no UTF-8.
    const failure = await failureOf(client.raw(Auth.method.userAdd, Buffer.from([10, 1, 0xff]), {}));
    assert.equal(failure.code, 13);
    assert.match(failure.details, /^grpc: error unmarshalling request: /);
    await put(client, 'a', root);
  });
});
