import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeCertificates } from '../support/certificates.ts';
import { requireTool } from '../support/go-tools.ts';
import { GoogleStorage } from '../support/google-storage.ts';
import { runNetsy, temporaryDirectory } from '../support/netsy.ts';
import { freePort, freePorts } from '../support/ports.ts';
import { startProcess, waitUntilReady } from '../support/process.ts';
import { commandsOf } from './site.ts';
import { puts, type Trial, type World } from './world.ts';

/** Of the pages below docs/. */
export function pageTrials(world: World): Record<string, Trial> {
  return { ...otherTrials(world), ...migratingTrials(world) };
}

function otherTrials(world: World): Record<string, Trial> {
  const { site } = world;
  return {
    'docs/gateway.md#the-json-gateway': ({ text }) => tryCurl(world, text),
    'docs/operations/commands.md#commands-and-what-they-end-with': async ({ text }) => {
      assert.match(await site.run(`${text}\ncomplete -p netsy`), /-F _netsy netsy/);
    },
    'docs/s3.md#google-cloud-storage': async ({ text }) => {
      const google = await GoogleStorage.start();
      const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret } = google.environment;
      const started = await site.serve(
        world.local(
          text,
          ['GOOG1E…', id],
          ['SECRET_ACCESS_KEY=…', `SECRET_ACCESS_KEY=${secret}`],
          ['s3://bucket/', `s3://${google.bucket}/`],
          // As the page says for an endpoint of another name.
          ['https://storage.googleapis.com', `${google.endpoint} --s3-dialect gcs`],
        ),
      );
      await site.run('etcdctl put on google');
      await started.stop();
      await google.stop();
      assert.deepEqual(google.refused, []);
    },
    'docs/security.md#tls': async ({ text }) => {
      const { code, stderr } = runNetsy(['--listen-client-urls', 'http://0.0.0.0:2379']);
      assert.deepEqual([code, stderr.trim()], [1, text]);
    },
    'docs/security.md#tls 2': ({ text }) => tryTls(world, text),
    'docs/simulation.md#the-simulation': async ({ text }) => {
      const one = commandsOf(text).map((line) => line.replace(/ {2,}.*$/, ''));
      // The others differ in how long they take; their flags are looked at with those of all scripts.
      const seed = one.find((line) => line.endsWith('-- --seed 42'));
      assert.match(await site.run(seed ?? 'false'), /42/);
    },
  };
}

/** Each `curl`, and that it prints what the comments below it say, where … stands for anything. */
async function tryCurl({ site }: World, text: string): Promise<void> {
  const started = await site.serve(`netsy --data-dir '${temporaryDirectory()}'`);
  const lines = text.replaceAll('http://127.0.0.1:2379', site.endpoint).split('\n');
  for (const [index, line] of lines.entries()) {
    if (line.startsWith('#')) continue;
    const after = lines.slice(index + 1);
    const said = after.slice(
      0,
      after.concat('').findIndex((one) => !one.startsWith('#')),
    );
    const expected = new RegExp(said.map((one) => patternOf(one.slice(2))).join('\\s*'));
    if (!line.includes('curl -N')) assert.match(await site.run(line), expected);
    else {
      const put = lines.find((one) => one.includes('/kv/put'))!;
      const isTold = async (output: string): Promise<boolean> => {
        await site.run(put);
        return expected.test(output);
      };
      await (await site.start(line, isTold)).stop();
    }
  }
  await started.stop();
}

function patternOf(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&').replaceAll('…', '.*');
}

async function tryTls({ site }: World, text: string): Promise<void> {
  const certificates = makeCertificates();
  const { authority, server, client } = certificates;
  const port = await freePort();
  const [serving, getting] = commandsOf(text).map((command) =>
    command
      .replaceAll(/(0\.0\.0\.0|db\.example):2379/g, `127.0.0.1:${port}`)
      .replaceAll(/\btls\.(crt|key)\b/g, (_, kind) => (kind === 'crt' ? server.certFile : server.keyFile))
      .replaceAll(/\b(?:clients|server)-ca\.crt\b/g, authority.certFile)
      .replaceAll(/\bclient\.crt\b/g, client.certFile)
      .replaceAll(/\bclient\.key\b/g, client.keyFile),
  );
  const started = await site.start(`${serving} --data-dir '${temporaryDirectory()}'`, (output) =>
    output.includes('"serving"'),
  );
  await site.run(getting!.replace(' get k', ' put k value'));
  assert.match(await site.run(getting!), /^k\nvalue\n/);
  await started.stop();
  certificates.remove();
}

