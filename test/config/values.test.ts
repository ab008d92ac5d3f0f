import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  choice,
  compactionRetention,
  DURATION_MS_MAX,
  duration,
  endpointUrl,
  hedgeAfter,
  integer,
  perSecond,
  quota,
  size,
  slowWrites,
  storeUrl,
  urls,
  ValueError,
} from '../../src/main/config/values.ts';

const time = duration(0, DURATION_MS_MAX);
const bytes = size(0);
const listen = urls('listen');
const advertise = urls('advertise');

function refuses(parse: (text: string) => unknown, ...texts: string[]): void {
  for (const text of texts) assert.throws(() => parse(text), ValueError, `"${text}" was accepted`);
}

describe('flag values', () => {
  it('reads Go’s durations', () => {
    assert.equal(time('1m30s'), 90_000);
    assert.equal(time('1.5h'), 5_400_000);
    assert.equal(time('100us'), 0.1);
    assert.equal(time('0'), 0);
    refuses(time, '', '5', 'ms', '-1s', '1 s', '1d', '1s1', '1e3ms', '600h');
    refuses(duration(100, 1000), '99ms', '1001ms');
  });

  it('reads a duration that is any sum of hours, minutes, seconds and milliseconds', () => {
    const part = fc.nat(500);
    fc.assert(
      fc.property(part, part, part, part, (h, m, s, ms) => {
        assert.equal(time(`${h}h${m}m${s}s${ms}ms`), ((h * 60 + m) * 60 + s) * 1000 + ms);
      }),
    );
  });

  it('reads sizes in powers of two and refuses those that are ambiguous', () => {
    assert.equal(bytes('512KiB'), 524_288);
    assert.equal(bytes('1.5MiB'), 1_572_864);
    assert.equal(bytes('1572864'), 1_572_864);
    assert.equal(bytes('2GiB'), 2_147_483_648);
    refuses(bytes, '', '4MB', '4M', '4 MiB', '-1', '0.3B', '1e6', '99999999999GiB');
    refuses(size(10, 20), '9', '21');
  });

  it('takes a negative quota for none, as etcd does', () => {
    assert.equal(quota('-1'), 0);
    assert.equal(quota('0'), 0);
    assert.equal(quota('2GiB'), 2_147_483_648);
    assert.equal(quota('8589934592'), 8_589_934_592);
    refuses(quota, '', '-', '-1GiB', '4MB');
  });

  it('reads whole numbers within their range only', () => {
    assert.equal(integer(1, 64)('64'), 64);
    refuses(integer(1, 64), '0', '65', '1.0', '', 'x', '0x10', ' 1');
  });

  it('takes a word from its list only', () => {
    assert.equal(choice('json', 'console')('json'), 'json');
    refuses(choice('json', 'console'), 'JSON', '');
  });

  it('reads how much history to keep', () => {
    assert.deepEqual(compactionRetention('0'), { count: 0 });
    assert.deepEqual(compactionRetention('8'), { count: 8 });
    assert.deepEqual(compactionRetention('90m'), { periodMs: 5_400_000 });
    refuses(compactionRetention, '-1', '0s', '1d', '');
  });

  it('reads which writes are slow', () => {
    assert.deepEqual(slowWrites('off'), { kind: 'off' });
    assert.deepEqual(slowWrites('p99'), { kind: 'p99' });
    assert.deepEqual(slowWrites('200ms'), { kind: 'fixed', slowerThanMs: 200 });
    refuses(slowWrites, 'p95', '200', 'on', '');
  });

  it('reads a rate per second', () => {
    assert.equal(perSecond(1, 100)('off'), undefined);
    assert.deepEqual(perSecond(1, 100)('10/s'), { perSecond: 10 });
    assert.deepEqual(perSecond(1, 100)('10'), { perSecond: 10 });
    assert.deepEqual(perSecond(1, 100)('2.5/s'), { perSecond: 2.5 });
    refuses(perSecond(1, 100), '0/s', '101/s', '10/m', '10 /s', '-1/s', '1e3', '');
  });

  it('reads when to hedge', () => {
    assert.deepEqual(hedgeAfter('off'), { kind: 'off' });
    assert.deepEqual(hedgeAfter('p95'), { kind: 'p95' });
    assert.deepEqual(hedgeAfter('auto'), { kind: 'auto' });
    assert.deepEqual(hedgeAfter('80ms'), { kind: 'fixed', delayMs: 80 });
    refuses(hedgeAfter, 'p99', '0ms', '80', '');
  });

  it('reads etcd’s URL lists and drops duplicates', () => {
    assert.deepEqual(listen('http://127.0.0.1:2379, https://[::1]:0,http://127.0.0.1:2379/'), [
      'http://127.0.0.1:2379',
      'https://[::1]:0',
    ]);
    assert.deepEqual(listen('http://localhost:1'), ['http://localhost:1']);
    refuses(
      listen,
      '',
      ',',
      '127.0.0.1:2379',
      'http://127.0.0.1',
      'http://127.0.0.1:65536',
      'http://db.example:1',
    );
    refuses(listen, 'http://127.0.0.1:1/x', 'ftp://127.0.0.1:1', 'http://[::g]:1', 'http://a@127.0.0.1:1');
  });

  it('allows a host name where clients connect, and no port 0', () => {
    assert.deepEqual(advertise('https://db.example:2379'), ['https://db.example:2379']);
    refuses(advertise, 'http://db.example', 'http://db.example:0', 'http://300.1.1.1:1', 'http://:1');
  });

  it('tells a store’s place from what only looks like one', () => {
    const places = ['s3://bucket', 's3://bucket/a/b', 's3://my.bucket-1/'];
    const there = 's3://bucket/a?endpoint=http://127.0.0.1:9000&region=eu-central-1&addressing=path';
    for (const text of ['file:///var/lib/netsy', ...places, there]) {
      assert.equal(storeUrl(text), text);
    }
    refuses(
      storeUrl,
      '',
      '/var/lib',
      'file://var/lib',
      'file:///',
      's3://',
      's3://B',
      's3://bucket?x',
      's3://bucket?endpoint=',
      's3://bucket?region=a&password=b',
      'http://x',
    );
  });

  it('reads an S3 endpoint without a path', () => {
    assert.equal(endpointUrl('http://127.0.0.1:9000/'), 'http://127.0.0.1:9000');
    refuses(endpointUrl, 's3.example.com', 'https://s3.example.com/bucket', 'https://', 'http://a:b:c');
  });
});
