import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { NO_BYTES } from '../../src/shared/base/bytes.ts';
import {
  CompactionRequestSchema,
  DeleteRangeRequestSchema,
  PutRequestSchema,
  RangeRequestSchema,
  RangeResponseSchema,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { decodeRangeRequest, type RangeRequest } from '../../src/shared/etcd/requests.ts';
import { snapshotKey } from '../../src/shared/format/names.ts';
import { WriteKind } from '../../src/workers/contract/writer.ts';
import { compareCaches } from '../../src/workers/sqlite/cache-differences.ts';
import { type Connection, openToRead, openToWrite } from '../../src/workers/sqlite/database.ts';
import { beginsBlock } from '../../src/workers/sqlite/key-blocks.ts';
import { executeRange, keysOf, type RangeResult, rangeResponse } from '../../src/workers/sqlite/range.ts';
import { RowView } from '../../src/workers/sqlite/rows.ts';
import { bytes } from '../support/etcd-client.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { readStored, snapshotObject } from '../support/snapshots.ts';
import { firstChunk } from './first-chunk.ts';
import { LocalWriter, type Write } from './local-writer.ts';
import { inRange, KeyModel } from './model.ts';

const BEGINNINGS = 14;
const OTHERS = 24;

/** Names in key order, of which many more than usual begin a block. */
function universe(): string[] {
  const [begin, other]: [string[], string[]] = [[], []];
  for (let index = 0; begin.length < BEGINNINGS; index++) {
    const name = `k${String(Math.imul(index, 0x9e3779b1) >>> 0).padStart(10, '0')}`;
    if (beginsBlock(bytes(name))) begin.push(name);
    else if (other.length < OTHERS) other.push(name);
  }
  return [...begin, ...other].sort();
}

const NAMES = universe();
const name = fc.constantFrom(...NAMES);
/** Also ends beyond all keys and before the start, and no end. */
const end = fc.oneof({ weight: 4, arbitrary: name }, fc.constantFrom('', '', '\0', 'l', 'a'));
type Step = { do: 'put' | 'delete'; key: string; end: string } | { do: 'compact'; back: number };
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ do: fc.constant('put' as const), key: name, end: fc.constant('') }) },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('delete' as const), key: name, end: fc.constant('') }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('delete' as const), key: name, end }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('compact' as const), back: fc.nat(20) }) },
);
const batch = fc.record({
  steps: fc.array(step, { minLength: 1, maxLength: 30 }),
  lag: fc.nat(2),
  slices: fc.nat(2),
  snapshot: fc.nat(3).map((one) => one === 0),
});
/** A range as etcd writes it, and how far back to read it. */
const asked = fc.record({ key: fc.oneof(name, fc.constantFrom('\0', 'a', 'z')), end, back: fc.nat(40) });

function keysOfPage(page: RangeResult): string[] {
  const { kvs } = fromBinary(RangeResponseSchema, rangeResponse(NO_BYTES, page));
  return kvs.map(({ key }) => Buffer.from(key).toString());
}

function put(key: string): Write {
  const message = create(PutRequestSchema, { key: bytes(key), value: bytes('value') });
  return { kind: WriteKind.Put, request: toBinary(PutRequestSchema, message) };
}

function deletion(key: string, rangeEnd: string): Write {
  const message = create(DeleteRangeRequestSchema, { key: bytes(key), rangeEnd: bytes(rangeEnd) });
  return { kind: WriteKind.DeleteRange, request: toBinary(DeleteRangeRequestSchema, message) };
}

function compaction(revision: number): Write {
  const message = create(CompactionRequestSchema, { revision: BigInt(revision) });
  return { kind: WriteKind.Compact, request: toBinary(CompactionRequestSchema, message) };
}

/** The request of a step; the model has moved on then. */
function takeStep(model: KeyModel, one: Step): Write {
  if (one.do === 'compact') {
    const revision = model.revision - one.back;
    model.compactRevision = Math.max(model.compactRevision, revision);
    return compaction(revision);
  }
  if (one.do === 'put') model.put(one.key, 'value', 0);
  else model.delete((key) => inRange(one.key, one.end, key));
  return one.do === 'put' ? put(one.key) : deletion(one.key, one.end);
}

