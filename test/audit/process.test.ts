import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { KV } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import type { Client } from '../crash/client.ts';
import { Nodes, STORE_KINDS, type StoreKind } from '../crash/nodes.ts';
import { MAIN, temporaryDirectory, untilLogged } from '../support/netsy.ts';

interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** One of the commands, while servers go on. */
async function run(words: readonly string[], environment: Readonly<Record<string, string>>): Promise<Run> {
  const child = spawn(process.execPath, [MAIN, ...words], { env: { ...process.env, ...environment } });
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'exit') as Promise<[number]>,
  ]);
  return { code, stdout, stderr };
}

/** Every file and directory of a store, and when it was changed last: nothing can be made and deleted unseen. */
function marks(directory: string): string[] {
  const below = readdirSync(directory, { recursive: true, encoding: 'utf8' });
  return ['.', ...below.sort()].map((name) => {
    const { size, mtimeMs } = statSync(join(directory, name));
    return `${name} ${size} ${mtimeMs}`;
  });
}

/** Changes a bit in the middle of an object. */
function flipBit(path: string): void {
  const bytes = readFileSync(path);
  bytes[bytes.length >> 1]! ^= 1;
  writeFileSync(path, bytes);
}

/** Writes until it is told to stop; resolves to how often it did. */
async function load(client: Client, stopping: AbortSignal): Promise<number> {
  let writes = 0;
  for (; !stopping.aborted; writes++) {
    const value = Buffer.from('x'.repeat(writes % 10 === 0 ? 30_000 : 100));
    await client.call(KV.method.put, { key: Buffer.from(`key-${writes % 20}`), value });
  }
  return writes;
}

async function underLoad(kind: StoreKind, url: string, nodes: Nodes): Promise<void> {
  const node = await nodes.start({ arguments: ['--snapshot-records', '20', '--hedge-after', 'off'] });
  const client = nodes.client(node);
  const stopping = new AbortController();
  const loads = Promise.all([client, nodes.client(node)].map((one) => load(one, stopping.signal)));
  // A failure below ends the server under them: the test fails for that, not for this.
  loads.catch(() => {});
  await untilLogged(node, /wrote a snapshot/);
  const verifying = await run(['verify', url, '--json'], kind.environment);
  assert.equal(verifying.code, 0, verifying.stdout + verifying.stderr);
  const result = JSON.parse(verifying.stdout) as Record<string, unknown>;
  assert.deepEqual([result['whole'], result['damages']], [true, []]);
  assert.ok((result['snapshots'] as unknown[]).length > 0);
  assert.match(verifying.stderr, /^\{"level":"info",.*"command":"verify","msg":"reading /);
  const said = await run(['status', url], kind.environment);
  assert.equal(said.code, 0, said.stderr);
  assert.match(said.stdout, /^epoch +1$/m);
  assert.match(said.stdout, /^primary +default \([0-9a-f]+\) at http:.*, lease renewed \d+ s ago$/m);
  assert.match(said.stdout, /^end of log +revision \d+, 20.*Z, sequence \d+$/m);
  assert.match(said.stdout, /^snapshot +sequence \d+, revision \d+/m);
  assert.doesNotMatch(said.stdout, /^odd/m);
  stopping.abort();
  await loads;
  assert.equal(await node.stop(), 'exit code 0');
}

for (const { name, skip, make } of STORE_KINDS) {
  describe(`netsy verify and netsy status on ${name}`, { timeout: 180_000, skip }, () => {
    it('work beside a server that writes, change nothing, and find what was damaged', async () => {
      const kind = await make();
      const nodes = new Nodes(kind);
      const { url } = nodes;
      const { environment } = kind;
      const directory = kind.directory(url);
      try {
        await underLoad(kind, url, nodes);
        const before = marks(directory);
        const [verified, status] = [
          await run(['verify', url], environment),
          await run(['status', '--store', url, '--json'], environment),
        ];
        assert.equal(verified.code, 0, verified.stdout + verified.stderr);
        assert.match(verified.stdout, /compared with the state by the chunks since the start of the log/);
        assert.match(verified.stdout, / is whole: \d+ chunks and \d+ snapshots/);
        const { end, primary } = JSON.parse(status.stdout) as Record<string, Record<string, unknown>>;
        assert.equal(primary!['state'], 'released');
        assert.deepEqual(marks(directory), before, 'nothing in the store has changed');
        flipBit(join(directory, `chunks/${String(end!['sequence']).padStart(19, '0')}.netsy`));
        const damaged = await run(['verify', url], environment);
        assert.equal(damaged.code, 1, damaged.stdout + damaged.stderr);
        assert.match(damaged.stdout, /^damage: chunks\/\d+\.netsy: .* at byte \d+: .*expected .*, found /m);
        assert.match(damaged.stdout, / is damaged in 1 place: /);
        assert.match(
          (await run(['status', url], environment)).stdout,
          /^odd +chunks\/\d+\.netsy: is damaged/m,
        );
      } finally {
        await nodes.end();
        await kind.remove();
      }
    });
  });
}

describe('netsy verify', () => {
  const cases: readonly (readonly [words: string[], line: RegExp])[] = [
    [['/nowhere/at/all'], /there is no directory \/nowhere\/at\/all$/],
    [[temporaryDirectory()], /holds no log: nothing to verify; is it the right bucket and prefix\?$/],
    [['--store'], /argument missing$/],
    [['one', 'two'], /too many arguments/],
    [['one', '--store', 'file:///two'], /the store is named already, one; leave one of the two out$/],
    [['http://x/y'], /is not a store; use file:\/\/\/DIR or s3:\/\/BUCKET\/PREFIX$/],
  ];
  for (const [words, line] of cases) {
    it(`exits with code 2 and one line for ${words.join(' ')}`, async () => {
      const { code, stdout, stderr } = await run(['verify', ...words], {});
      assert.deepEqual([code, stdout], [2, '']);
      assert.match(stderr.trimEnd(), line);
      assert.equal(
        stderr.trimEnd().split('\n').at(-1),
        stderr.trimEnd().split('\n')[stderr.includes('reading') ? 1 : 0],
      );
    });
  }
});
