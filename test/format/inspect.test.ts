import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { inspectFiles } from '../../src/main/inspect.ts';
import { encodeFile } from '../../src/shared/format/encode.ts';
import { FIXTURE_SNAPSHOT, fixtureChunks } from './fixtures.ts';
import { sampleHeader, sampleRecords } from './samples.ts';

type Line = Record<string, Record<string, unknown>>;

async function inspect(paths: string[]): Promise<{ exitCode: number; lines: Line[] }> {
  const lines: Line[] = [];
  const exitCode = await inspectFiles(paths, (line) => lines.push(JSON.parse(line)));
  return { exitCode, lines };
}

/** A path of a file with these bytes, gone when the test ends. */
function fileOf(context: TestContext, bytes: Uint8Array): string {
  const folder = mkdtempSync(join(tmpdir(), 'netsy-inspect-'));
  context.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'file.netsy');
  writeFileSync(path, bytes);
  return path;
}

const flip = (bytes: Uint8Array, at: number): Buffer => {
  const copy = Buffer.from(bytes);
  copy[at]! ^= 1;
  return copy;
};

test("inspect prints header, records and footer of all of Netsy for Go's files", async () => {
  const paths = [FIXTURE_SNAPSHOT, ...fixtureChunks()];
  const { exitCode, lines } = await inspect(paths);
  assert.equal(exitCode, 0);
  assert.equal(lines.filter((line) => line['header']).length, paths.length);
  assert.equal(lines.filter((line) => line['footer']).length, paths.length);
  const header = lines[0]!;
  assert.equal(header['file'], FIXTURE_SNAPSHOT);
  assert.equal(header['header']?.['kind'], 'Snapshot');
  const record = lines[1]?.['record'];
  assert.equal(record?.['keyText'], '/registry/pods/default/p000');
  assert.equal(record?.['key'], Buffer.from('/registry/pods/default/p000').toString('base64'));
});

test('inspect prints every log operation of ours, 64-bit values exact', async (context) => {
  const path = fileOf(context, encodeFile(sampleHeader(), sampleRecords()).bytes);
  const { exitCode, lines } = await inspect([path]);
  assert.equal(exitCode, 0);
  assert.equal(lines[0]?.['header']?.['previousChunkCrc'], '0xf123456789abcdef');
  assert.deepEqual(
    lines.slice(1, -1).map((line) => line['record']?.['operation']),
    ['KeyValue', 'KeyValue', 'LeaseGrant', 'LeaseRevoke', 'Compaction', 'System', 'Epoch', 'ImportEnd'],
  );
  assert.equal(lines[3]?.['record']?.['lease'], '4611686018427387905');
  assert.match(String(lines.at(-1)?.['footer']?.['crc']), /^0x[0-9a-f]{16}$/);
});

test('inspect says which CRC fails, prints what is before it and goes on with the next file', async (context) => {
  const { bytes, header } = encodeFile(sampleHeader(), sampleRecords());
  const second = header.length + 1 + bytes[header.length]!;
  const path = fileOf(context, flip(bytes, second + 30));
  const { exitCode, lines } = await inspect([path, FIXTURE_SNAPSHOT]);
  assert.equal(exitCode, 1);
  assert.deepEqual(Object.keys(lines[0]!), ['file', 'header']);
  assert.equal(lines[1]?.['record']?.['sub'], 0);
  const { message, expected, found, ...place } = lines[2]!['error']!;
  assert.deepEqual(place, { part: 'record', index: 1, offset: second, check: 'CRC64' });
  assert.match(String(message), new RegExp(`CRC64: expected ${expected}, found ${found}`));
  assert.equal(lines[3]?.['header']?.['recordsCount'], 40);
});

test('inspect names a damaged header, damaged compression and a file that is not there', async (context) => {
  const go = readFileSync(FIXTURE_SNAPSHOT);
  const badHeader = fileOf(context, flip(go, 30));
  const badFrame = fileOf(context, go.subarray(0, -20));
  const { exitCode, lines } = await inspect([badHeader, badFrame, '/nowhere/x.netsy']);
  assert.equal(exitCode, 1);
  assert.equal(lines[0]?.['error']?.['part'], 'header');
  assert.equal(lines[1]?.['header']?.['compression'], 'Zstd');
  assert.equal(lines[2]?.['error']?.['part'], 'compression');
  assert.match(String(lines[3]?.['error']?.['message']), /ENOENT.*\/nowhere\/x\.netsy/);
});
