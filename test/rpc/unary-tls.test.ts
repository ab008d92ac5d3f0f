import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type ClientHttp2Session, connect as http2Connect } from 'node:http2';
import { after, before, beforeEach, describe, it } from 'node:test';
import { type ConnectionOptions, connect as tlsConnect } from 'node:tls';
import type * as grpc from '@grpc/grpc-js';
import type { AllowedClients } from '../../src/main/rpc/client-names.ts';
import { encodeSettings, PREFACE } from '../../src/main/rpc/http2-frames.ts';
import type { ListenerTls } from '../../src/main/rpc/listener.ts';
import type { UnaryMethod } from '../../src/main/rpc/service.ts';
import { type Certificate, type Certificates, makeCertificates } from '../support/certificates.ts';
import { asIs, closing, Front, RANGE, type Reply, type UnaryCall } from '../support/front.ts';
import { missingTools } from '../support/tools.ts';
import { data, type Fields, headers, message } from './raw-http2.ts';

const HELLO = Buffer.from('hello');
const PLAIN: Fields = [
  [':method', 'POST'],
  [':scheme', 'https'],
  [':path', RANGE],
  [':authority', 'a:1'],
  ['content-type', 'application/grpc'],
  ['te', 'trailers'],
];
const WATCH = '/etcdserverpb.Watch/Watch';
/** How many calls came to the method without grpc-js. */
let direct = 0;

/** What a call tells of who makes it. */
function whoMakes(call: Pick<UnaryCall, 'getPeer' | 'getAuthContext'>): Buffer {
  const { transportSecurityType, sslPeerCertificate } = call.getAuthContext();
  const peer = call.getPeer().replace(/:\d+$/, ':port');
  const certificate = sslPeerCertificate && {
    subject: { ...sslPeerCertificate.subject },
    raw: sslPeerCertificate.raw.toString('hex'),
  };
  return Buffer.from(JSON.stringify({ peer, transportSecurityType, certificate }));
}

const answerDirect: UnaryMethod = (_request, call, answer) => {
  direct++;
  answer(null, whoMakes(call));
};

function newFront(tls: ListenerTls, methods?: ReadonlyMap<string, UnaryMethod>): Front {
  const front = new Front(tls, undefined, {}, methods && { unary: methods, streams: new Map() });
  front.grpc.unregister(RANGE);
  front.grpc.unregister(WATCH);
  const unary = (call: UnaryCall, reply: Reply): void => reply(null, whoMakes(call));
  const stream = (call: grpc.ServerDuplexStream<Buffer, Buffer>): void => {
    call.write(whoMakes(call));
    call.end();
  };
  front.grpc.register(RANGE, unary, asIs, asIs, 'unary');
  front.grpc.register(WATCH, stream, asIs, asIs, 'bidi');
  return front;
}

/** A server that answers plain calls beside grpc-js, and one that does not. */
async function withFronts(
  tls: ListenerTls,
  body: (fast: Front, plainly: Front) => Promise<void>,
): Promise<void> {
  const fronts = [newFront(tls, new Map([[RANGE, answerDirect]])), newFront(tls)] as const;
  for (const front of fronts) await front.listener.listen();
  try {
    await body(...fronts);
  } finally {
    for (const front of fronts) await front.listener.close(0);
  }
}