/** Every block begins where it must, and its number is that of a scan. */
function checkBlocks(connection: Connection): void {
  const keys = connection.prepare('SELECT key FROM current ORDER BY key').pluck().all() as Buffer[];
  const expected: [string, number][] = [['', 0]];
  for (const key of keys) {
    if (beginsBlock(key)) expected.push([key.toString(), 0]);
    expected.at(-1)![1]++;
  }
  const rows = connection.prepare('SELECT first, keys FROM key_blocks ORDER BY first').raw().all();
  const found = (rows as [Buffer, number][]).map(([first, count]) => [first.toString(), count]);
  assert.deepEqual(found, expected);
}

/** Checks what a new reader of the cache counts. */
function checkCounts(
  file: string,
  model: KeyModel,
  all: readonly { key: string; end: string; back: number }[],
): void {
  const connection = openToRead(file);
  try {
    checkBlocks(connection);
    const view = new RowView(connection);
    view.refresh();
    for (const { key, end: rangeEnd, back } of all) {
      const revision = Math.max(view.revision - back, view.compactRevision, 1);
      const expected = model.keys(revision).filter((one) => inRange(key, rangeEnd, one)).length;
      const found = view.count({ key: bytes(key), rangeEnd: bytes(rangeEnd) }, revision);
      assert.equal(found, expected, `from ${key} to ${rangeEnd} at ${revision} of ${view.revision}`);
    }
  } finally {
    connection.close();
  }
}

