import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { get, type RequestOptions } from 'node:https';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { makeCertificates } from '../support/certificates.ts';
import { runNetsy, startNetsy, temporaryDirectory } from '../support/netsy.ts';
import { freePort } from '../support/ports.ts';
import { missingTools } from '../support/tools.ts';

const OPERATIONS = fileURLToPath(new URL('../../../docs/operations/', import.meta.url));

function read(file: string): string {
  return readFileSync(OPERATIONS + file, 'utf8');
}

/** Milliseconds of a duration in whole seconds that `help` gives as the default of a flag. */
function defaultSeconds(help: string, flag: string): number {
  const found = new RegExp(`${flag} <[^>]+>[\\s\\S]*?\\(default:?\\s+"?(\\d+)s`).exec(help);
  assert.ok(found, `${flag} has a default in seconds`);
  return Number(found[1]);
}

async function statusOf(url: string, options: RequestOptions): Promise<number | undefined> {
  const [response] = (await once(get(url, options), 'response')) as [IncomingMessage];
  response.resume();
  return response.statusCode;
}

describe('the files to deploy with', () => {
  const help = runNetsy(['--help']).stdout;
  const flags = new Set([...help.matchAll(/--[a-z][a-z0-9-]+/g)].map(([flag]) => flag));

  it('kubernetes.yaml gives the server flags that it has', () => {
    const given = [...read('kubernetes.yaml').matchAll(/^ +- (--[a-z0-9-]+)/gm)].map(([, flag]) => flag!);
    assert.ok(given.length >= 8, 'it gives flags');
    assert.deepEqual(
      given.filter((flag) => !flags.has(flag)),
      [],
    );
  });

  it('kubernetes.yaml starts a server whose probes answer, and whose clients need a certificate', {
    skip: missingTools('openssl'),
  }, async () => {
    const manifests = read('kubernetes.yaml');
    const made = makeCertificates();
    const here: Record<string, string> = {
      '--name': 'netsy-0',
      '--store': `file://${temporaryDirectory()}/store`,
      '--data-dir': temporaryDirectory(),
      '--listen-client-urls': 'https://127.0.0.1:0',
      '--listen-metrics-urls': 'http://127.0.0.1:0',
      '--cert-file': made.server.certFile,
      '--key-file': made.server.keyFile,
      '--trusted-ca-file': made.authority.certFile,
    };
    const words = [...manifests.matchAll(/^ +- (--[a-z0-9-]+)(=\S+)?$/gm)].map(
      ([, flag = '', value = '']) => flag + (here[flag] === undefined ? value : `=${here[flag]}`),
    );
    const netsy = await startNetsy({ arguments: words });
    try {
      const serving =
        netsy
          .log()
          .split('\n')
          .find((line) => line.includes('"msg":"serving"')) ?? '{}';
      const { metrics } = JSON.parse(serving) as { metrics: string[] };
      const probes = [...manifests.matchAll(/httpGet: { path: (\S+), port: metrics }/g)];
      assert.equal(probes.length, 3);
      for (const [, path] of probes) assert.equal((await fetch(`${metrics[0]}${path}`)).status, 200, path);
      const { authority, client } = made;
      assert.equal(await statusOf(`${netsy.endpoint}/readyz`, { ca: authority.cert, ...client }), 200);
      await assert.rejects(
        statusOf(`${netsy.endpoint}/readyz`, { ca: authority.cert }),
        /certificate required/,
      );
    } finally {
      assert.equal(await netsy.stop(), 'exit code 0');
      made.remove();
    }
  });

  it('their environment variables are those of flags', () => {
    const names = ['Dockerfile', 'netsy.service', 'deploying.md'].flatMap((file) => [
      ...read(file).matchAll(/NETSY_[A-Z][A-Z0-9_]*/g),
    ]);
    assert.ok(names.length >= 3, 'they name some');
    for (const [name] of names) {
      const flag = `--${name.slice('NETSY_'.length).toLowerCase().replaceAll('_', '-')}`;
      assert.ok(flags.has(flag), `${name}: there is no ${flag}`);
    }
  });

  it('a stop has longer than --drain-timeout, so that nothing is cut off', () => {
    const drain = defaultSeconds(help, '--drain-timeout');
    const unit = Number(/^TimeoutStopSec=(\d+)$/m.exec(read('netsy.service'))?.[1]);
    const pod = Number(/terminationGracePeriodSeconds: (\d+)$/m.exec(read('kubernetes.yaml'))?.[1]);
    const container = Number(/--stop-timeout (\d+) /.exec(read('deploying.md'))?.[1]);
    assert.ok(container > drain, `the container gives ${container} s, the server takes up to ${drain} s`);
    assert.ok(unit > drain, `the unit gives ${unit} s, the server takes up to ${drain} s`);
    assert.ok(pod > drain, `the pod gives ${pod} s, the server takes up to ${drain} s`);
  });

  it('no budget keeps a node from being drained: a standby is not ready, so the primary could never be evicted', () => {
    const manifests = read('kubernetes.yaml');
    assert.match(manifests, /readinessProbe:\s+httpGet: { path: \/readyz, /);
    assert.doesNotMatch(manifests, /^kind: PodDisruptionBudget/m);
  });

  it('the Dockerfile starts what the package has as its program', () => {
    const { bin } = JSON.parse(readFileSync(`${OPERATIONS}../../package.json`, 'utf8')) as {
      bin: { netsy: string };
    };
    assert.ok(read('Dockerfile').includes(`/netsy/${bin.netsy}`));
  });

  it('the image has a first process that SIGTERM reaches before netsy has a handler', () => {
    assert.match(read('Dockerfile'), /install -y --no-install-recommends tini /);
    assert.match(read('Dockerfile'), /^ENTRYPOINT \["tini", "--", "/m);
  });

  it("the image's check of health is answered by a server that talks TLS to its clients", {
    skip: missingTools('openssl'),
  }, async () => {
    const dockerfile = read('Dockerfile');
    const [, pages = ''] = /NETSY_LISTEN_METRICS_URLS=(\S+)/.exec(dockerfile) ?? [];
    const command = JSON.parse(/^ +CMD (\[.*\])$/m.exec(dockerfile)?.[1] ?? '[]') as string[];
    const [program, ...words] = command.map((word) => (word === 'node' ? process.execPath : word));
    assert.ok(words.join(' ').includes(`${pages}/livez`), `it asks ${pages}`);
    const made = makeCertificates();
    const here = `http://127.0.0.1:${await freePort()}`;
    const check = (): number | null =>
      spawnSync(
        program!,
        words.map((word) => word.replace(pages, here)),
      ).status;
    assert.equal(check(), 1, 'nobody is there');
    const { certFile, keyFile } = made.server;
    const netsy = await startNetsy({
      arguments: [
        '--cert-file',
        certFile,
        '--key-file',
        keyFile,
        '--listen-client-urls',
        'https://127.0.0.1:0',
      ],
      environment: { NETSY_LISTEN_METRICS_URLS: here },
    });
    try {
      assert.equal(check(), 0);
    } finally {
      assert.equal(await netsy.stop(), 'exit code 0');
      made.remove();
    }
  });

  it('an image is made of nothing that a clone has beside its sources', () => {
    const ignored = (file: string): string[] =>
      readFileSync(`${OPERATIONS}../../${file}`, 'utf8')
        .split('\n')
        .filter((line) => line !== '' && !line.startsWith('#'))
        .map((line) => line.replace(/\/$/, ''));
    const left = new Set(ignored('.dockerignore'));
    assert.deepEqual(
      ignored('.gitignore').filter((line) => line !== 'netsy.cdx.json' && !left.has(line)),
      [],
    );
    assert.ok(left.has('.git'));
  });
});
