import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { get } from 'node:https';
import { text as readText } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import * as grpc from '@grpc/grpc-js';
import { KV } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { type Certificates, makeCertificates } from '../support/certificates.ts';
import { bytes, EtcdClient, failureOf } from '../support/etcd-client.ts';
import { type Netsy, startNetsy } from '../support/netsy.ts';
import { missingTools } from '../support/tools.ts';
import { Fixture } from './fixture.ts';

describe('HTTP pages on the port that serves gRPC', { timeout: 60_000 }, () => {
  const server = new Fixture();

  it('tell health, readiness, liveness and version', async () => {
    for (const path of ['/health', '/readyz', '/livez', '/version']) {
      const response = await fetch(server.netsy.endpoint + path);
      assert.equal(response.status, 200, path);
      const body = await response.text();
      if (path === '/health') assert.equal((JSON.parse(body) as { health: string }).health, 'true');
      if (path === '/version') {
        assert.equal((JSON.parse(body) as { etcdserver: string }).etcdserver, '3.7.3');
      }
    }
    assert.equal((await fetch(`${server.netsy.endpoint}/none`)).status, 404);
  });

  it('count in /metrics what was done: calls by method and code, and store requests', async () => {
    for (let index = 0; index < 3; index++) await server.put('counted');
    await failureOf(server.put(''));
    const metrics = await (await fetch(`${server.netsy.endpoint}/metrics`)).text();
    const handled = (code: string): RegExp =>
      new RegExp(
        `^grpc_server_handled_total\\{(?=[^}]*grpc_method="Put")[^}]*grpc_code="${code}"[^}]*\\} (\\d+)$`,
        'm',
      );
    assert.equal(handled('OK').exec(metrics)?.[1], '3');
    assert.equal(handled('InvalidArgument').exec(metrics)?.[1], '1');
    assert.match(metrics, /^etcd_server_has_leader 1$/m);
    for (const line of metrics.split('\n').filter((one) => one !== '')) {
      assert.match(line, /^(# (HELP|TYPE) .+|[a-z_:][\w:]*(\{.*\})? \S+)$/i);
    }
  });
});

describe('TLS', { timeout: 60_000, skip: missingTools('openssl') }, () => {
  let made: Certificates;
  let tls: Netsy;
  let mutual: Netsy;
  before(async () => {
    made = makeCertificates();
    const files = ['--cert-file', made.server.certFile, '--key-file', made.server.keyFile];
    const listen = 'https://127.0.0.1:0';
    tls = await startNetsy({ listen, arguments: files });
    const authority = ['--client-cert-auth', '--trusted-ca-file', made.authority.certFile];
    mutual = await startNetsy({ listen, arguments: [...files, ...authority] });
  });
  after(async () => {
    await Promise.all([tls?.stop(), mutual?.stop()]);
    made?.remove();
  });

  async function put(netsy: Netsy, credentials: grpc.ChannelCredentials): Promise<unknown> {
    const client = new EtcdClient(netsy.authority, credentials);
    try {
      return await client.call(KV.method.put, { key: bytes('k') });
    } finally {
      client.close();
    }
  }

  const trusting = (client?: { cert: Buffer; key: Buffer }): grpc.ChannelCredentials =>
    grpc.credentials.createSsl(made.authority.cert, client?.key, client?.cert);

  it('serves a client that trusts the authority, and no other', async () => {
    await put(tls, trusting());
    assert.equal((await failureOf(put(tls, grpc.credentials.createSsl(made.stranger.cert)))).code, 14);
    assert.equal((await failureOf(put(tls, grpc.credentials.createInsecure()))).code, 14);
  });

  it('asks for a client certificate that the authority signed', async () => {
    await put(mutual, trusting(made.client));
    assert.equal((await failureOf(put(mutual, trusting()))).code, 14);
    assert.equal((await failureOf(put(mutual, trusting(made.stranger)))).code, 14);
    await put(mutual, trusting(made.client));
  });

  it('serves the pages on the same port', async () => {
    const ca = readFileSync(made.authority.certFile);
    const body = await new Promise<string>((resolve, reject) => {
      get(`${tls.endpoint}/health`, { ca }, (response) => readText(response).then(resolve, reject)).on(
        'error',
        reject,
      );
    });
    assert.match(body, /"health":"true"/);
  });
});
