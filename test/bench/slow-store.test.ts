import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { request } from 'undici';
import type { Backend } from '../../bench/store/backend.ts';
import { defaultDelay } from '../../bench/store/delay.ts';
import { memoryBackend } from '../../bench/store/memory-backend.ts';
import { proxyBackend } from '../../bench/store/proxy-backend.ts';
import {
  type PutEffect,
  type SlowStore,
  type StoreStats,
  startSlowStore,
} from '../../bench/store/slow-store.ts';
import { payloadHash, signRequest } from '../../src/main/store/s3-sign.ts';
import { missingTools } from '../support/tools.ts';
import { startVersityGateway } from '../support/versitygw.ts';

const noDelay = { ...defaultDelay, medianMs: 0 };
const start = (backend: Backend, put = noDelay, putEffect: PutEffect = 'end'): Promise<SlowStore> =>
  startSlowStore({ backend, put, read: noDelay, putEffect, seed: 1, port: 0, adminPort: 0 });

interface Said {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
}

async function ask(
  store: SlowStore,
  method: 'GET' | 'PUT' | 'HEAD' | 'DELETE' | 'POST',
  path: string,
  body?: string,
  headers: Record<string, string> = {},
): Promise<Said> {
  const url = `http://127.0.0.1:${store.port}${path}`;
  const answer = await request(url, { method, headers, ...(body === undefined ? {} : { body }) });
  return { status: answer.statusCode, headers: answer.headers, text: await answer.body.text() };
}

const once412 = { 'if-none-match': '*' };

