import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { get } from 'node:https';
import { join } from 'node:path';
import { text as readText } from 'node:stream/consumers';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'node:tls';
import { promisify } from 'node:util';
import * as grpc from '@grpc/grpc-js';
import { KV, Watch, type WatchResponse } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { type Certificate, type Certificates, makeCertificates } from '../support/certificates.ts';
import { bytes, EtcdClient } from '../support/etcd-client.ts';
import { parseExposition, valueIn } from '../support/exposition.ts';
import { requireTool } from '../support/go-tools.ts';
import { type Netsy, runNetsy, startNetsy, temporaryDirectory, untilLogged } from '../support/netsy.ts';
import { missingTools } from '../support/tools.ts';

/** A secret as the kubelet lays it out, and renews it: `tls.crt` → `..data/tls.crt`, `..data` → one version. */
class Secret {
  readonly directory = temporaryDirectory();
  #versions = 0;

  constructor(files: Readonly<Record<string, Buffer>>) {
    this.publish(files);
    for (const name of Object.keys(files)) symlinkSync(join('..data', name), join(this.directory, name));
  }

  publish(files: Readonly<Record<string, Buffer>>): void {
    const version = `..${this.#versions++}`;
    mkdirSync(join(this.directory, version));
    for (const [name, content] of Object.entries(files)) {
      writeFileSync(join(this.directory, version, name), content);
    }
    symlinkSync(version, join(this.directory, '..data_tmp'));
    renameSync(join(this.directory, '..data_tmp'), join(this.directory, '..data'));
  }
}

function notAfter({ cert }: Certificate): number {
  return Date.parse(new X509Certificate(cert).validTo) / 1000;
}

/** What the metrics on the first of `--listen-metrics-urls` say of the certificate in use. */
async function expiryToldBy(server: Netsy): Promise<number> {
  const text = await (await fetch(`${pagesOf(server)[0]}/metrics`)).text();
  return valueIn(parseExposition(text), 'netsy_tls_expiry_timestamp_seconds', { file: 'certificate' });
}

/** Of `--listen-metrics-urls`, with the ports that were bound. */
function pagesOf(server: Netsy): readonly string[] {
  const lines = server.log().split('\n');
  const serving = lines.find((line) => line.includes('"msg":"serving"')) ?? '{}';
  return (JSON.parse(serving) as { metrics: string[] }).metrics;
}

describe('TLS files that are renewed', { timeout: 120_000, skip: missingTools('openssl', 'go') }, () => {
  let made: Certificates;
  let netsy: Netsy | undefined;
  before(() => {
    made = makeCertificates();
  });
  after(async () => {
    await netsy?.stop();
    made?.remove();
  });

  const secretOf = (server: Certificate, authority: Buffer): Record<string, Buffer> => ({
    'tls.crt': server.cert,
    'tls.key': server.key,
    'ca.crt': authority,
  });

  async function shownBy(server: Netsy, client: Certificate): Promise<string> {
    const { port, hostname: host } = new URL(server.endpoint);
    const options = { port: Number(port), host, ca: made.authority.cert, cert: client.cert, key: client.key };
    const socket = connect(options);
    await once(socket, 'secureConnect');
    const name = socket.getPeerCertificate().subject.CN;
    socket.destroy();
    return String(name);
  }

  it('are shown to new connections; open watches go on; bad ones are logged and change nothing; etcdctl trusts them', async () => {
    const { authority, client, server, stranger } = made;
    const etcdctl = await requireTool('etcdctl');
    // Else they run out in the same second.
    await sleep(1_100);
    const next = made.sign('next', 'subjectAltName=IP:127.0.0.1');
    const secret = new Secret(secretOf(server, authority.cert));
    const at = (name: string): string => join(secret.directory, name);
    netsy = await startNetsy({
      listen: 'https://127.0.0.1:0',
      arguments: [
        '--cert-file',
        at('tls.crt'),
        '--key-file',
        at('tls.key'),
        '--trusted-ca-file',
        at('ca.crt'),
        ...['--listen-metrics-urls', 'http://127.0.0.1:0'],
      ],
    });
    const running = netsy;
    const old = new EtcdClient(
      running.authority,
      grpc.credentials.createSsl(authority.cert, client.key, client.cert),
    );
    const seen: WatchResponse[] = [];
    const events = async (count: number): Promise<void> => {
      while (seen.flatMap((response) => response.events).length < count) await sleep(5);
    };
    const watch = old.open(
      Watch.method.watch,
      (response) => seen.push(response),
      () => {},
    );
    watch.send({ requestUnion: { case: 'createRequest', value: { key: bytes('k') } } });
    while (seen.length === 0) await sleep(5);
    assert.equal(await shownBy(running, client), 'server');
    assert.equal(await expiryToldBy(running), notAfter(server));

    secret.publish(secretOf({ ...next, key: server.key }, authority.cert));
    await untilLogged(running, /TLS files have changed and can not be used/);
    assert.equal(await shownBy(running, client), 'server');

    secret.publish(secretOf(next, authority.cert));
    await untilLogged(running, /TLS files were read again/);
    assert.equal(await shownBy(running, client), 'next');
    assert.equal(await expiryToldBy(running), notAfter(next));
    assert.notEqual(notAfter(next), notAfter(server));
    const flags = ['--cacert', authority.certFile, '--cert', client.certFile, '--key', client.keyFile];
    const { stdout } = await promisify(execFile)(etcdctl, [
      '--endpoints',
      running.endpoint,
      ...flags,
      'put',
      'k',
      'v',
    ]);
    assert.equal(stdout, 'OK\n');
    await events(1);

    // Other authorities: the certificate that was good is not any more, for new connections.
    secret.publish(secretOf(next, stranger.cert));
    while (running.log().split('TLS files were read again').length < 3) await sleep(20);
    await assert.rejects(
      promisify(execFile)(etcdctl, [
        '--endpoints',
        running.endpoint,
        '--command-timeout=2s',
        ...flags,
        'get',
        'k',
      ]),
    );
    await old.call(KV.method.put, { key: bytes('k') });
    await events(2);
    old.close();
  });
});

