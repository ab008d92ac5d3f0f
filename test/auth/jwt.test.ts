import assert from 'node:assert/strict';
import { generateKeyPairSync, type KeyPairKeyObjectResult } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { readJwtKeys } from '../../src/main/auth/jwt-keys.ts';
import { JwtTokens } from '../../src/main/auth/jwt-tokens.ts';
import type { AuthInfo } from '../../src/shared/auth/state.ts';
import { systemClock } from '../../src/shared/base/clock.ts';
import { Auth } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { ManualClock } from '../support/clock.ts';
import { startEtcd } from '../support/etcd.ts';
import { failureOf } from '../support/etcd-client.ts';
import { startNetsy, temporaryDirectory } from '../support/netsy.ts';
import { missingTools } from '../support/tools.ts';
import { CallerClient, type Shown } from './caller-client.ts';
import { addUser, CHEAP, enableAuth, put, range } from './fixture.ts';

const PAIRS: Readonly<Record<string, () => KeyPairKeyObjectResult>> = {
  RS256: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  PS512: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  EdDSA: () => generateKeyPairSync('ed25519'),
};

interface KeyFiles {
  readonly privateKeyFile: string;
  readonly publicKeyFile: string;
}

function keyFiles(algorithm: string): KeyFiles {
  const { privateKey, publicKey } = PAIRS[algorithm]!();
  const directory = temporaryDirectory();
  const files = { privateKeyFile: join(directory, 'priv.pem'), publicKeyFile: join(directory, 'pub.pem') };
  writeFileSync(files.privateKeyFile, privateKey.export({ type: 'pkcs8', format: 'pem' }));
  writeFileSync(files.publicKeyFile, publicKey.export({ type: 'spki', format: 'pem' }));
  return files;
}

function flagsFor(algorithm: string, { privateKeyFile, publicKeyFile }: KeyFiles): string[] {
  const options = `jwt,sign-method=${algorithm},priv-key=${privateKeyFile},pub-key=${publicKeyFile},ttl=10m`;
  return [...CHEAP, `--auth-token=${options}`];
}

function tokenOf(signMethod: string, files: KeyFiles, username: string, revision: number): Promise<string> {
  const keys = readJwtKeys({ ...files, signMethod: signMethod as 'RS256', ttlMs: 60_000 });
  return new JwtTokens(keys, 60_000, systemClock).assign(username, revision);
}

describe('JSON Web Tokens', { timeout: 90_000, skip: missingTools('go') }, () => {
  for (const algorithm of ['RS256', 'ES256']) {
    it(`signed with ${algorithm} by netsy are good for etcd, and the other way round`, async () => {
      const files = keyFiles(algorithm);
      const flags = flagsFor(algorithm, files);
      const [netsy, etcd] = await Promise.all([
        startNetsy({ arguments: flags }),
        startEtcd(temporaryDirectory(), flags),
      ]);
      const clients = [netsy.authority, new URL(etcd.endpoint).host].map((host) => new CallerClient(host));
      try {
        const tokens: Shown[] = [];
        for (const client of clients) {
          const root = await enableAuth(client);
          await addUser(client, root, 'alice', ['a', 'b']);
          tokens.push(await client.login('alice', 'alice'));
        }
        for (const client of clients) {
          for (const alice of tokens) {
            await put(client, 'a', alice);
            assert.equal((await failureOf(put(client, 'x', alice))).details, 'etcdserver: permission denied');
          }
          // Nothing says that a token may not be newer than the auth store: etcd writes for it, and reads nothing.
          const early = { token: await tokenOf(algorithm, files, 'alice', 1_000_000) };
          await put(client, 'a', early);
          const old = await failureOf(range(client, 'a', early));
          assert.equal(old.details, 'etcdserver: revision of auth store is old');
          const [head, body] = tokens[0]!['token']!.split('.');
          assert.equal((await failureOf(put(client, 'a', { token: `${head}.${body}.AAAA` }))).code, 16);
        }
      } finally {
        for (const client of clients) client.close();
        await Promise.all([netsy.stop(), etcd.process.stop()]);
      }
    });
  }

  it('a server with the public key alone verifies tokens and says, as etcd, that it can make none', async (context) => {
    const files = keyFiles('ES256');
    const signing = await startNetsy({ arguments: flagsFor('ES256', files) });
    context.after(() => signing.stop());
    const client = new CallerClient(signing.authority);
    context.after(() => client.close());
    const root = await enableAuth(client);
    await signing.stop();
    const verifyOnly = [...CHEAP, `--auth-token=jwt,sign-method=ES256,pub-key=${files.publicKeyFile}`];
    const server = await startNetsy({ arguments: verifyOnly, dataDir: signing.dataDir });
    context.after(() => server.stop());
    const second = new CallerClient(server.authority);
    context.after(() => second.close());
    await put(second, 'a', root);
    const failure = await failureOf(second.login('root', 'root'));
    assert.deepEqual(
      [failure.code, failure.details],
      [2, 'auth: token signing attempted with verify-only key'],
    );
    // The token is as old as its login: a change of the auth store makes it useless.
    await second.call(Auth.method.roleAdd, { name: 'r' }, root);
    assert.equal(
      (await failureOf(put(second, 'a', root))).details,
      'etcdserver: revision of auth store is old',
    );
  });
});

