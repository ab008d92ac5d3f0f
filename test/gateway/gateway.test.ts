import assert from 'node:assert/strict';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { text as readText } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import * as grpc from '@grpc/grpc-js';
import { Auth } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { Fixture } from '../e2e/fixture.ts';
import { makeCertificates } from '../support/certificates.ts';
import { EtcdClient } from '../support/etcd-client.ts';
import { startNetsy } from '../support/netsy.ts';
import { missingTools } from '../support/tools.ts';
import { base64, send } from './http.ts';

const MAX_REQUEST_BYTES = 65_536;

describe('the JSON gateway where etcd has no answer to compare with', { timeout: 120_000 }, () => {
  const server = new Fixture({ arguments: ['--max-request-bytes', String(MAX_REQUEST_BYTES)] });

  async function watchers(): Promise<string | undefined> {
    const metrics = await (await fetch(`${server.netsy.endpoint}/metrics`)).text();
    return /^netsy_watchers\{state="synced"\} (\d+)$/m.exec(metrics)?.[1];
  }

  it('refuses a watch to which nothing was said, which etcd leaves open for ever', async () => {
    for (const [body, why] of [
      ['', 'EOF'],
      ['<', String.raw`invalid character '\u003c' looking for beginning of value`],
      ['{"create_request":{"key":"!"}}', 'proto: (line 1:26): invalid value for bytes field key: \\"!\\"'],
    ] as const) {
      const answer = await send(server.netsy.endpoint, { path: '/v3/watch', body });
      assert.equal(answer.status, 400);
      assert.equal(answer.body, `{"error":{"code":3,"message":"Failed to decode request: ${why}"}}\n`);
    }
  });

  it('takes more requests of a watch while it answers, and lets go of it when the client does', async () => {
    const { hostname, port } = new URL(server.netsy.endpoint);
    const request = httpRequest({ hostname, port, path: '/v3/watch', method: 'POST' });
    request.on('error', () => {});
    const lines: string[] = [];
    request.write(JSON.stringify({ create_request: { key: base64('a') } }));
    request.on('response', (response) => response.on('data', (piece) => lines.push(String(piece))));
    while (lines.length < 1) await sleep(5);
    request.write(JSON.stringify({ create_request: { key: base64('b') } }));
    while (lines.length < 2) await sleep(5);
    await server.put('b', '1');
    while (lines.length < 3) await sleep(5);
    assert.match(lines.join(''), /"watch_id":"1","events":\[\{"kv":\{"key":"Yg=="/);
    assert.equal(await watchers(), '2');
    request.destroy();
    while ((await watchers()) !== '0') await sleep(5);
  });

  it('refuses a body that no request needs before it has all of it', async () => {
    const body = Buffer.alloc(8 * (MAX_REQUEST_BYTES + 512 * 1024) + 1, ' ');
    const answer = await send(server.netsy.endpoint, { path: '/v3/kv/put', body });
    assert.equal(answer.status, 429);
    assert.match(
      answer.body,
      /^\{"code":8,"message":"grpc: received message larger than max \(4718593 vs\. 4718592\)"\}$/,
    );
  });

  it('answers many large calls at once, though both ends have more to send than is read at once', async () => {
    const put = JSON.stringify({ key: base64('large'), value: base64('x'.repeat(30_000)) });
    const range = JSON.stringify({ key: base64('large') });
    const calls = Array.from({ length: 400 }, (_, index) =>
      send(
        server.netsy.endpoint,
        index % 2 === 0 ? { path: '/v3/kv/put', body: put } : { path: '/v3/kv/range', body: range },
      ),
    );
    for (const { status } of await Promise.all(calls)) assert.equal(status, 200);
  });

  it('lists what is too much for the main thread, in the same form', async () => {
    for (let index = 0; index < 40; index++) await server.put(`list/${index}`, 'x'.repeat(10_000));
    const body = JSON.stringify({ key: base64('list/'), range_end: base64('list0') });
    const answer = await send(server.netsy.endpoint, { path: '/v3/kv/range', body });
    const { kvs, count } = JSON.parse(answer.body) as { kvs: { value: string }[]; count: string };
    assert.equal(count, '40');
    assert.ok(kvs.every(({ value }) => value === base64('x'.repeat(10_000))));
  });
});

describe('the JSON gateway under TLS', { timeout: 60_000, skip: missingTools('openssl') }, () => {
  it('does not take a certificate for a user, and says so once auth is enabled', async () => {
    const made = makeCertificates();
    const files = ['--cert-file', made.server.certFile, '--key-file', made.server.keyFile];
    const authority = ['--client-cert-auth', '--trusted-ca-file', made.authority.certFile];
    const netsy = await startNetsy({ listen: 'https://127.0.0.1:0', arguments: [...files, ...authority] });
    const credentials = grpc.credentials.createSsl(made.authority.cert, made.client.key, made.client.cert);
    const client = new EtcdClient(netsy.authority, credentials);
    const post = (path: string): Promise<{ status: number | undefined; body: string }> =>
      new Promise((resolve, reject) => {
        const { hostname, port } = new URL(netsy.endpoint);
        const { key, cert } = made.client;
        const options = { hostname, port, path, method: 'POST', ca: made.authority.cert, key, cert };
        const request = httpsRequest(options, (response) => {
          readText(response).then((body) => resolve({ status: response.statusCode, body }), reject);
        });
        request.on('error', reject).end('{"key":"aw=="}');
      });
    try {
      assert.equal((await post('/v3/kv/range')).status, 200);
      await client.call(Auth.method.userAdd, { name: 'root', password: 'root' });
      await client.call(Auth.method.roleAdd, { name: 'root' });
      await client.call(Auth.method.userGrantRole, { user: 'root', role: 'root' });
      await client.call(Auth.method.authEnable, {});
      const refused =
        'CommonName of client sending a request against gateway will be ignored and not used as expected\n';
      assert.deepEqual(await post('/v3/kv/range'), { status: 400, body: refused });
      assert.equal((await post('/health')).status, 405);
    } finally {
      client.close();
      await netsy.stop();
      made.remove();
    }
  });
});
