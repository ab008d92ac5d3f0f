import assert from 'node:assert/strict';
import { cpSync, readdirSync, readFileSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { Ledger } from '../crash/ledger.ts';
import { newSite, type Site, withSite } from '../crash/victim-process.ts';
import { copyLog } from '../support/log-objects.ts';
import { runNetsy, serverArguments, temporaryDirectory } from '../support/netsy.ts';
import { Seeded } from '../support/seeded.ts';

/** More chunks than a pipeline may leave beyond a gap. */
const OPERATIONS = 60;

describe('a damaged log', { timeout: 120_000 }, () => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
  const seeded = new Seeded(seed);
  const ledger = new Ledger(seed, 8);
  let whole: Site;

  before(async () => {
    whole = newSite(['--batch-max-requests', '2']);
    // Two terms, each longer than a pipeline is deep.
    for (let term = 0; term < 2; term++) {
      await withSite(whole, ledger, 'kill', (client) => ledger.load(client, { operationsMax: OPERATIONS }));
    }
  });

  /** A copy of the log without a cache, and its chunks in order. */
  function copy(): { site: Site; chunks: string[]; path: (name: string) => string } {
    const dataDir = temporaryDirectory();
    copyLog(join(whole.dataDir, 'store'), join(dataDir, 'store'));
    const directory = join(dataDir, 'store', 'chunks');
    const path = (name: string): string => join(directory, name);
    return { site: { ...whole, dataDir }, chunks: readdirSync(directory).sort(), path };
  }

  /** The one line that a start that must fail says last. */
  function refusal(site: Site): string {
    const { code, stderr } = runNetsy(serverArguments(site), {}, 60_000);
    assert.equal(code, 1, stderr);
    const lines = stderr.trimEnd().split('\n');
    const last = lines[lines.length - 1]!;
    assert.match(last, /^\{"level":"error"/, stderr);
    assert.doesNotMatch(stderr, /^ {4}at /m, 'no stack');
    return last;
  }

  it('is read when it is whole, by a start without a cache', async (test) => {
    test.diagnostic(`SEED=${seed}`);
    await withSite(copy().site, ledger, 'stop');
  });

  for (const part of ['header', 'middle', 'end'] as const) {
    it(`is refused, naming the chunk, when one bit of a chunk's ${part} is flipped`, (test) => {
      const { site, chunks, path } = copy();
      const name = chunks[seeded.integer(1, chunks.length - 1)]!;
      const bytes = readFileSync(path(name));
      const at = { header: seeded.integer(1, 20), middle: bytes.length >> 1, end: bytes.length - 1 }[part];
      const bit = seeded.integer(0, 8);
      bytes[at]! ^= 1 << bit;
      writeFileSync(path(name), bytes);
      test.diagnostic(`SEED=${seed}: bit ${bit} of byte ${at} of ${bytes.length} of ${name}`);
      const said = refusal(site);
      assert.ok(said.includes(`chunks/${name}`), said);
      test.diagnostic(said);
    });
  }

  it('is refused, naming the chunk, when a chunk is truncated or empty', (test) => {
    const { site, chunks, path } = copy();
    const name = chunks[seeded.integer(1, chunks.length - 1)]!;
    const { length } = readFileSync(path(name));
    for (const size of [length - 1, length >> 1, 3, 0]) {
      truncateSync(path(name), size);
      const said = refusal(site);
      assert.ok(said.includes(`chunks/${name}`), said);
      test.diagnostic(`${size} of ${length}: ${said}`);
    }
  });

  it('is refused, naming the chunk, when a chunk stands under another name', () => {
    const { site, chunks, path } = copy();
    const [name, other] = [chunks[10]!, chunks[11]!];
    cpSync(path(other), path(name));
    assert.ok(refusal(site).includes(`chunks/${name}`));
  });

  it('is refused, naming the missing chunk, when one is deleted from its middle', (test) => {
    for (const index of [0, 1, 20]) {
      const { site, chunks, path } = copy();
      rmSync(path(chunks[index]!));
      const said = refusal(site);
      assert.match(said, new RegExp(`chunk ${Number.parseInt(chunks[index]!, 10)} is missing`));
      test.diagnostic(said);
    }
  });

  it('is refused when an epoch chunk is deleted', () => {
    const { site, chunks, path } = copy();
    const numbers = chunks.map((name) => Number.parseInt(name, 10));
    const epoch = chunks[numbers.findIndex((number, index) => numbers[index + 1]! > number + 1)]!;
    rmSync(path(epoch));
    assert.match(refusal(site), new RegExp(`chunk ${Number.parseInt(epoch, 10)} is missing`));
  });

  it('is refused when a chunk before an epoch chunk is deleted, however short the log is', async () => {
    const site = newSite();
    const short = new Ledger(seed, 4);
    await withSite(site, short, 'kill', (client) => short.load(client, { operationsMax: 4 }));
    await withSite(site, short, 'kill');
    rmSync(join(site.dataDir, 'cache'), { recursive: true });
    const directory = join(site.dataDir, 'store', 'chunks');
    const name = readdirSync(directory).sort()[3]!;
    renameSync(join(directory, name), join(site.dataDir, name));
    assert.match(refusal(site), new RegExp(`chunk ${Number.parseInt(name, 10)} is missing`));
    renameSync(join(site.dataDir, name), join(directory, name));
    await withSite(site, short, 'stop');
  });
});
