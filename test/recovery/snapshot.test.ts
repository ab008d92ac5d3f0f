import assert from 'node:assert/strict';
import { cpSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { inspectFiles } from '../../src/main/inspect.ts';
import { KV } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import type { Client } from '../crash/client.ts';
import { Ledger } from '../crash/ledger.ts';
import { newSite, type Site, withSite } from '../crash/victim-process.ts';
import { copyLog, LogObjects } from '../support/log-objects.ts';
import { runNetsy, serverArguments, temporaryDirectory, untilLogged } from '../support/netsy.ts';
import { Seeded } from '../support/seeded.ts';

const BIG = 'big';
const OFTEN = ['--snapshot-records', '30'];
const NEVER = ['--snapshot-records', '1000000000', '--snapshot-age', '1000h'];

/** Something large enough that a few chunks are less than a snapshot. */
async function putAndDeleteBig(client: Client, seeded: Seeded): Promise<void> {
  const key = Buffer.from(BIG);
  await client.call(KV.method.put, { key, value: Buffer.from(seeded.text(1_000_000)) });
  await client.call(KV.method.deleteRange, { key });
}

describe('a log with snapshots', { timeout: 180_000 }, () => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
  const seeded = new Seeded(seed);
  const ledger = new Ledger(seed, 8);
  let whole: Site;
  let snapshots: [newest: number, second: number, third: number];

  before(async () => {
    whole = newSite();
    const others: string[] = [];
    const write = async (operationsMax: number, flags: readonly string[]): Promise<void> => {
      const site = { ...whole, arguments: [...whole.arguments, ...flags] };
      const verifying = { verify: (client: Client) => ledger.verify(client, others) } as Ledger;
      await withSite(site, verifying, 'kill', async (client, netsy) => {
        if (others.length === 0) await putAndDeleteBig(client, seeded);
        await ledger.load(client, { operationsMax });
        await untilLogged(netsy, /"msg":"wrote a snapshot"/);
        await ledger.load(client, { operationsMax: 1 });
      });
      others[0] = BIG;
    };
    const keep = (name: string): void =>
      cpSync(join(whole.dataDir, 'cache'), join(whole.dataDir, name), { recursive: true });
    await write(20, OFTEN);
    keep('first-cache');
    await write(50, OFTEN);
    keep('second-cache');
    // The last snapshot is only a few chunks later.
    await write(1, ['--snapshot-age', '1ms']);
    const [third, second, newest] = objectsOf(whole).sequences('snapshots').slice(-3);
    snapshots = [newest!, second!, third!];
  });

  function objectsOf(site: Site): LogObjects {
    return new LogObjects(join(site.dataDir, 'store'));
  }

  /** A copy of the log; without a cache unless it is named. */
  function copy(cache?: string): { site: Site; objects: LogObjects } {
    const dataDir = temporaryDirectory();
    copyLog(join(whole.dataDir, 'store'), join(dataDir, 'store'));
    if (cache !== undefined) cpSync(join(whole.dataDir, cache), join(dataDir, 'cache'), { recursive: true });
    const site = { ...whole, arguments: [...whole.arguments, ...NEVER], dataDir };
    return { site, objects: objectsOf(site) };
  }

  /** Starts it and checks that everything is there. */
  function start(site: Site): Promise<string> {
    const withBig = { verify: (client: Client) => ledger.verify(client, [BIG]) } as Ledger;
    return withSite(site, withBig, 'stop');
  }

  function refusal(site: Site): string {
    const { code, stderr } = runNetsy(serverArguments(site), {}, 60_000);
    assert.equal(code, 1, stderr);
    const lines = stderr.trimEnd().split('\n');
    return lines[lines.length - 1]!;
  }

  function deleteChunks(objects: LogObjects, isGone: (sequence: number) => boolean): void {
    for (const sequence of objects.sequences('chunks')) {
      if (isGone(sequence)) rmSync(objects.path('chunks', sequence));
    }
  }

  function flipBit(path: string): void {
    const bytes = readFileSync(path);
    bytes[seeded.integer(0, bytes.length)]! ^= 1 << seeded.integer(0, 8);
    writeFileSync(path, bytes);
  }

  const name = (sequence: number): string => `snapshots/${String(sequence).padStart(19, '0')}.netsy`;
  const loaded = (sequence: number): RegExp =>
    new RegExp(`"key":"${name(sequence)}",.*"msg":"loaded a snapshot"`);

  it('is recovered from the newest one and the chunks after it', async (test) => {
    test.diagnostic(`SEED=${seed}, snapshots ${snapshots.join()}`);
    const { site, objects } = copy();
    const log = await start(site);
    assert.match(log, loaded(snapshots[0]));
    const after = objects.sequences('chunks').filter((sequence) => sequence > snapshots[0]).length;
    assert.match(log, new RegExp(`"chunks":${after - 1},.*"msg":"followed the log"`), 'and no chunk before');
    assert.doesNotMatch(await start(site), /loaded a snapshot/, 'and once only');
  });

  const damages: Record<string, (path: string, size: number) => void> = {
    'has a bit flipped': (path) => flipBit(path),
    'is half there': (path, size) => truncateSync(path, size >> 1),
    'lacks its last byte': (path, size) => truncateSync(path, size - 1),
    'is empty': (path) => truncateSync(path, 0),
    'is that of another sequence': (path) => cpSync(objectsOf(whole).path('snapshots', snapshots[2]), path),
  };
  for (const [what, damage] of Object.entries(damages)) {
    it(`is recovered from the one before when the newest ${what}, which is reported`, async (test) => {
      test.diagnostic(`SEED=${seed}`);
      const { site, objects } = copy();
      const path = objects.path('snapshots', snapshots[0]);
      damage(path, readFileSync(path).length);
      const log = await start(site);
      assert.match(
        log,
        new RegExp(`"key":"${name(snapshots[0])}".*"msg":"snapshot is damaged; using the one before`),
      );
      assert.match(log, loaded(snapshots[1]));
    });
  }

  it('is recovered from its chunks alone when every snapshot is damaged and chunk 1 is there', async () => {
    const { site, objects } = copy();
    for (const sequence of objects.sequences('snapshots')) flipBit(objects.path('snapshots', sequence));
    assert.doesNotMatch(await start(site), /loaded a snapshot/);
  });

  it('has snapshots that netsy inspect reads', async () => {
    const lines: Record<string, Record<string, unknown>>[] = [];
    const path = objectsOf(whole).path('snapshots', snapshots[0]);
    assert.equal(await inspectFiles([path], (line) => lines.push(JSON.parse(line))), 0);
    assert.equal(lines[0]!['header']!['kind'], 'Snapshot');
    assert.equal(lines.length, Number(lines[0]!['header']!['recordsCount']) + 2);
    assert.ok(lines[lines.length - 1]!['footer']);
  });

  it('is whole when the chunks that its second snapshot holds are deleted', async () => {
    const { site, objects } = copy();
    deleteChunks(objects, (sequence) => sequence <= snapshots[1]);
    flipBit(objects.path('snapshots', snapshots[0]));
    assert.match(await start(site), loaded(snapshots[1]));
  });

  it('is refused when its beginning is deleted and no snapshot can be used', async () => {
    const { site, objects } = copy();
    deleteChunks(objects, (sequence) => sequence <= snapshots[1]);
    for (const sequence of objects.sequences('snapshots')) flipBit(objects.path('snapshots', sequence));
    const said = refusal(site);
    assert.match(said, /no snapshot can be used .* does not begin at chunk 1/);
    for (const sequence of snapshots) assert.ok(said.includes(name(sequence)), said);
  });

  it('is refused when a chunk of the part that is kept is missing', async (test) => {
    for (const [from, isDamaged] of [
      [snapshots[0], false],
      [snapshots[1], true],
    ] as const) {
      const { site, objects } = copy();
      // Two more epochs: before its end a log can't lack a chunk unnoticed.
      for (let term = 0; term < 2; term++) await start(site);
      rmSync(join(site.dataDir, 'cache'), { recursive: true });
      deleteChunks(objects, (sequence) => sequence <= snapshots[1]);
      const missing = objects.sequences('chunks').find((sequence) => sequence > from)!;
      rmSync(objects.path('chunks', missing));
      if (isDamaged) flipBit(objects.path('snapshots', snapshots[0]));
      const said = refusal(site);
      test.diagnostic(said);
      assert.match(said, new RegExp(`chunk ${missing} is missing|has lost chunks`));
    }
  });

  it('is refused when it ends before its newest snapshot does', async () => {
    const { site, objects } = copy();
    deleteChunks(objects, (sequence) => sequence >= snapshots[0]);
    flipBit(objects.path('snapshots', snapshots[0]));
    assert.match(refusal(site), /holds more: the log has lost chunks/);
  });

  it('keeps an older cache when the chunks that it lacks are less than a snapshot', async () => {
    const log = await start(copy('second-cache').site);
    assert.doesNotMatch(log, /loaded a snapshot|rebuilt/);
    assert.ok(Number(/"chunks":(\d+),.*"msg":"followed the log"/.exec(log)?.[1]) > 2, log);
  });

  it('fills an older cache anew from a snapshot when the chunks that it lacks are more', async () => {
    assert.match(await start(copy('first-cache').site), loaded(snapshots[0]));
  });

  it('fills an older cache anew from a snapshot when the chunks that it lacks are deleted', async () => {
    const { site, objects } = copy('first-cache');
    deleteChunks(objects, (sequence) => sequence <= snapshots[1]);
    // The cache may stand just where an older snapshot does, which would vouch for it; retention deletes those too.
    for (const sequence of objects.sequences('snapshots')) {
      if (sequence < snapshots[1]) rmSync(objects.path('snapshots', sequence));
    }
    const log = await start(site);
    assert.match(log, /"msg":"cache is not from this store and is rebuilt"/);
    assert.match(log, loaded(snapshots[0]));
  });
});