describe('objects in memory', () => {
  let store: SlowStore;
  before(async () => {
    store = await start(memoryBackend(['bench']));
  });
  after(() => store.stop());

  test('of two conditional creates at once exactly one wins, and its bytes stay', async () => {
    const names = Array.from({ length: 20 }, (_, index) => `/bench/race/${index}`);
    for (const name of names) {
      const answers = await Promise.all(['a', 'b'].map((body) => ask(store, 'PUT', name, body, once412)));
      assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 412]);
      const winner = answers[0]?.status === 200 ? 'a' : 'b';
      assert.equal((await ask(store, 'GET', name)).text, winner);
    }
    const again = await ask(store, 'PUT', names[0]!, 'c', once412);
    assert.match(again.text, /<Code>PreconditionFailed<\/Code>/);
  });

  test('reads: whole, ranges of each form, what is not there, and 404 after a delete', async () => {
    await ask(store, 'PUT', '/bench/read/one', '0123456789');
    const read = async (range: string): Promise<[number, string]> => {
      const { status, text } = await ask(store, 'GET', '/bench/read/one', undefined, { range });
      return [status, text];
    };
    assert.deepEqual(await read('bytes=2-4'), [206, '234']);
    assert.deepEqual(await read('bytes=7-'), [206, '789']);
    assert.deepEqual(await read('bytes=-2'), [206, '89']);
    assert.deepEqual(await read('bytes=8-99'), [206, '89']);
    assert.equal((await read('bytes=10-12'))[0], 416);
    const head = await ask(store, 'HEAD', '/bench/read/one');
    assert.deepEqual([head.status, head.headers['content-length'], head.text], [200, '10', '']);
    assert.equal((await ask(store, 'DELETE', '/bench/read/one')).status, 204);
    assert.match((await ask(store, 'GET', '/bench/read/one')).text, /<Code>NoSuchKey</);
    assert.match((await ask(store, 'GET', '/other/read/one')).text, /<Code>NoSuchBucket</);
  });

  test('lists go in byte order through pages, from a key and within a prefix', async () => {
    const keys = ['l/a', 'l/b&c', 'l/ä', 'l/\u{ffee}', 'l/\u{1f600}', 'm'];
    for (const key of [...keys].reverse()) await ask(store, 'PUT', `/bench/${encodeURI(key)}`, 'x');
    const found: string[] = [];
    let token = '';
    do {
      const path = `/bench?list-type=2&prefix=l%2F&max-keys=2&encoding-type=url${token}`;
      const { text } = await ask(store, 'GET', path);
      found.push(...[...text.matchAll(/<Key>(.*?)<\/Key>/g)].map(([, key]) => decodeURIComponent(key!)));
      const next = /<NextContinuationToken>(.*?)</.exec(text)?.[1];
      token = next === undefined ? '' : `&continuation-token=${encodeURIComponent(next)}`;
    } while (token !== '');
    assert.deepEqual(found, keys.slice(0, 5));
    const { text } = await ask(store, 'GET', '/bench?list-type=2&prefix=l%2F&start-after=l%2F%C3%A4');
    assert.deepEqual(
      [...text.matchAll(/<Key>(.*?)<\/Key>/g)].map(([, key]) => key),
      keys.slice(3, 5),
    );
  });

  test('a multipart upload is joined in order, and its conditional completion respects the object there', async () => {
    const started = await ask(store, 'POST', '/bench/large?uploads');
    const id = /<UploadId>(.*?)</.exec(started.text)?.[1];
    const tags: unknown[] = [];
    for (const [number, body] of [
      [2, 'world'],
      [1, 'hello '],
    ] as const) {
      const part = await ask(store, 'PUT', `/bench/large?partNumber=${number}&uploadId=${id}`, body);
      tags[number] = part.headers['etag'];
    }
    const xml = [1, 2].map((n) => `<Part><PartNumber>${n}</PartNumber><ETag>${tags[n]}</ETag></Part>`);
    const complete = (): Promise<Said> =>
      ask(
        store,
        'POST',
        `/bench/large?uploadId=${id}`,
        `<CompleteMultipartUpload>${xml.join('')}</CompleteMultipartUpload>`,
        once412,
      );
    assert.equal((await ask(store, 'GET', '/bench/large')).status, 404);
    assert.equal((await complete()).status, 200);
    assert.equal((await ask(store, 'GET', '/bench/large')).text, 'hello world');
    assert.equal((await complete()).status, 404);
  });

  test('what it does not do is refused and never half done', async () => {
    assert.equal((await ask(store, 'GET', '/bench?list-type=2&delimiter=%2F')).status, 501);
    const chunked = { 'x-amz-content-sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD' };
    assert.equal((await ask(store, 'PUT', '/bench/chunked', 'x', chunked)).status, 501);
    assert.equal((await ask(store, 'GET', '/bench/chunked')).status, 404);
  });
});

test('every PUT is held back for its delay, is counted, and a reset starts the counters anew', async (context) => {
  const put = { medianMs: 500, sigma: 0, tailShare: 0, tailMinMs: 0, tailMaxMs: 0 };
  // Long enough for all three to be there at a time, on a busy machine too.
  const store = await start(memoryBackend(['bench']), put);
  context.after(() => store.stop());
  await Promise.all([1, 2, 3].map((name) => ask(store, 'PUT', `/bench/${name}`, 'abcd', once412)));
  await ask(store, 'PUT', '/bench/1', 'abcd', once412);
  await ask(store, 'GET', '/bench/1');
  const admin = `http://127.0.0.1:${store.adminPort}`;
  const stats = (await (await fetch(`${admin}/__reset`, { method: 'POST' })).json()) as StoreStats;
  const { puts, putBytes, putsRefused, putsFailed, putsInFlightMax, reads } = stats;
  assert.deepEqual([puts, putBytes, putsRefused, putsFailed, putsInFlightMax, reads], [4, 16, 1, 0, 3, 1]);
  assert.ok(stats.putLatency.p50Ms >= 499, `p50 ${stats.putLatency.p50Ms}`);
  assert.equal(((await (await fetch(`${admin}/__stats`)).json()) as StoreStats).puts, 0);
});

