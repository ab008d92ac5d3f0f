import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, describe, it } from 'node:test';
import * as grpc from '@grpc/grpc-js';
import { Auth } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { type Certificates, makeCertificates } from '../support/certificates.ts';
import { failureOf } from '../support/etcd-client.ts';
import { type Netsy, startNetsy } from '../support/netsy.ts';
import { missingTools } from '../support/tools.ts';
import { CallerClient, type Shown } from './caller-client.ts';
import { addUser, CHEAP, enableAuth, put, range } from './fixture.ts';

/** The certificate's common name is `client`. */
describe('users by certificate', { timeout: 60_000, skip: missingTools('openssl') }, () => {
  let made: Certificates;
  let server: Netsy;
  let client: CallerClient;
  let root: Shown;

  before(async () => {
    made = makeCertificates();
    const { authority, client: own } = made;
    const tls = ['--cert-file', made.server.certFile, '--key-file', made.server.keyFile];
    server = await startNetsy({
      listen: 'https://127.0.0.1:0',
      arguments: [...CHEAP, ...tls, '--client-cert-auth', '--trusted-ca-file', authority.certFile],
    });
    client = new CallerClient(
      server.authority,
      grpc.credentials.createSsl(authority.cert, own.key, own.cert),
    );
    root = await enableAuth(client);
  });
  after(async () => {
    client.close();
    await server.stop();
    made.remove();
  });

  it('a certificate whose name is no user’s permits nothing', async () => {
    assert.equal((await failureOf(put(client, 'a', {}))).details, 'etcdserver: permission denied');
    const failure = await failureOf(client.call(Auth.method.userList, {}));
    assert.equal(failure.details, 'etcdserver: user name not found');
  });

  it('a user without a password is known by the common name alone, and has that user’s permissions', async () => {
    await addUser(client, root, 'client', ['a', 'b'], true);
    await put(client, 'a', {});
    assert.equal((await range(client, 'a', {})).count, 1n);
    assert.equal((await failureOf(put(client, 'b', {}))).details, 'etcdserver: permission denied');
    const { roles } = await client.call(Auth.method.userGet, { name: 'client' });
    assert.deepEqual(roles, ['client']);
    const login = await failureOf(client.login('client', ''));
    assert.deepEqual(
      [login.code, login.details],
      [2, 'auth: authentication failed, password was given for no password user'],
    );
  });

  it('a token goes before the certificate, also one that is not valid', async () => {
    await put(client, 'b', root);
    assert.equal((await failureOf(put(client, 'a', { token: 'forged.1' }))).code, 16);
  });

  it('a call that the gateway of an etcd passes on has no user by its certificate', async () => {
    const failure = await failureOf(put(client, 'a', { 'grpcgateway-accept': '*/*' }));
    assert.equal(failure.details, 'etcdserver: user name is empty');
  });

  it('a certificate that is only required, without --client-cert-auth, is nobody’s', async (context) => {
    const tls = ['--cert-file', made.server.certFile, '--key-file', made.server.keyFile];
    const other = await startNetsy({
      listen: 'https://127.0.0.1:0',
      arguments: [...CHEAP, ...tls, '--trusted-ca-file', made.authority.certFile],
    });
    context.after(() => other.stop());
    const { cert, key } = made.client;
    const shows = new CallerClient(
      other.authority,
      grpc.credentials.createSsl(made.authority.cert, key, cert),
    );
    context.after(() => shows.close());
    const otherRoot = await enableAuth(shows);
    await addUser(shows, otherRoot, 'client', ['a', 'b'], true);
    assert.equal((await failureOf(put(shows, 'a', {}))).details, 'etcdserver: user name is empty');
  });

  it('also for etcdctl 3.4, which sends its endpoint as :authority', {
    skip: missingTools('etcdctl'),
  }, async () => {
    const { authority, client: own } = made;
    const files = ['--cacert', authority.certFile, '--cert', own.certFile, '--key', own.keyFile];
    for (const endpoint of [server.endpoint, server.authority]) {
      for (const command of [
        ['put', 'a', 'ctl'],
        ['endpoint', 'status'],
      ]) {
        const words = [...files, '--endpoints', endpoint, ...command];
        const run = spawnSync('etcdctl', words, {
          encoding: 'utf8',
          env: { ...process.env, ETCDCTL_API: '3' },
        });
        assert.equal(run.status, 0, `${command[0]} at ${endpoint}: ${run.stderr}`);
      }
    }
  });
});