/** Everything that `--listen-metrics-urls` serves, as etcd's does, and the page for people. */
const PAGES: Readonly<Record<string, RegExp>> = {
  '/': /<title>/,
  '/status.json': /"etcdVersion"/,
  '/metrics': /^netsy_tls_expiry_timestamp_seconds\{file="revocation_list"\} \d/m,
  '/health': /"health":"true"/,
  '/health?serializable=true': /"health":"true"/,
  '/livez': /^ok\n$/,
  '/livez?verbose': /^\[\+\]serializable_read ok\n/,
  '/readyz': /^ok\n$/,
  '/readyz/linearizable_read': /^ok\n$/,
  '/version': /"etcdserver":"3/,
};

describe('flags of TLS', { timeout: 120_000, skip: missingTools('openssl', 'go') }, () => {
  let made: Certificates;
  before(() => {
    made = makeCertificates();
  });
  after(() => made?.remove());

  it('let allowed clients in by etcdctl, refuse revoked ones and others, and hold for the metrics’ pages', async () => {
    const etcdctl = await requireTool('etcdctl');
    const { authority, server, client } = made;
    const revoked = made.sign('revoked', 'extendedKeyUsage=clientAuth');
    const other = made.sign('other', 'extendedKeyUsage=clientAuth');
    const netsy = await startNetsy({
      listen: 'https://127.0.0.1:0',
      arguments: [
        ...['--cert-file', server.certFile, '--key-file', server.keyFile],
        ...['--trusted-ca-file', authority.certFile, '--client-crl-file', made.revoke(revoked)],
        ...['--client-cert-allowed-cn', 'client,revoked', '--tls-min-version', 'TLS1.3'],
        ...['--listen-metrics-urls', 'https://127.0.0.1:0,http://127.0.0.1:0'],
      ],
    });
    try {
      const put = async (who: Certificate): Promise<string> => {
        const flags = ['--cacert', authority.certFile, '--cert', who.certFile, '--key', who.keyFile];
        const all = ['--endpoints', netsy.endpoint, '--dial-timeout=2s', '--command-timeout=2s', ...flags];
        return (await promisify(execFile)(etcdctl, [...all, 'put', 'k', 'v'])).stdout;
      };
      assert.equal(await put(client), 'OK\n');
      await assert.rejects(put(other));
      await assert.rejects(put(revoked));
      assert.match(netsy.log(), /its common name is not allowed \(CN=other\)/);
      const [secure = '', plain = ''] = pagesOf(netsy);
      assert.match(await (await fetch(`${plain}/metrics`)).text(), /^etcd_server_has_leader 1$/m);
      assert.equal(
        (await fetch(`${plain}/v3/kv/range`, { method: 'POST' })).status,
        404,
        'pages and no more',
      );
      const page = (who?: Certificate, path = '/health'): Promise<string> =>
        new Promise((resolve, reject) => {
          const options = { ca: authority.cert, agent: false, ...(who && { cert: who.cert, key: who.key }) };
          get(`${secure}${path}`, options, (response) => readText(response).then(resolve, reject)).on(
            'error',
            reject,
          );
        });
      for (const [path, content] of Object.entries(PAGES)) {
        assert.match(await page(client, path), content, `https ${path}`);
        const response = await fetch(plain + path);
        assert.equal(response.status, 200, `http ${path}`);
        assert.match(await response.text(), content, `http ${path}`);
      }
      await assert.rejects(page());
      await assert.rejects(page(other));
    } finally {
      await netsy.stop();
    }
  });

  it('refuse plain text on every address but loopback unless --insecure is said', async () => {
    const words = ['--data-dir', temporaryDirectory(), '--listen-client-urls', 'http://0.0.0.0:0'];
    const { code, stderr } = runNetsy(words);
    assert.equal(code, 1);
    assert.equal(
      stderr,
      'netsy: --listen-client-urls: http://0.0.0.0:0 would serve other machines without TLS; use https:// with --cert-file and --key-file, or add --insecure\n',
    );
    const netsy = await startNetsy({ listen: 'http://0.0.0.0:0', arguments: ['--insecure'] });
    assert.match(netsy.log(), /--insecure: whoever is between this server and its clients/);
    await netsy.stop();
  });
});