/** The message that answers a call, or why there is none. */
function called(
  session: ClientHttp2Session,
  path: string,
  shown: Record<string, string> = {},
): Promise<string> {
  const fields = { ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers' };
  return new Promise((resolve) => {
    session.on('error', (error: Error & { code?: string }) => resolve(error.code ?? error.message));
    if (session.destroyed) return resolve('closed');
    const stream = session.request({ ...fields, ...shown });
    const pieces: Buffer[] = [];
    stream.on('data', (piece: Buffer) => pieces.push(piece));
    stream.on('error', (error: Error & { code?: string }) => resolve(error.code ?? error.message));
    stream.on('close', () => resolve(Buffer.concat(pieces).subarray(5).toString() || 'no answer'));
    stream.end(message(HELLO));
  });
}

describe('unary calls beside grpc-js, of clients with certificates', {
  timeout: 120_000,
  skip: missingTools('openssl'),
}, () => {
  let made: Certificates;
  before(() => {
    made = makeCertificates();
  });
  beforeEach(() => {
    direct = 0;
  });
  after(() => made?.remove());

  const mutual = (): ListenerTls['material'] => {
    const { server, authority } = made;
    return { cert: server.cert, key: server.key, ca: authority.cert };
  };

  function connect(
    front: Front,
    who: Certificate | undefined,
    options: ConnectionOptions = {},
  ): ClientHttp2Session {
    const shown = who && { cert: who.cert, key: who.key };
    return http2Connect(front.url, { ca: made.authority.cert, ...shown, ...options });
  }

  it('know whose certificate it is just as grpc-js does, and so do streams beside them', async () => {
    const owners = [
      made.client,
      made.sign('', 'extendedKeyUsage=clientAuth'),
      made.sign('one/CN=two', 'extendedKeyUsage=clientAuth'),
      made.sign('a\\nCN=root', 'subjectAltName=DNS:a.example,IP:10.0.0.1'),
      made.sign('Zoë', 'extendedKeyUsage=clientAuth'),
    ];
    await withFronts({ material: mutual() }, async (fast, plainly) => {
      for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
        for (const owner of owners) {
          const sessions = [fast, plainly].map((front) => connect(front, owner, { maxVersion }));
          const [ours = '', theirs] = await Promise.all(sessions.map((session) => called(session, RANGE)));
          assert.equal(ours, theirs);
          assert.match(
            ours,
            /"peer":"127\.0\.0\.1:port","transportSecurityType":"ssl","certificate":\{"subject"/,
          );
          const [ourStream, theirStream] = await Promise.all(
            sessions.map((session) => called(session, WATCH)),
          );
          assert.deepEqual([ourStream, theirStream], [ours, ours]);
          assert.equal(
            await called(sessions[0]!, RANGE, { 'x-odd-bin': 'YQ' }),
            ours,
            "a call that is node's",
          );
          const old = connect(fast, owner, { maxVersion });
          const asUrl = { ':authority': fast.url };
          assert.equal(
            await called(old, RANGE, asUrl),
            ours,
            'a client that sends its endpoint as :authority',
          );
          for (const session of [...sessions, old]) session.destroy();
        }
      }
      assert.equal(direct, 2 * owners.length, 'without grpc-js');
    });
  });

  it('know it in a session that is resumed', async () => {
    for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
      await withFronts({ material: mutual() }, async (fast) => {
        const { authority, client } = made;
        const shown = { ca: authority.cert, cert: client.cert, key: client.key, maxVersion };
        const options = { ...shown, port: fast.port, host: '127.0.0.1', ALPNProtocols: ['h2'] };
        const first = tlsConnect(options);
        const [session] = (await once(first, 'session')) as [Buffer];
        first.destroy();
        const socket = tlsConnect({ ...options, session });
        await once(socket, 'secureConnect');
        assert.ok(socket.isSessionReused());
        const again = http2Connect(fast.url, { createConnection: () => socket });
        assert.match(await called(again, RANGE), /"CN":"client"/);
        again.destroy();
      });
    }
    assert.equal(direct, 2);
  });

  it('are nobody’s where no certificate is asked for, though one be shown', async () => {
    const { cert, key } = mutual();
    await withFronts({ material: { cert, key } }, async (fast, plainly) => {
      const [ours, theirs] = await Promise.all(
        [fast, plainly].map(async (front) => {
          const session = connect(front, made.client);
          const answer = await called(session, RANGE);
          session.destroy();
          return answer;
        }),
      );
      assert.deepEqual([ours, theirs], Array(2).fill('{"peer":"127.0.0.1:port"}'));
      assert.equal(direct, 1);
    });
  });

  it('are not begun for who is not trusted, revoked, or not on the list', async () => {
    const revoked = made.sign('revoked', 'extendedKeyUsage=clientAuth');
    const other = made.sign('other', 'subjectAltName=DNS:other.example');
    const material = { ...mutual(), crl: [readFileSync(made.revoke(revoked), 'utf8')] };
    const lists: AllowedClients[] = [
      { by: 'common name', names: ['client', 'revoked', 'stranger'] },
      { by: 'host name', names: ['client.example'] },
    ];
    const admitted = [made.client, made.sign('x', 'subjectAltName=DNS:client.example')];
    for (const [index, allowedClients] of lists.entries()) {
      await withFronts({ material, allowedClients }, async (fast) => {
        direct = 0;
        for (const who of [undefined, made.stranger, revoked, other]) {
          const session = connect(fast, who);
          assert.doesNotMatch(await called(session, RANGE), /peer/);
          session.destroy();
        }
        assert.equal(direct, 0);
        const session = connect(fast, admitted[index]);
        assert.match(await called(session, RANGE), /"certificate"/);
        session.destroy();
        assert.equal(direct, 1);
      });
    }
  });

  it('go on with whom the handshake knew when other authorities are trusted, who counts from then on', async () => {
    await withFronts({ material: mutual() }, async (fast) => {
      const old = connect(fast, made.client);
      const before = await called(old, RANGE);
      fast.listener.setTls({ ...mutual(), ca: made.stranger.cert });
      assert.equal(await called(old, RANGE), before);
      const late = connect(fast, made.client);
      assert.doesNotMatch(await called(late, RANGE), /peer/);
      const stranger = connect(fast, made.stranger);
      assert.match(await called(stranger, RANGE), /"CN":"stranger"/);
      for (const session of [old, late, stranger]) session.destroy();
      assert.equal(direct, 3);
    });
  });

  it('end with their connection, on either way, when a client of TLS 1.2 negotiates again', async () => {
    await withFronts({ material: mutual() }, async (...fronts) => {
      for (const front of fronts) {
        const { authority, client } = made;
        const socket = tlsConnect({
          ...{ ca: authority.cert, cert: client.cert, key: client.key, maxVersion: 'TLSv1.2' },
          ...{ port: front.port, host: '127.0.0.1', ALPNProtocols: ['h2'] },
        });
        socket.on('error', () => {});
        await once(socket, 'secureConnect');
        socket.write(
          Buffer.concat([PREFACE, encodeSettings([]), headers(1, PLAIN), data(1, message(HELLO))]),
        );
        let said = Buffer.alloc(0);
        socket.on('data', (bytes: Buffer) => {
          said = Buffer.concat([said, bytes]);
        });
        while (!said.includes('"CN":"client"')) await once(socket, 'data');
        let negotiated = false;
        socket.renegotiate({}, (error) => {
          negotiated = error === null;
        });
        await closing(socket);
        assert.ok(!negotiated);
        const refusals = front.logged.filter(({ fields }) => /renegotiation/.test(String(fields?.['error'])));
        assert.equal(refusals.length, 1);
      }
    });
  });
});
