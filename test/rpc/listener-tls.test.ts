import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { connect as http2Connect } from 'node:http2';
import { Agent, get as httpsGet } from 'node:https';
import { connect } from 'node:net';
import { after, before, describe, it } from 'node:test';
import { type ConnectionOptions, connect as tlsConnect } from 'node:tls';
import { promisify } from 'node:util';
import * as grpc from '@grpc/grpc-js';
import type { AllowedClients } from '../../src/main/rpc/client-names.ts';
import { type Certificates, makeCertificates } from '../support/certificates.ts';
import {
  asIs,
  closing,
  echoes,
  Front,
  openStream,
  RANGE,
  type Reply,
  range,
  textOf,
  type UnaryCall,
  withClient,
  withFront,
} from '../support/front.ts';
import { missingTools } from '../support/tools.ts';

describe('listener with TLS', { skip: missingTools('openssl'), timeout: 60_000 }, () => {
  let made: Certificates | undefined;
  before(() => {
    made = makeCertificates();
  });
  after(() => made?.remove());

  function certificates(): Certificates {
    assert.ok(made !== undefined);
    return made;
  }

  function server(): { cert: Buffer; key: Buffer } {
    return { cert: certificates().server.cert, key: certificates().server.key };
  }

  function mutual(): { cert: Buffer; key: Buffer; ca: Buffer } {
    return { ...server(), ca: certificates().authority.cert };
  }

  /** The protocol agreed on, or the refusal. */
  async function negotiate(front: Front, options: ConnectionOptions): Promise<string | false | null> {
    const socket = tlsConnect({
      port: front.port,
      host: '127.0.0.1',
      ca: certificates().authority.cert,
      ...options,
    });
    await once(socket, 'secureConnect');
    const protocol = socket.alpnProtocol;
    socket.destroy();
    return protocol;
  }

  it('serves gRPC and HTTP/1.1 on one port', async () => {
    await withFront(async (front) => {
      const trusting = grpc.credentials.createSsl(certificates().authority.cert);
      await withClient(front.authority, trusting, (client) => echoes(client));
      const agent = new Agent({ ca: certificates().authority.cert });
      const [response] = (await once(httpsGet(`${front.url}/x`, { agent }), 'response')) as [IncomingMessage];
      assert.equal(await textOf(response), 'GET /x 1.1');
      assert.match(front.peers[0] ?? '', /^127\.0\.0\.1:\d+$/);
    }, server());
  });

  it('agrees on h2 with those who offer it alone, on HTTP/1.1 with those who offer both', async () => {
    await withFront(async (front) => {
      assert.equal(await negotiate(front, { ALPNProtocols: ['h2'] }), 'h2');
      assert.equal(await negotiate(front, { ALPNProtocols: ['h2', 'http/1.1'] }), 'http/1.1');
      assert.equal(await negotiate(front, {}), false);
      await assert.rejects(negotiate(front, { ALPNProtocols: ['spdy/3'] }));
      await assert.rejects(negotiate(front, { maxVersion: 'TLSv1.1' }));
    }, server());
  });

  it('serves HTTP/2 to a client that speaks it without having agreed on it', async () => {
    await withFront(async (front) => {
      const socket = tlsConnect({ port: front.port, host: '127.0.0.1', ca: certificates().authority.cert });
      await once(socket, 'secureConnect');
      const session = http2Connect(front.url, { createConnection: () => socket });
      const stream = openStream(session);
      await once(stream, 'data');
      session.destroy();
    }, server());
  });

  it('refuses whoever shows no certificate of the trusted authority, says so in the log, and goes on', async () => {
    await withFront(async (front) => {
      const { authority, client, stranger } = certificates();
      for (const shown of [undefined, stranger]) {
        const credentials = grpc.credentials.createSsl(authority.cert, shown?.key, shown?.cert);
        await withClient(front.authority, credentials, async (refused) => {
          await assert.rejects(range(refused, Buffer.from('x')), { code: grpc.status.UNAVAILABLE });
        });
      }
      assert.equal(front.peers.length, 0);
      assert.ok(
        front.logged.some((line) => line.level === 'warn' && line.message.startsWith('rejected connection')),
      );
      const trusted = grpc.credentials.createSsl(authority.cert, client.key, client.cert);
      await withClient(front.authority, trusted, (known) => echoes(known));
      assert.deepEqual(front.names, ['client']);
    }, mutual());
  });

  describe('with a list of allowed clients', () => {
    async function admits(
      allowedClients: AllowedClients,
      shown: { cert: Buffer; key: Buffer },
      options: ConnectionOptions = {},
    ): Promise<boolean> {
      let answered = false;
      const rules = {
        minVersion: 'TLSv1.2',
        maxVersion: options.maxVersion ?? 'TLSv1.3',
        ciphers: undefined,
      } as const;
      await withFront(
        async (front) => {
          const trusted = grpc.credentials.createSsl(certificates().authority.cert, shown.key, shown.cert);
          await withClient(front.authority, trusted, async (client) => {
            answered = await range(client, Buffer.from('x')).then(
              () => true,
              (error: grpc.ServiceError) => {
                assert.equal(error.code, grpc.status.UNAVAILABLE);
                return false;
              },
            );
          });
          const warned = front.logged.filter(({ message }) => message.startsWith('rejected connection'));
          assert.equal(warned.length > 0, !answered);
          assert.equal(front.peers.length, answered ? 1 : 0, 'a refused client reaches no service');
        },
        { material: mutual(), rules, allowedClients },
      );
      return answered;
    }

    const names = (...allowed: string[]): AllowedClients => ({ by: 'common name', names: allowed });
    const hosts = (...allowed: string[]): AllowedClients => ({ by: 'host name', names: allowed });

    it('lets in whose common name is one of them, and nobody else', async () => {
      const { client, sign } = certificates();
      assert.ok(await admits(names('other', 'client'), client));
      assert.ok(!(await admits(names('other', 'Client', 'clien', 'client.'), client)));
      // A name that reads like another subject's line.
      const sly = sign('a\\nCN=client', 'extendedKeyUsage=clientAuth');
      assert.ok(!(await admits(names('client'), sly)));
    });

    it('lets in whose alternative names have one of them, wildcards too, and whose common name alone does not', async () => {
      const { sign } = certificates();
      const named = sign('x', 'subjectAltName=DNS:a.example,DNS:*.b.example,IP:10.0.0.1');
      assert.ok(await admits(hosts('other.example', 'a.example'), named));
      assert.ok(await admits(hosts('c.b.example'), named));
      assert.ok(await admits(hosts('10.0.0.1'), named));
      assert.ok(!(await admits(hosts('b.example', 'd.c.b.example', '10.0.0.2', 'example'), named)));
      const bare = sign('a.example', 'extendedKeyUsage=clientAuth');
      assert.ok(!(await admits(hosts('a.example'), bare)));
    });

    it('holds for pages too, and for a session that is resumed', async () => {
      const { client, authority } = certificates();
      for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
        const rules = { minVersion: 'TLSv1.2', maxVersion, ciphers: undefined } as const;
        const allowedClients = names('client');
        await withFront(
          async (front) => {
            const options = { port: front.port, host: '127.0.0.1', ca: authority.cert, ...client };
            const first = tlsConnect(options);
            const [session] = (await once(first, 'session')) as [Buffer];
            first.destroy();
            const second = tlsConnect({ ...options, session });
            second.write('GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
            assert.match(String((await once(second, 'data'))[0]), /^HTTP\/1\.1 200/);
            assert.ok(second.isSessionReused());
            second.destroy();
          },
          { material: mutual(), rules, allowedClients },
        );
      }
    });
  });

  it('refuses a client whose certificate is on the list of revoked ones', async () => {
    const { client, revoke, sign, authority } = certificates();
    const good = sign('good', 'extendedKeyUsage=clientAuth');
    const crl = [readFileSync(revoke(client), 'utf8')];
    await withFront(
      async (front) => {
        const as = (who: { cert: Buffer; key: Buffer }): grpc.ChannelCredentials =>
          grpc.credentials.createSsl(authority.cert, who.key, who.cert);
        await withClient(front.authority, as(good), (known) => echoes(known));
        await withClient(front.authority, as(client), async (revoked) => {
          await assert.rejects(range(revoked, Buffer.from('x')), { code: grpc.status.UNAVAILABLE });
        });
      },
      { ...mutual(), crl },
    );
  });

  it('shows new connections a new certificate, and lets the open ones go on', async () => {
    const { authority, sign } = certificates();
    await withFront(async (front) => {
      const trusting = grpc.credentials.createSsl(authority.cert);
      await withClient(front.authority, trusting, async (client) => {
        await echoes(client);
        const next = sign('next', 'subjectAltName=IP:127.0.0.1');
        front.listener.setTls({ cert: next.cert, key: next.key });
        const socket = tlsConnect({ port: front.port, host: '127.0.0.1', ca: authority.cert });
        await once(socket, 'secureConnect');
        assert.equal(socket.getPeerCertificate().subject.CN, 'next');
        socket.destroy();
        await echoes(client);
        assert.equal(new Set(front.peers).size, 1, 'the connection of before is still there');
      });
    }, server());
  });

  it('lets nobody resume a session from before other authorities were trusted', async () => {
    const { authority, client, stranger } = certificates();
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      const rules = { minVersion: 'TLSv1.2', maxVersion, ciphers: undefined } as const;
      await withFront(
        async (front) => {
          const options = { port: front.port, host: '127.0.0.1', ca: authority.cert, ...client };
          const first = tlsConnect(options);
          const [session] = (await once(first, 'session')) as [Buffer];
          first.destroy();
          front.listener.setTls({ ...server(), ca: stranger.cert });
          const second = tlsConnect({ ...options, session });
          second.on('error', () => {});
          second.write('GET /x HTTP/1.1\r\nHost: a\r\n\r\n');
          second.on('data', () => assert.fail('was served'));
          await closing(second);
        },
        { material: mutual(), rules },
      );
    }
  });

  it('speaks the versions and cipher suites of its rules alone', async () => {
    const only13 = { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3', ciphers: undefined } as const;
    await withFront(
      async (front) => {
        await assert.rejects(negotiate(front, { maxVersion: 'TLSv1.2' }));
        await negotiate(front, { minVersion: 'TLSv1.3' });
      },
      { material: server(), rules: only13 },
    );
    const ciphers = 'TLS_AES_256_GCM_SHA384:ECDHE-ECDSA-AES256-GCM-SHA384';
    await withFront(
      async (front) => {
        const with12 = { maxVersion: 'TLSv1.2' } as const;
        await assert.rejects(negotiate(front, { ...with12, ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' }));
        await negotiate(front, { ...with12, ciphers: 'ECDHE-ECDSA-AES256-GCM-SHA384' });
        await negotiate(front, { minVersion: 'TLSv1.3' });
      },
      { material: server(), rules: { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.3', ciphers } },
    );
  });

  it('survives plain bytes and resets in the handshake', async () => {
    await withFront(async (front) => {
      const plainSocket = connect(front.port, '127.0.0.1').resume();
      plainSocket.on('error', () => {});
      plainSocket.write('GET / HTTP/1.1\r\n\r\n');
      await once(plainSocket, 'close');
      const reset = connect(front.port, '127.0.0.1');
      await once(reset, 'connect');
      reset.write(Buffer.of(0x16, 3, 1));
      reset.resetAndDestroy();
      const trusting = grpc.credentials.createSsl(certificates().authority.cert);
      await withClient(front.authority, trusting, (client) => echoes(client));
    }, server());
  });

  it('closes connections that are still in their handshake', async () => {
    const front = new Front(server());
    await front.listener.listen();
    const silent = connect(front.port, '127.0.0.1').resume();
    await once(silent, 'connect');
    const seen = tlsConnect({ port: front.port, host: '127.0.0.1', ca: certificates().authority.cert });
    await once(seen, 'secureConnect');
    seen.on('error', () => {});
    await Promise.all([front.listener.close(0), closing(silent), closing(seen)]);
  });

  it('is understood by etcdctl, with and without TLS', { skip: missingTools('etcdctl') }, async () => {
    const { authority, client } = certificates();
    await withFront((front) => etcdctlGets(front, []));
    const flags = ['--cacert', authority.certFile, '--cert', client.certFile, '--key', client.keyFile];
    await withFront((front) => etcdctlGets(front, flags), mutual());
  });
});

/** The echo is a RangeRequest, which reads as a RangeResponse without keys; only an error makes etcdctl fail. */
async function etcdctlGets(front: Front, flags: readonly string[]): Promise<void> {
  front.grpc.unregister(RANGE);
  const empty = (_call: UnaryCall, reply: Reply): void => reply(null, Buffer.alloc(0));
  front.grpc.register(RANGE, empty, asIs, asIs, 'unary');
  front.grpc.register('/etcdserverpb.Maintenance/Defragment', empty, asIs, asIs, 'unary');
  const options = ['--endpoints', front.url, '--dial-timeout=5s', '--command-timeout=5s', ...flags];
  const env = { ...process.env, ETCDCTL_API: '3' };
  const got = await promisify(execFile)('etcdctl', [...options, 'get', 'key'], { env });
  assert.equal(got.stdout, '');
  // Sends the whole URL as :authority.
  const defragmented = await promisify(execFile)('etcdctl', [...options, 'defrag'], { env });
  assert.match(defragmented.stdout, /^Finished defragmenting/);
}
