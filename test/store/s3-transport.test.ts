import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { openStore } from '../../src/main/store/open.ts';
import { probeStore } from '../../src/main/store/probe.ts';
import type { S3Options } from '../../src/main/store/s3-config.ts';
import type { ObjectStore } from '../../src/main/store/store.ts';
import { systemClock } from '../../src/shared/base/clock.ts';
import { systemRandom } from '../../src/shared/base/random.ts';
import { type Certificates, makeCertificates } from '../support/certificates.ts';
import { ConnectProxy } from '../support/connect-proxy.ts';
import { temporaryDirectory } from '../support/netsy.ts';
import { SigningFront } from '../support/signing-front.ts';
import { missingTools } from '../support/tools.ts';
import { startVersityGateway, type VersityGateway } from '../support/versitygw.ts';
import { text } from './contract.ts';

const PASSWORD = 'password of the proxy';

describe('on its way to a real S3 server', { skip: missingTools('go', 'openssl'), timeout: 120_000 }, () => {
  let gateway: VersityGateway;
  let certificates: Certificates;
  let front: SigningFront;
  let secure: SigningFront;
  before(async () => {
    gateway = await startVersityGateway({ buckets: ['way'] });
    certificates = makeCertificates();
    front = await SigningFront.start(gateway);
    secure = await SigningFront.start(gateway, { tls: certificates.server, domain: 's3.test' });
  });
  after(async () => {
    await Promise.all([front.stop(), secure.stop()]);
    certificates.remove();
    await gateway.stop();
  });

  async function using(
    endpoint: string,
    environment: Record<string, string>,
    more: Partial<S3Options>,
    use: (store: ObjectStore) => Promise<void>,
  ): Promise<void> {
    const own = { ...gateway.environment, HOME: '/nonexistent', AWS_ENDPOINT_URL_S3: endpoint };
    const store = await openStore('s3://way/some', {
      clock: systemClock,
      random: systemRandom,
      environment: { ...own, ...environment },
      attemptTimeoutMs: 5_000,
      ...more,
    });
    try {
      await use(store);
    } finally {
      await store.close();
    }
  }

  async function works(store: ObjectStore): Promise<void> {
    await probeStore(store, systemRandom);
  }

  it('what begins an object says how it is encrypted and stored, and nothing else does', async () => {
    const written = {
      encryption: 'aws:kms',
      kmsKeyId: 'arn:aws:kms:eu-west-1:111122223333:key/1',
      bucketKey: true,
      storageClass: 'STANDARD_IA',
    };
    async function* parts(): AsyncIterable<Uint8Array> {
      yield new Uint8Array(20 * 1024 * 1024);
    }
    await using(front.endpoint, {}, { written }, async (store) => {
      await store.put('put', text('x'));
      await store.putIfAbsent('created', text('x'));
      await store.putMultipart('large', parts());
      await store.get('put');
      await store.delete('put');
      for await (const { key } of store.list('')) assert.ok(key !== '');
    });
    const seen = front.requests.map(({ method, url, headers }) => {
      const names = Object.keys(headers).filter((name) => /^x-amz-(server|storage)|^if-/.test(name));
      return `${method} ${url.replace(/(uploadId=)[^&]+/, '$1U')} ${names.sort().map((name) => headers[name])}`;
    });
    const all = 'aws:kms,arn:aws:kms:eu-west-1:111122223333:key/1,true,STANDARD_IA';
    assert.deepEqual(
      seen,
      [
        `PUT /way/some/put ${all}`,
        `PUT /way/some/created *,${all}`,
        `POST /way/some/large?uploads= ${all}`,
        ...[1, 2, 3].map((part) => `PUT /way/some/large?partNumber=${part}&uploadId=U `),
        'POST /way/some/large?uploadId=U ',
        'GET /way/some/put ',
        'DELETE /way/some/put ',
        'GET /way?list-type=2&encoding-type=url&prefix=some%2F ',
      ].map((line) => line.replace('GET /way?', 'GET /way/?')),
    );
  });

  it('a key without a kind of encryption means aws:kms; without either nothing is said', async () => {
    front.requests.length = 0;
    await using(front.endpoint, {}, { written: { kmsKeyId: 'alias/ours' } }, (s) => s.put('a', text('x')));
    await using(front.endpoint, {}, {}, (store) => store.put('b', text('x')));
    const kinds = front.requests.map(({ headers }) => headers['x-amz-server-side-encryption']);
    assert.deepEqual(kinds, ['aws:kms', undefined]);
  });

  it('a certificate of an authority of one’s own is trusted with --s3-ca-file, AWS_CA_BUNDLE or the profile’s ca_bundle, not without', async () => {
    const { certFile } = certificates.authority;
    const config = join(temporaryDirectory(), 'config');
    writeFileSync(config, `[default]\nca_bundle = ${certFile}\n`);
    await using(secure.endpoint, { AWS_CONFIG_FILE: config }, {}, works);
    await using(secure.endpoint, {}, { caFile: certFile }, works);
    await using(secure.endpoint, { AWS_CA_BUNDLE: certFile }, {}, works);
    await using(secure.endpoint, {}, {}, (store) =>
      assert.rejects(store.get('a'), { kind: 'transient', message: /no answer from https:.*certificate/ }),
    );
    await using(secure.endpoint, {}, { caFile: certificates.stranger.certFile }, (store) =>
      assert.rejects(store.get('a'), { kind: 'transient' }),
    );
  });

  it('a file that holds no certificates is named', async () => {
    const empty = join(temporaryDirectory(), 'empty.pem');
    writeFileSync(empty, 'nothing\n');
    const cut = join(temporaryDirectory(), 'cut.pem');
    writeFileSync(
      cut,
      `${certificates.authority.cert}-----BEGIN CERTIFICATE-----\nMIIBnonsense\n-----END CERTIFICATE-----\n`,
    );
    for (const caFile of [empty, '/nonexistent/ca.pem', cut]) {
      await assert.rejects(using(secure.endpoint, {}, { caFile }, works), {
        message: new RegExp(`^--s3-ca-file: ${caFile} is not [^\\n]*$`),
      });
      await assert.rejects(using(secure.endpoint, { AWS_CA_BUNDLE: caFile }, {}, works), {
        message: new RegExp(`^AWS_CA_BUNDLE: ${caFile} is not [^\\n]*$`),
      });
    }
  });

  it('HTTPS_PROXY leads through a proxy, to a bucket in the host name, which the proxy alone finds', async () => {
    const proxy = await ConnectProxy.start(secure.port, PASSWORD);
    const url = `http://user:${encodeURIComponent(PASSWORD)}@${proxy.authority}`;
    const options = { caFile: certificates.authority.certFile, addressing: 'virtual' } as const;
    try {
      await using('https://s3.test', { HTTPS_PROXY: url, NO_PROXY: '.example.com' }, options, works);
      assert.deepEqual([...new Set(proxy.tunnels)], ['way.s3.test:443']);
      await using(
        'https://s3.test',
        { https_proxy: `http://user:wrong@${proxy.authority}` },
        options,
        (store) =>
          assert.rejects(store.get('a'), (error: Error) => {
            assert.match(error.message, /no answer/);
            assert.doesNotMatch(error.message, /wrong/);
            return true;
          }),
      );
      assert.ok(proxy.refusals > 0);
    } finally {
      await proxy.stop();
    }
  });

  it('NO_PROXY, and the loopback, lead past the proxy', async () => {
    const nowhere = { HTTPS_PROXY: 'http://127.0.0.1:1', HTTP_PROXY: 'http://127.0.0.1:1' };
    await using(front.endpoint, nowhere, {}, works);
    await using('http://s3.test:1', nowhere, {}, (store) =>
      assert.rejects(store.get('a'), { kind: 'transient', code: 'ECONNREFUSED' }),
    );
    await using('http://s3.test:1', { ...nowhere, NO_PROXY: 's3.test' }, {}, (store) =>
      assert.rejects(store.get('a'), { kind: 'transient', code: /ENOTFOUND|EAI_AGAIN/ }),
    );
    await assert.rejects(using('http://s3.test:1', { HTTP_PROXY: 'socks5://127.0.0.1:1' }, {}, works), {
      message: /^HTTP_PROXY is not the URL of a proxy/,
    });
  });
});
