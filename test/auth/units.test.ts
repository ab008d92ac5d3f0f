import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Passwords } from '../../src/main/auth/passwords.ts';
import { SimpleTokens } from '../../src/main/auth/simple-tokens.ts';
import { authToken } from '../../src/main/config/auth-token.ts';
import { RangeSet } from '../../src/shared/auth/range-set.ts';
import type { AuthInfo } from '../../src/shared/auth/state.ts';
import { systemRandom } from '../../src/shared/base/random.ts';
import { rangeContains } from '../../src/shared/model/key-range.ts';
import { decodeCalledWrite, encodeCalledWrite } from '../../src/workers/contract/caller.ts';
import { WriteKind } from '../../src/workers/contract/writer.ts';
import { ManualClock } from '../support/clock.ts';
import { bytes } from '../support/etcd-client.ts';

/** Dense enough that a range over these keys holds another of them unless it is empty. */
const KEYS = ['a', 'a\0', 'a\0\0', 'b', 'b\0', 'c', 'd', 'zz'].map(bytes);
const key = fc.constantFrom(...KEYS);
const range = fc
  .tuple(key, fc.constantFrom(...KEYS, bytes(''), bytes('\0')))
  .map(([from, rangeEnd]) => ({ key: from, rangeEnd }))
  .filter(
    ({ key: from, rangeEnd }) =>
      rangeEnd.length < 1 || rangeEnd[0] === 0 || Buffer.compare(from, rangeEnd) < 0,
  );

describe('a set of ranges', () => {
  it('covers a range when every key of it is in one of its ranges, joined where they meet', () => {
    const property = fc.property(fc.array(range, { maxLength: 5 }), range, (ranges, asked) => {
      // Every key that is in a range of KEYS or just behind it, and one beyond all of them.
      const all = [
        ...KEYS,
        ...KEYS.map((one) => bytes(`${Buffer.from(one).toString('latin1')}\0\0\0`)),
        bytes('zzz'),
      ];
      const inside = all.filter((one) => rangeContains(asked, one));
      const wanted = inside.every((one) => ranges.some((part) => rangeContains(part, one)));
      assert.equal(new RangeSet(ranges).covers(asked), wanted);
    });
    fc.assert(property, { numRuns: 3000 });
  });
});

describe('a write and its caller', () => {
  it('survive the way to the writer, whatever the name', () => {
    const info = fc.record(
      { username: fc.string({ unit: 'grapheme' }), revision: fc.maxSafeNat() },
      { noNullPrototype: true },
    );
    fc.assert(
      fc.property(info, fc.uint8Array(), (who, request) => {
        const write = { kind: WriteKind.Put, info: who, request };
        const { request: after, ...rest } = decodeCalledWrite(encodeCalledWrite(write));
        assert.deepEqual(
          { ...rest, request: new Uint8Array(after) },
          { ...write, request: new Uint8Array(request) },
        );
      }),
    );
  });
});

describe('simple tokens', () => {
  const make = (clock: ManualClock): SimpleTokens =>
    new SimpleTokens({ clock, random: systemRandom, ttlMs: 1000, index: () => 7 });
  const infoOf = (tokens: SimpleTokens, token: string): AuthInfo | undefined => {
    let seen: AuthInfo | undefined;
    tokens.info(token, 5, (info) => {
      seen = info;
    });
    return seen;
  };

  it('look as etcd’s, and live as long as they are used', async () => {
    const clock = new ManualClock();
    const tokens = make(clock);
    const token = await tokens.assign('alice');
    assert.match(token, /^[A-Za-z]{16}\.7$/);
    for (let use = 0; use < 5; use++) {
      clock.advance(900);
      assert.deepEqual(infoOf(tokens, token), { username: 'alice', revision: 5 });
    }
    clock.advance(1001);
    assert.equal(infoOf(tokens, token), undefined);
  });

  it('are gone with their user’s password, with auth, and from memory once nobody can use them', async () => {
    const clock = new ManualClock();
    const tokens = make(clock);
    const [alice, bob] = [await tokens.assign('alice'), await tokens.assign('bob')];
    tokens.invalidateUser('alice');
    assert.equal(infoOf(tokens, alice), undefined);
    assert.equal(infoOf(tokens, bob)?.username, 'bob');
    tokens.disable();
    assert.equal(infoOf(tokens, bob), undefined);
    for (let index = 0; index < 50; index++) await tokens.assign('alice');
    clock.advance(1001);
    await tokens.assign('alice');
    assert.equal(tokens.count, 1);
  });
});

describe('passwords', () => {
  it('match their own hash alone, also a hash that Go made', async () => {
    const passwords = new Passwords(4);
    const hash = Buffer.from(await passwords.hash('secret'));
    assert.equal(await passwords.matches('secret', hash), true);
    assert.equal(await passwords.matches('secre', hash), false);
    assert.equal(await passwords.matches('secret', Buffer.from('no hash')), false);
    assert.equal(await passwords.matches('', new Uint8Array(0)), false);
    // golang.org/x/crypto/bcrypt's own example of the password `allmine`.
    const go = Buffer.from('$2a$10$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga');
    assert.equal(await passwords.matches('allmine', go), true);
  });

  it('are refused when more wait for their hash than is bearable', async () => {
    const passwords = new Passwords(4);
    const all = await Promise.allSettled(
      Array.from({ length: 1100 }, () => passwords.matches('x', bytes('y'))),
    );
    const refused = all.filter(({ status }) => status === 'rejected');
    assert.equal(refused.length, 1100 - 1000 - 2);
    assert.equal((refused[0] as PromiseRejectedResult).reason.message, 'etcdserver: too many requests');
    assert.equal(await passwords.matches('x', bytes('y')), false);
  });
});

describe('--auth-token', () => {
  it('is read as etcd reads it', () => {
    assert.deepEqual(authToken('simple'), { kind: 'simple' });
    assert.deepEqual(authToken(''), { kind: 'none' });
    assert.deepEqual(authToken('jwt,pub-key=a,priv-key=b,sign-method=ES256,ttl=1h'), {
      kind: 'jwt',
      signMethod: 'ES256',
      publicKeyFile: 'a',
      privateKeyFile: 'b',
      ttlMs: 3_600_000,
    });
    const wrong: [string, RegExp][] = [
      ['jwt', /jwt needs sign-method=/],
      ['jwt,sign-method=none', /jwt needs sign-method=/],
      ['jwt,sign-method=RS256,sign-method=RS256', /given twice/],
      ['jwt,sign-method=RS256,key=x', /"key=x" is no option/],
      ['jwt,sign-method=RS256,ttl=soon', /"soon" is not a duration/],
      ['simple,ttl=1s', /only jwt has options/],
      ['magic', /"magic" is not known/],
    ];
    for (const [text, wanted] of wrong) assert.throws(() => authToken(text), wanted);
  });
});
