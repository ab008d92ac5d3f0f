import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { StoreError } from '../../src/main/store/errors.ts';
import { compareKeys } from '../../src/main/store/keys.ts';
import { meteredStore, type StoreCall } from '../../src/main/store/metered.ts';
import { openStore } from '../../src/main/store/open.ts';
import { retryingStore } from '../../src/main/store/retry.ts';
import { type S3Options, s3Target } from '../../src/main/store/s3-config.ts';
import { systemClock } from '../../src/shared/base/clock.ts';
import { systemRandom } from '../../src/shared/base/random.ts';
import { ManualClock } from '../support/clock.ts';
import { faultyStore, lostAnswer } from '../support/faulty-store.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { describeStoreContract, keysOf, text } from './contract.ts';

describeStoreContract('a store that is metered and retried', {
  open: async () => {
    const metered = meteredStore(new MemoryStore(), { observe: () => {} }, systemClock);
    return retryingStore(metered, { clock: systemClock, random: systemRandom, retryForMs: 1_000 });
  },
  manyObjects: 10,
});

describe('keys', () => {
  it('sort as their UTF-8 bytes do, whatever characters they have', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.string({ unit: 'binary' }), (a, b) => {
        const expected = Buffer.compare(Buffer.from(a), Buffer.from(b));
        assert.equal(Math.sign(compareKeys(a, b)), expected);
      }),
      { numRuns: 2_000 },
    );
    assert.ok(compareKeys('\u{fffd}', '\u{1f600}') < 0);
  });
});

describe('a store URL', () => {
  const options: S3Options = {
    clock: systemClock,
    random: systemRandom,
    environment: { HOME: '/nonexistent' },
  };

  it('that is wrong is refused in one line that says what to write, without its secrets', async () => {
    const wrong: ReadonlyArray<readonly [string, RegExp]> = [
      ['data/store', /file:\/\/\/directory or s3:\/\/bucket\/prefix/],
      ['http://host/x', /file:\/\/\/directory or s3:\/\/bucket\/prefix/],
      ['file://relative/dir', /absolute path/],
      ['file:///', /absolute path/],
      ['s3://', /bucket/],
      ['s3://b', /not a bucket name/],
      ['s3://bucket:9000/x', /not a bucket name/],
      ['s3://key:hidden@bucket', /credentials do not belong/],
      ['http://key:hidden@bucket', /not a store/],
      ['s3://bucket/?endpont=x', /not one of endpoint=URL/],
      ['s3://bucket/?endpoint=host:9000', /http:\/\/host:port/],
    ];
    for (const [url, message] of wrong) {
      await assert.rejects(openStore(url, options), (error: Error) => {
        assert.match(error.message, message, url);
        assert.doesNotMatch(error.message, /hidden|\n/);
        return true;
      });
    }
  });

  it('of S3 says where the bucket is: on AWS by host, at an endpoint by path', async () => {
    const target = async (url: string, environment = {}): Promise<string[]> => {
      const found = await s3Target(new URL(url), {
        ...options,
        environment: { HOME: '/nonexistent', ...environment },
      });
      return [found.origin, found.host, found.basePath, found.prefix];
    };
    const virtual = 'bucket.s3.eu-west-3.amazonaws.com';
    assert.deepEqual(await target('s3://bucket/a/b/', { AWS_REGION: 'eu-west-3' }), [
      `https://${virtual}`,
      virtual,
      '/',
      'a/b/',
    ]);
    const dotted = 's3.us-east-1.amazonaws.com';
    assert.deepEqual(await target('s3://dotted.bucket'), [
      `https://${dotted}`,
      dotted,
      '/dotted.bucket/',
      '',
    ]);
    const local = { AWS_ENDPOINT_URL: 'http://127.0.0.1:9000/base' };
    assert.deepEqual(await target('s3://bucket', local), [
      'http://127.0.0.1:9000',
      '127.0.0.1:9000',
      '/base/bucket/',
      '',
    ]);
    assert.equal((await target('s3://bucket?addressing=virtual', local))[1], 'bucket.127.0.0.1:9000');
  });
});