describe('counts', () => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);

  it('are those of a scan, at any revision, whatever the history and the way the cache came to be', async (test) => {
    test.diagnostic(`SEED=${seed}`);
    const histories = fc.array(batch, { minLength: 1, maxLength: 12 });
    const ranges = fc.array(asked, { minLength: 30, maxLength: 30 });
    const property = fc.asyncProperty(histories, ranges, async (batches, all) => {
      const model = new KeyModel();
      const live = new LocalWriter();
      live.load([firstChunk()]);
      live.begin();
      const taken: { sequence: number; object: Buffer }[] = [];
      for (const { steps, lag, slices, snapshot } of batches) {
        live.evaluate(steps.map((one) => takeStep(model, one)));
        live.apply(live.chunks.at(-1 - lag)?.sequence ?? 0);
        live.idle(slices);
        checkCounts(live.file, model, all);
        if (snapshot) taken.push(await snapshotObject(live.file));
      }
      live.apply(live.chunks.at(-1)?.sequence ?? 0);
      checkCounts(live.file, model, all);
      live.close();
      const reopened = new LocalWriter(live.file);
      const rows = ((): unknown => {
        reopened.idle();
        return reopened.dump()['key_blocks'];
      })();
      checkCounts(reopened.file, model, all);
      reopened.close();
      const standby = new LocalWriter();
      standby.follow([firstChunk(), ...live.chunks]);
      checkCounts(standby.file, model, all);
      assert.deepEqual(standby.dump()['key_blocks'], rows);
      standby.close();
      for (const { sequence, object } of taken) {
        const store = new MemoryStore();
        await store.put(snapshotKey(sequence), object);
        const { header, pieces } = await readStored(store, sequence, object.length);
        const { previousChunkCrc: chunkCrc, epoch, snapshot } = header;
        const filled = new LocalWriter();
        filled.fill(pieces, { sequence, chunkCrc, epoch, ...snapshot });
        checkCounts(filled.file, model, all);
        filled.load(live.chunks.filter((chunk) => chunk.sequence > sequence));
        checkCounts(filled.file, model, all);
        assert.deepEqual(filled.dump()['key_blocks'], rows);
        filled.close();
      }
    });
    await fc.assert(property, { seed, numRuns: 25 });
  });

  it('of pages of an older revision stay those of that revision while keys come and go', () => {
    const KEYS = 5000;
    const LIMIT = 500;
    const nameOf = (index: number): string => `k${String(index).padStart(5, '0')}`;
    const model = new KeyModel();
    const writer = new LocalWriter();
    writer.load([firstChunk()]);
    writer.begin();
    const apply = (steps: Step[]): void => {
      writer.evaluate(steps.map((one) => takeStep(model, one)));
      writer.apply(writer.chunks.at(-1)!.sequence);
    };
    apply(Array.from({ length: KEYS }, (_, index) => ({ do: 'put', key: nameOf(index * 2), end: '' })));
    const { revision } = model;
    const connection = openToRead(writer.file);
    const view = new RowView(connection);
    const keys = model.keys(revision);
    let key = bytes('k');
    for (let seen = 0; seen < KEYS; seen += LIMIT) {
      apply([
        { do: 'put', key: nameOf(KEYS + seen + 1), end: '' },
        { do: 'put', key: nameOf(seen), end: '' },
        { do: 'delete', key: nameOf(KEYS * 2 - 2 - seen), end: '' },
        { do: 'delete', key: nameOf(seen), end: nameOf(seen + 5) },
      ]);
      view.refresh();
      const page = executeRange(view, rangeRequest({ key, rangeEnd: bytes('l'), revision, limit: LIMIT }));
      assert.equal(page.count, KEYS - seen, 'what is left at that revision');
      assert.deepEqual(keysOfPage(page), keys.slice(seen, seen + LIMIT));
      assert.equal(page.more, seen + LIMIT < KEYS);
      // Neither the rest of another range, nor of another revision.
      const earlier = rangeRequest({ key, rangeEnd: bytes('l'), revision: revision - 900, limit: LIMIT });
      assert.equal(executeRange(view, earlier).count, Math.max(0, KEYS - 900 - seen));
      const other = { key, rangeEnd: bytes(nameOf(9000)) };
      const expected = keys.filter((one) => inRange(Buffer.from(key).toString(), nameOf(9000), one)).length;
      assert.equal(executeRange(view, rangeRequest({ ...other, revision, limit: LIMIT })).count, expected);
      const now = model.keys(model.revision).filter((one) => one >= Buffer.from(key).toString()).length;
      assert.equal(
        executeRange(view, rangeRequest({ key, rangeEnd: bytes('l'), revision: 0, limit: LIMIT })).count,
        now,
      );
      key = bytes(`${keys[seen + LIMIT - 1]}\0`);
    }
    connection.close();
    writer.close();
  });

  it('do not depend on the limits for revisions, which choose keys alone', () => {
    const writer = new LocalWriter();
    writer.load([firstChunk()]);
    writer.begin();
    const model = new KeyModel();
    writer.evaluate(NAMES.map((key) => takeStep(model, { do: 'put', key, end: '' })));
    writer.evaluate(NAMES.slice(0, 10).map((key) => takeStep(model, { do: 'put', key, end: '' })));
    writer.apply(writer.chunks.at(-1)!.sequence);
    const connection = openToRead(writer.file);
    const view = new RowView(connection);
    view.refresh();
    const range = { key: bytes('k'), rangeEnd: bytes('l'), revision: 0, limit: 3 };
    const chosen = { minModRevision: 5n, maxModRevision: 20n, minCreateRevision: 3n, maxCreateRevision: 15n };
    for (const [field, value] of Object.entries(chosen)) {
      const { count, kvs } = executeRange(view, rangeRequest({ ...range, [field]: value }));
      assert.deepEqual([count, keysOf(kvs)], [NAMES.length, 3], field);
    }
    connection.close();
    writer.close();
  });

  it('that are wrong are among the differences of two caches', () => {
    const [right, wrong] = [new LocalWriter(), new LocalWriter()];
    for (const writer of [right, wrong]) {
      writer.load([firstChunk()]);
      writer.begin();
      writer.evaluate(NAMES.map(put));
      writer.apply(writer.chunks.at(-1)!.sequence);
      writer.close();
    }
    assert.equal(compareCaches(right.file, wrong.file, 10).count, 0);
    const connection = openToWrite(wrong.file);
    connection.exec("UPDATE key_blocks SET keys = 7 WHERE first = X''");
    connection.close();
    const { differences, count } = compareCaches(right.file, wrong.file, 10);
    assert.equal(count, 1);
    assert.match(differences[0]!.found, /^7 keys/);
  });
});

function rangeRequest(fields: {
  key: Uint8Array;
  rangeEnd: Uint8Array;
  revision: number;
  limit: number;
  [filter: string]: unknown;
}): RangeRequest {
  const message = { ...fields, revision: BigInt(fields.revision), limit: BigInt(fields.limit) };
  return decodeRangeRequest(toBinary(RangeRequestSchema, create(RangeRequestSchema, message)));
}