describe('a JSON Web Token in time', () => {
  const secretFile = join(temporaryDirectory(), 'secret');
  writeFileSync(secretFile, 'secret');
  const keys = readJwtKeys({
    signMethod: 'HS256',
    privateKeyFile: secretFile,
    publicKeyFile: undefined,
    ttlMs: 1,
  });
  const infoOf = (tokens: JwtTokens, token: string): Promise<AuthInfo | undefined> =>
    new Promise((resolve) => tokens.info(token, 1, resolve));

  it('is good until its end and not after it, whether it was seen before or not', async () => {
    const clock = new ManualClock();
    const tokens = new JwtTokens(keys, 60_000, clock);
    const others = new JwtTokens(keys, 60_000, clock);
    const token = await tokens.assign('alice', 3);
    assert.deepEqual(await infoOf(tokens, token), { username: 'alice', revision: 3 });
    clock.advance(59_000);
    assert.deepEqual(await infoOf(tokens, token), { username: 'alice', revision: 3 });
    clock.advance(1_001);
    assert.equal(await infoOf(tokens, token), undefined);
    assert.equal(await infoOf(others, token), undefined);
  });

  for (const algorithm of Object.keys(PAIRS)) {
    it(`signed with ${algorithm} is good for who has the public key`, async () => {
      const clock = new ManualClock();
      const { privateKeyFile, publicKeyFile } = keyFiles(algorithm);
      const settings = { signMethod: algorithm as 'RS256', ttlMs: 1000 };
      const maker = readJwtKeys({ ...settings, privateKeyFile, publicKeyFile: undefined });
      const verifier = readJwtKeys({ ...settings, privateKeyFile: undefined, publicKeyFile });
      const token = await new JwtTokens(maker, 1000, clock).assign('alice', 3);
      const info = await infoOf(new JwtTokens(verifier, 1000, clock), token);
      assert.deepEqual(info, { username: 'alice', revision: 3 });
    });
  }

  it('signed with another secret, or by another method, stands for nobody', async () => {
    const clock = new ManualClock();
    const otherFile = join(temporaryDirectory(), 'secret');
    writeFileSync(otherFile, 'other');
    const settings = { privateKeyFile: otherFile, publicKeyFile: undefined, ttlMs: 60_000 };
    const other = new JwtTokens(readJwtKeys({ ...settings, signMethod: 'HS256' }), 60_000, clock);
    const method = { ...settings, privateKeyFile: secretFile, signMethod: 'HS512' as const };
    const longer = new JwtTokens(readJwtKeys(method), 60_000, clock);
    const tokens = new JwtTokens(keys, 60_000, clock);
    for (const maker of [other, longer]) {
      assert.equal(await infoOf(tokens, await maker.assign('alice', 3)), undefined);
    }
    assert.equal(await infoOf(tokens, 'no token'), undefined);
  });
});

describe('the keys of JSON Web Tokens', () => {
  const rsa = keyFiles('RS256');
  const ec = keyFiles('ES256');
  const refused = (settings: Partial<Parameters<typeof readJwtKeys>[0]>, wanted: RegExp): void => {
    const none = { publicKeyFile: undefined, privateKeyFile: undefined, ttlMs: 1 };
    assert.throws(() => readJwtKeys({ ...none, signMethod: 'RS256', ...settings }), wanted);
  };

  it('are refused with what to change: none, of another kind or pair, unreadable, no key', () => {
    refused({}, /RS256 needs priv-key or pub-key/);
    refused({ signMethod: 'HS256' }, /HS256 needs priv-key/);
    refused({ signMethod: 'ES384', privateKeyFile: ec.privateKeyFile }, /is not a key for ES384/);
    refused({ privateKeyFile: ec.privateKeyFile }, /is not a key for RS256/);
    refused(
      { privateKeyFile: rsa.privateKeyFile, publicKeyFile: keyFiles('RS256').publicKeyFile },
      /one pair/,
    );
    refused({ privateKeyFile: '/nowhere/at/all' }, /--auth-token: can't be read/);
    const junk = join(temporaryDirectory(), 'junk');
    writeFileSync(junk, 'a secret that must not be quoted');
    refused({ privateKeyFile: junk }, /^Error: --auth-token: \S+ is not a key in PEM form$/);
  });
});