describe('a retrying store', () => {
  it('tries reads again after passing failures, and a broken list from where it broke', async () => {
    const memory = new MemoryStore();
    for (const key of ['a', 'b', 'c', 'd']) await memory.put(key, text(key));
    const broken = faultyStore(
      memory,
      (_o, _k, call) => (call % 2 === 0 ? { failAfter: lostAnswer() } : {}),
      systemClock,
    );
    const store = retryingStore(broken, { clock: systemClock, random: systemRandom, retryForMs: 10_000 });
    assert.deepEqual(await store.get('a'), text('a'));
    assert.deepEqual(await keysOf(store, ''), ['a', 'b', 'c', 'd']);
  });

  it('gives up when its time is over, and at once on what is not passing or not its to repeat', async () => {
    const clock = new ManualClock();
    let calls = 0;
    const failing = (error: StoreError) => {
      calls = 0;
      const plan = (): { failBefore: StoreError } => {
        calls++;
        return { failBefore: error };
      };
      return retryingStore(faultyStore(new MemoryStore(), plan, clock), {
        clock,
        random: systemRandom,
        retryForMs: 20,
      });
    };
    await assert.rejects(failing(lostAnswer()).get('a'), { kind: 'transient' });
    const denied = new StoreError('denied', 'no');
    await assert.rejects(failing(denied).get('a'), denied);
    assert.equal(calls, 1);
    await assert.rejects(failing(lostAnswer()).putIfAbsent('a', text('x')), { kind: 'transient' });
    assert.equal(calls, 1);
  });
});

describe('a metered store', () => {
  it('has no bill for a request that was not sent, nor for the store’s own trouble', async () => {
    const billed: boolean[] = [];
    const store = new MemoryStore();
    const fails = (details: { code?: string; status?: number }): Promise<void> => {
      const faulty = faultyStore(
        store,
        () => ({ failBefore: new StoreError('transient', 'no', details) }),
        systemClock,
      );
      const metered = meteredStore(
        faulty,
        { observe: (call) => billed.push(call.billed) },
        new ManualClock(),
      );
      return assert.rejects(metered.put('a', text('x')));
    };
    for (const code of ['ECONNREFUSED', 'ENOTFOUND', 'UND_ERR_CONNECT_TIMEOUT']) await fails({ code });
    await fails({ code: 'SlowDown', status: 503 });
    assert.deepEqual(billed.splice(0), [false, false, false, false]);
    await fails({ code: 'ECONNRESET' });
    await fails({ code: 'AccessDenied', status: 403 });
    await meteredStore(store, { observe: (call) => billed.push(call.billed) }, new ManualClock()).get('a');
    assert.deepEqual(billed, [true, true, true]);
  });

  it('tells of each call how it ended, how long it took and how many bytes it moved', async () => {
    const seen: StoreCall[] = [];
    const failures = [{}, {}, {}, { failBefore: lostAnswer() }, {}];
    const faulty = faultyStore(new MemoryStore(), (_o, _k, call) => failures[call] ?? {}, systemClock);
    const store = meteredStore(faulty, { observe: (call) => seen.push(call) }, new ManualClock());
    await store.putIfAbsent('a', text('four'));
    await store.putIfAbsent('a', text('four'));
    await store.get('a');
    await assert.rejects(store.get('a'));
    await store.get('b');
    await assert.rejects(store.get('b', AbortSignal.abort()));
    await keysOf(store, '');
    const told = seen.map(({ operation, outcome, bytes }) => `${operation} ${outcome} ${bytes}`);
    assert.deepEqual(told, [
      'putIfAbsent ok 4',
      'putIfAbsent exists 4',
      'get ok 4',
      'get transient 0',
      'get absent 0',
      'get aborted 0',
      'list ok 0',
    ]);
  });
});
