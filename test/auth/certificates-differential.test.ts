import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import * as grpc from '@grpc/grpc-js';
import { Auth, KV, Lease, Watch } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { type Certificate, type Certificates, makeCertificates } from '../support/certificates.ts';
import { type Etcd, startEtcd } from '../support/etcd.ts';
import { bytes, type Failure, settled } from '../support/etcd-client.ts';
import { type Netsy, startNetsy, temporaryDirectory } from '../support/netsy.ts';
import { missingTools } from '../support/tools.ts';
import { CallerClient, type Shown } from './caller-client.ts';
import { addUser, CHEAP, enableAuth, put, range } from './fixture.ts';

/** What callers show besides their certificate, given the token of another user. */
const SHOWN: Record<string, (token: string) => Shown> = {
  nothing: () => ({}),
  'a token': (token) => ({ token }),
  'a token in authorization': (token) => ({ authorization: token }),
  'a bearer token': (token) => ({ authorization: `Bearer ${token}` }),
  'a forged token': () => ({ token: 'forged.1' }),
  'a token, and a forged one in authorization': (token) => ({ token, authorization: 'forged.1' }),
  'a forged token, and a good one in authorization': (token) => ({ token: 'forged.1', authorization: token }),
  'an empty token': () => ({ token: '' }),
  'what the gateway adds': () => ({ 'grpcgateway-accept': '*/*' }),
  'what the gateway adds, and a token': (token) => ({ token, 'grpcgateway-accept': '*/*' }),
};
/** Makes a call odd enough that it is grpc-js's, not the one of plain calls. */
const ODD: Shown = { cookie: 'a=b' };

type Ask = (client: CallerClient, shown: Shown) => Promise<unknown>;

/** Calls, and what of their answers says who was taken for the caller. `client` has a…b, `other` c…d. */
const CALLS: Record<string, Ask> = {
  'put a': (client, shown) => put(client, 'a', shown).then(() => 'done'),
  'put c': (client, shown) => put(client, 'c', shown).then(() => 'done'),
  'range a': async (client, shown) => (await range(client, 'a', shown)).count,
  'range c': async (client, shown) => (await range(client, 'c', shown)).count,
  txn: (client, shown) => {
    const success = [{ request: { case: 'requestPut' as const, value: { key: bytes('a') } } }];
    return client.call(KV.method.txn, { success }, shown).then(({ succeeded }) => succeeded);
  },
  'lease grant': (client, shown) =>
    client.call(Lease.method.leaseGrant, { ID: 7n, TTL: 100n }, shown).then(() => 'done'),
  'lease revoke': (client, shown) =>
    client.call(Lease.method.leaseRevoke, { ID: 7n }, shown).then(() => 'done'),
  'user get': async (client, shown) =>
    (await client.call(Auth.method.userGet, { name: 'client' }, shown)).roles,
  'user list': async (client, shown) => (await client.call(Auth.method.userList, {}, shown)).users,
  watch: async (client, shown) => {
    const value = { key: bytes('a') };
    const request = { requestUnion: { case: 'createRequest' as const, value } };
    const [answer] = await client.first(Watch.method.watch, [request], 1, shown);
    return [answer?.created, answer?.canceled, answer?.cancelReason];
  },
};

class Side {
  readonly #authority: string;
  readonly #made: Certificates;
  readonly #clients = new Map<Certificate, CallerClient>();
  token = '';

  constructor(endpoint: string, made: Certificates) {
    this.#authority = new URL(endpoint).host;
    this.#made = made;
  }

  async prepare(admin: Certificate): Promise<void> {
    const client = this.client(admin);
    const root = await enableAuth(client);
    await addUser(client, root, 'client', ['a', 'b'], true);
    await addUser(client, root, 'other', ['c', 'd']);
    await put(client, 'c', root);
    this.token = (await client.login('other', 'other'))['token'] ?? '';
  }

  client(who: Certificate): CallerClient {
    const known = this.#clients.get(who);
    if (known !== undefined) return known;
    const credentials = grpc.credentials.createSsl(this.#made.authority.cert, who.key, who.cert);
    const client = new CallerClient(this.#authority, credentials);
    this.#clients.set(who, client);
    return client;
  }

  async ask(who: Certificate, ask: Ask, shown: Shown): Promise<{ value: unknown } | { failure: Failure }> {
    return settled(ask(this.client(who), shown));
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
  }
}

describe('users by certificate, beside etcd', {
  timeout: 120_000,
  skip: missingTools('openssl', 'go'),
}, () => {
  let made: Certificates;
  let netsy: Netsy;
  let etcd: Etcd;
  let ours: Side;
  let theirs: Side;
  let owners: Record<string, Certificate>;

  before(async () => {
    made = makeCertificates();
    const { server, authority, client } = made;
    const flags = [
      ...['--cert-file', server.certFile, '--key-file', server.keyFile],
      ...['--client-cert-auth', '--trusted-ca-file', authority.certFile],
    ];
    [netsy, etcd] = await Promise.all([
      startNetsy({ listen: 'https://127.0.0.1:0', arguments: [...CHEAP, ...flags] }),
      startEtcd(temporaryDirectory(), CHEAP, flags),
    ]);
    ours = new Side(netsy.endpoint, made);
    theirs = new Side(etcd.secureEndpoint, made);
    await Promise.all([ours.prepare(client), theirs.prepare(client)]);
    const sign = (name: string): Certificate => made.sign(name, 'extendedKeyUsage=clientAuth');
    owners = { client, root: sign('root'), stranger: sign('of no user'), nameless: sign('') };
  });
  after(async () => {
    ours?.close();
    theirs?.close();
    await Promise.all([netsy?.stop(), etcd?.process.stop()]);
    made?.remove();
  });

  it('a caller is whom etcd takes him for, by token or by certificate, on either way of a call', async () => {
    for (const [owner, who] of Object.entries(owners)) {
      for (const [what, shownWith] of Object.entries(SHOWN)) {
        for (const [name, ask] of Object.entries(CALLS)) {
          const about = `${name} by ${owner} with ${what}`;
          for (const odd of [{}, ODD]) {
            const [mine, wanted] = await Promise.all(
              [ours, theirs].map((side) => side.ask(who, ask, { ...shownWith(side.token), ...odd })),
            );
            assert.deepEqual(mine, wanted, `${about}${odd === ODD ? ', through grpc-js' : ''}`);
          }
        }
      }
    }
  });
});