function migratingTrials(world: World): Record<string, Trial> {
  const { site } = world;
  let old = '';
  let started: { stop(): Promise<void> } | undefined;
  return {
    'docs/migrating.md#from-etcd': async ({ text }) => {
      old = (await world.oldEtcd()).endpoint;
      const store = ['s3://bucket/prefix', 's3://bucket/from-etcd'] as const;
      started = await site.serve(world.local(text, ['http://old:2379', old], store), world.s3);
    },
    'docs/migrating.md#from-etcd 2': async ({ text }) => {
      const said = await site.run(world.local(text, ['http://old:2379', old]));
      const hashes = said
        .trim()
        .split('\n')
        .map((line) => line.split(', ')[1]);
      assert.equal(hashes.length, 2);
      assert.equal(hashes[0], hashes[1], said);
      await started?.stop();
    },
    'docs/migrating.md#from-kine': async ({ text }) => {
      old = await startKine(world);
      started = await site.serve(`netsy --data-dir '${temporaryDirectory()}'`);
      await site.run(world.local(text, ['http://old:2379', old]));
    },
    'docs/migrating.md#from-kine 2': async ({ text }) => {
      assert.equal((await site.run(world.local(text))).trim(), '');
      assert.match(await site.run('etcdctl get /registry/binary -w json'), /"value":"AAECw/);
      await site.run('etcdctl del /registry/a');
      const script = world.local(text);
      await assert.rejects(site.run(script), /L3JlZ2lzdHJ5L2E=/, 'a key that lacks is told');
      await started?.stop();
    },
    'docs/migrating.md#from-netsy-for-go': async ({ text }) => {
      const script = world.local(text, ['s3://bucket/prefix', 's3://bucket/from-go']);
      assert.match(await site.run(script, world.s3), /imported s3:\/\/old-bucket\/prefix .*revision 62/);
    },
  };
}

/** kine on SQLite, with keys such as Kubernetes has: binary, large, and with a lease. Gives its URL. */
async function startKine(world: World): Promise<string> {
  const { site } = world;
  const directory = temporaryDirectory();
  const [port, metrics] = await freePorts(2);
  const endpoint = `http://127.0.0.1:${port}`;
  const kine = await startProcess({
    command: await requireTool('kine'),
    arguments: [
      ...['--listen-address', `127.0.0.1:${port}`, '--metrics-bind-address', `127.0.0.1:${metrics}`],
      ...['--endpoint', `sqlite://${directory}/state.db`],
    ],
    logFile: join(directory, 'kine.log'),
  });
  world.keep(kine);
  const isUp = (): boolean => spawnSync('bash', ['-c', `echo > /dev/tcp/127.0.0.1/${port}`]).status === 0;
  await waitUntilReady(kine, async () => isUp());
  const values = join(site.directory, 'values');
  mkdirSync(values);
  writeFileSync(join(values, 'binary'), Buffer.from([0, 1, 2, 0xc3, 0, 0x28, 10, 10]));
  // Longer than an argument of a command may be.
  writeFileSync(join(values, 'large'), 'x'.repeat(300_000));
  await site.run(
    [
      puts(endpoint, '"a value"'),
      `etcdctl --endpoints ${endpoint} put /registry/a 'spaces and "quotes" \\ and $'`,
      `etcdctl --endpoints ${endpoint} put /registry/binary < values/binary`,
      `etcdctl --endpoints ${endpoint} put /registry/large < values/large`,
      `etcdctl --endpoints ${endpoint} lease grant 60`,
      `etcdctl --endpoints ${endpoint} put --lease=3c /registry/events/1 gone`,
    ].join('\n'),
  );
  return endpoint;
}
