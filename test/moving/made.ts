import { createHash } from 'node:crypto';
import { appendFileSync, closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type BoltEntry, BoltWriter } from '../../src/shared/bolt/writer.ts';
import { uint64Bytes } from '../../src/shared/etcd/database.ts';
import { revisionKey } from '../../src/shared/etcd/key-bucket.ts';
import { keyValueBytes } from '../../src/shared/etcd/responses.ts';
import { temporaryDirectory } from '../support/netsy.ts';

/** Entries of an etcd database besides its keys, by bucket. */
export type Extra = Readonly<Record<string, readonly BoltEntry[]>>;

/** The revision of an etcd database's first write. */
const FIRST = 2;

/** Puts of keys `key/0000000` and up, one per revision from 2 on. */
export function* puts(count: number, valueBytes: number): Generator<BoltEntry> {
  for (let index = 0; index < count; index++) {
    const revision = FIRST + index;
    const value = Buffer.alloc(valueBytes, `${index} `);
    const key = Buffer.from(`key/${String(index).padStart(7, '0')}`);
    const kv = { key, value, createRevision: revision, modRevision: revision, version: 1, lease: 0n };
    yield { key: revisionKey(revision, 0, false), value: keyValueBytes(kv) };
  }
}

/** An etcd snapshot with these keys, made without an etcd; its path. */
export function madeSnapshot(keys: Iterable<BoltEntry>, extra: Extra = {}): string {
  const path = join(temporaryDirectory(), 'made.db');
  const file = openSync(path, 'w');
  const writer = new BoltWriter((offset, pages) => void writeSync(file, pages, 0, pages.length, offset));
  writer.addBucket('key', keys);
  const meta = extra['meta'] ?? [{ key: Buffer.from('consistent_index'), value: uint64Bytes(5) }];
  for (const [name, entries] of Object.entries({ ...extra, meta })) writer.addBucket(name, entries);
  writer.end();
  closeSync(file);
  appendFileSync(path, createHash('sha256').update(readFileSync(path)).digest());
  return path;
}