test("a PUT makes its object at its delay's end, or at its start if asked", async (context) => {
  const put = { medianMs: 300, sigma: 0, tailShare: 0, tailMinMs: 0, tailMaxMs: 0 };
  for (const [effect, status] of [
    ['end', 404],
    ['start', 200],
  ] as const) {
    const store = await start(memoryBackend(['bench']), put, effect);
    context.after(() => store.stop());
    const making = ask(store, 'PUT', '/bench/1', 'abcd', once412);
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal((await ask(store, 'GET', '/bench/1')).status, status, effect);
    assert.equal((await making).status, 200);
    assert.equal((await ask(store, 'GET', '/bench/1')).status, 200);
  }
});

test('the proxy hands on Host, headers and bytes untouched, both ways, and says 502 when nobody is there', async () => {
  const seen: { headers: string[]; body: string; url: string | undefined }[] = [];
  const upstream = createServer(async (incoming, outgoing) => {
    const pieces: Buffer[] = [];
    for await (const piece of incoming) pieces.push(piece as Buffer);
    seen.push({ headers: incoming.rawHeaders, body: Buffer.concat(pieces).toString(), url: incoming.url });
    outgoing.writeHead(418, ['X-Amz-Thing', 'a', 'X-Amz-Thing', 'b']).end('tea');
  }).listen(0, '127.0.0.1');
  await once(upstream, 'listening');
  const url = new URL(`http://127.0.0.1:${(upstream.address() as AddressInfo).port}`);
  const store = await start(proxyBackend(url));
  const headers = { host: 'bucket.example:9000', Authorization: 'AWS4-HMAC-SHA256 x' };
  const answer = await ask(store, 'PUT', '/b/k%20%2B?x-id=PutObject', 'payload', headers);
  assert.deepEqual([answer.status, answer.text, answer.headers['x-amz-thing']], [418, 'tea', ['a', 'b']]);
  const [only] = seen;
  assert.equal(only?.url, '/b/k%20%2B?x-id=PutObject');
  assert.equal(only?.body, 'payload');
  const hosts = only?.headers.filter((_, index, all) => all[index - 1]?.toLowerCase() === 'host');
  assert.deepEqual(hosts, ['bucket.example:9000']);
  assert.ok(only?.headers.includes('AWS4-HMAC-SHA256 x'));
  upstream.closeAllConnections();
  await new Promise((resolve) => upstream.close(resolve));
  assert.equal((await ask(store, 'GET', '/b/k')).status, 502);
  await store.stop();
});

test('signed conditional creates through the proxy verify on versitygw, and the second one is refused', {
  skip: missingTools('go'),
}, async () => {
  const gateway = await startVersityGateway({ buckets: ['bench'] });
  const store = await start(proxyBackend(new URL(gateway.endpoint)));
  const { AWS_ACCESS_KEY_ID: accessKeyId = '', AWS_SECRET_ACCESS_KEY: secret } = gateway.environment;
  const put = async (body: string, secretAccessKey = secret ?? ''): Promise<number> => {
    const unsigned = {
      method: 'PUT',
      host: `127.0.0.1:${store.port}`,
      path: '/bench/chunks/0000000000000000001.netsy',
      headers: { 'if-none-match': '*', 'content-length': String(body.length) },
      region: 'us-east-1',
      payloadHash: await payloadHash(Buffer.from(body)),
      wallMs: Date.now(),
    };
    const { path, headers } = signRequest(unsigned, { accessKeyId, secretAccessKey });
    return (await ask(store, 'PUT', path, body, headers)).status;
  };
  assert.equal(await put('a', 'another secret'), 403);
  assert.equal(await put('a'), 200);
  assert.equal(await put('b'), 412);
  const { puts, putsRefused, putsFailed } = store.stats();
  assert.deepEqual([puts, putsRefused, putsFailed], [3, 1, 1]);
  await store.stop();
  await gateway.stop();
});
