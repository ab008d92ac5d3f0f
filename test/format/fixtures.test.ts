import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { FileKind } from '../../src/shared/format/file.ts';
import type { LogRecord } from '../../src/shared/model/record.ts';
import { decodeObject, expectedKeys, FIXTURE_SNAPSHOT, fixtureChunks } from './fixtures.ts';

async function recordsOf(paths: string[]): Promise<LogRecord[]> {
  const files = await Promise.all(paths.map((path) => decodeObject(readFileSync(path), path)));
  return files.flatMap((file) => file.records);
}

/** The keys that are there after `records`, as etcdctl prints them. */
function finalKeys(records: LogRecord[]): object[] {
  const keys = new Map<string, LogRecord>();
  for (const record of records) {
    const key = Buffer.from(record.key).toString('latin1');
    if (record.deleted) keys.delete(key);
    else keys.set(key, record);
  }
  return [...keys.keys()].sort().map((key) => {
    const { createRevision, revision, version, value } = keys.get(key)!;
    return {
      key: Buffer.from(key, 'latin1').toString('base64'),
      create_revision: createRevision,
      mod_revision: revision,
      version,
      value: Buffer.from(value).toString('base64'),
    };
  });
}

test("Netsy for Go's chunks, replayed, are what etcdctl said of the keys", async () => {
  const paths = fixtureChunks();
  assert.equal(paths.length, 62);
  const records = await recordsOf(paths);
  assert.deepEqual(
    records.map((record) => record.revision),
    Array.from({ length: 62 }, (_, index) => index + 1),
  );
  assert.deepEqual(finalKeys(records), expectedKeys());
});

test("Netsy for Go's snapshot and the later chunks are what etcdctl said of the keys", async () => {
  const snapshot = await decodeObject(readFileSync(FIXTURE_SNAPSHOT), FIXTURE_SNAPSHOT);
  assert.equal(snapshot.header.kind, FileKind.Snapshot);
  const later = await recordsOf(fixtureChunks().slice(snapshot.footer.lastRevision));
  assert.equal(later[0]?.revision, snapshot.footer.lastRevision + 1);
  assert.deepEqual(finalKeys([...snapshot.records, ...later]), expectedKeys());
});

test("Netsy for Go's header and record fields are read as they were written", async () => {
  const path = fixtureChunks()[0]!;
  const { header, records, footer } = await decodeObject(readFileSync(path), path);
  assert.deepEqual(
    { kind: header.kind, count: header.recordsCount, sequence: header.sequence, leader: header.leaderId },
    { kind: FileKind.Chunk, count: 1, sequence: 0, leader: 'knc0000000001r010000000000000' },
  );
  assert.deepEqual(
    { first: footer.firstRevision, last: footer.lastRevision, headerCrc: footer.headerCrc },
    { first: 1, last: 1, headerCrc: 0n },
  );
  assert.equal(Buffer.from(records[0]!.key).toString(), '/registry/pods/default/p000');
  assert.equal(records[0]!.created, true);
  assert.equal(
    new Date(records[0]!.createdAtMs).getUTCFullYear(),
    new Date(header.createdAtMs).getUTCFullYear(),
  );
});
