import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { KV } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { bytes, EtcdClient, text } from '../support/etcd-client.ts';
import { serverArguments, temporaryDirectory } from '../support/netsy.ts';
import { freePort } from '../support/ports.ts';
import { type RunningProcess, startProcess, waitUntilReady } from '../support/process.ts';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
/** Of packages that are compiled where they are installed, which takes a minute: taken from our own installation. */
const COMPILED = 'node_modules/better-sqlite3/build';

function npm(directory: string, ...words: string[]): string {
  return execFileSync('npm', words, { cwd: directory, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

describe('the packed package, installed into an empty folder', { timeout: 300_000 }, () => {
  const folder = temporaryDirectory();
  let server: RunningProcess | undefined;

  before(() => {
    const packed = npm(ROOT, 'pack', '--ignore-scripts', '--pack-destination', folder, '--json');
    const [{ filename }] = JSON.parse(packed) as [{ filename: string }];
    writeFileSync(join(folder, 'package.json'), '{"private":true}');
    const tarball = join(folder, filename);
    npm(folder, 'install', '--prefer-offline', '--no-audit', '--no-fund', '--ignore-scripts', tarball);
    mkdirSync(join(folder, COMPILED), { recursive: true });
    cpSync(join(ROOT, COMPILED), join(folder, COMPILED), { recursive: true, dereference: true });
  });
  after(() => server?.stop());

  it('has nothing of the tests and benches in it', () => {
    const installed = join(folder, 'node_modules/netsy');
    for (const part of ['dist/netsy/main.cjs', 'README.md', 'LICENSE', 'docs/operations/deploying.md']) {
      assert.ok(existsSync(join(installed, part)), `${part} is missing`);
    }
    for (const part of ['dist/test', 'dist/bench', 'dist/src', 'dist/netsy/victim.cjs', 'test']) {
      assert.ok(!existsSync(join(installed, part)), `${part} is there`);
    }
    // Of what is not compiled, nothing but what starts the rest.
    assert.deepEqual(readdirSync(join(installed, 'src'), { recursive: true }), ['main', 'main/netsy.sh']);
  });

  it('npx netsy says what it is and what it takes', () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
    assert.match(npm(folder, 'exec', '--offline', '--', 'netsy', '--version'), new RegExp(version));
    assert.match(npm(folder, 'exec', '--offline', '--', 'netsy', '--help'), /--store/);
  });

  it('npx netsy serves', async () => {
    const port = await freePort();
    const listen = `http://127.0.0.1:${port}`;
    const dataDir = join(folder, 'data');
    server = await startProcess({
      command: join(folder, 'node_modules/.bin/netsy'),
      arguments: serverArguments({ dataDir, listen }),
      environment: {},
      logFile: join(folder, 'netsy.log'),
    });
    const ready = async (): Promise<boolean> =>
      (await fetch(`${listen}/readyz`).catch(() => undefined))?.ok === true;
    await waitUntilReady(server, ready, 60_000, 50);
    const client = new EtcdClient(`127.0.0.1:${port}`);
    await client.call(KV.method.put, { key: bytes('greeting'), value: bytes('hello') });
    const { kvs } = await client.call(KV.method.range, { key: bytes('greeting') });
    client.close();
    assert.deepEqual(
      kvs.map(({ value }) => text(value)),
      ['hello'],
    );
  });
});
