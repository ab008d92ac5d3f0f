import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import {
  CompactionRequestSchema,
  DeleteRangeRequestSchema,
  PutRequestSchema,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { readEvents } from '../../src/workers/contract/events.ts';
import type { ReplayReply, ReplayRequest } from '../../src/workers/contract/reader.ts';
import { WriteKind } from '../../src/workers/contract/writer.ts';
import { openToRead } from '../../src/workers/sqlite/database.ts';
import { Replayer } from '../../src/workers/sqlite/replay.ts';
import { RowView } from '../../src/workers/sqlite/rows.ts';
import { bytes, text } from '../support/etcd-client.ts';
import { LocalWriter, type Write } from './local-writer.ts';
import { inRange } from './model.ts';

/** More than a replay step looks at, and many slices of a compaction. */
const KEYS = 4500;

const name = (index: number): string => `k${String(index).padStart(5, '0')}`;

function put(key: string, value: string): Write {
  const message = create(PutRequestSchema, { key: bytes(key), value: bytes(value) });
  return { kind: WriteKind.Put, request: toBinary(PutRequestSchema, message) };
}

const deleteAll: Write = {
  kind: WriteKind.DeleteRange,
  request: toBinary(
    DeleteRangeRequestSchema,
    create(DeleteRangeRequestSchema, { key: bytes('k'), rangeEnd: bytes('l') }),
  ),
};

function compact(revision: number): Write {
  const message = create(CompactionRequestSchema, { revision: BigInt(revision) });
  return { kind: WriteKind.Compact, request: toBinary(CompactionRequestSchema, message) };
}

/** Keys are put in revisions 2 to KEYS + 1, deleted together in the next one, and the first ten put again. */
function filledWriter(): LocalWriter {
  const writer = new LocalWriter();
  writer.begin();
  writer.evaluate(Array.from({ length: KEYS }, (_, index) => put(name(index), 'one')));
  writer.evaluate([deleteAll, ...Array.from({ length: 10 }, (_, index) => put(name(index), 'two'))]);
  writer.apply(writer.chunks.length);
  return writer;
}

interface Seen {
  revision: number;
  sub: number;
  key: string;
  deleted: boolean;
}

function expectedEvents(from: number, wanted: (key: string) => boolean): Seen[] {
  const all: Seen[] = [];
  const indexes = Array.from({ length: KEYS }, (_, index) => index);
  const first = indexes.map((index) => ({ revision: index + 2, sub: 0, key: name(index), deleted: false }));
  const gone = indexes.map((index) => ({ revision: KEYS + 2, sub: index, key: name(index), deleted: true }));
  const again = first.slice(0, 10).map((one) => ({ ...one, revision: one.revision + KEYS + 1 }));
  all.push(...first, ...gone, ...again);
  return all.filter(({ revision, key }) => revision >= from && wanted(key));
}

/** Replays step by step to the end; checks that each step is bounded and cuts between revisions only. */
function replayAll(replayer: Replayer, request: ReplayRequest): Seen[] {
  const seen: Seen[] = [];
  let from = request.fromRevision;
  for (;;) {
    const reply: ReplayReply = replayer.replay({ ...request, fromRevision: from });
    assert.ok(reply.kind === 'events');
    const events = readEvents(reply.events);
    const last = events.at(-1)?.revision ?? 0;
    assert.ok(reply.coveredRevision >= from && last <= reply.coveredRevision, 'a step gets on');
    const beforeLast = events.filter(({ revision }) => revision < last);
    const size = beforeLast.reduce((sum, event) => sum + event.bytes.length, 0);
    assert.ok(size < request.bytesMax + 200, 'what comes before the last revision is within the bound');
    for (const { revision, sub, key, isDelete } of events) {
      seen.push({ revision, sub, key: text(key), deleted: isDelete });
    }
    if (reply.complete) return seen;
    from = reply.coveredRevision + 1;
  }
}

test('replay gives every event of a range once and in order, in bounded steps of whole revisions', () => {
  const writer = filledWriter();
  const connection = openToRead(writer.file);
  const rows = new RowView(connection);
  rows.refresh();
  const replayer = new Replayer(connection, rows);
  const ranges = [
    ['k', 'l'],
    ['k00003', ''],
    ['k00100', 'k00200'],
    ['k04400', '\0'],
    ['x', 'y'],
  ] as const;
  for (const [key, end] of ranges) {
    for (const fromRevision of [1, 1000, KEYS + 1, KEYS + 2, KEYS + 3, KEYS + 12]) {
      for (const bytesMax of [1, 20_000, 1 << 30]) {
        // With the least bound every revision is a step: only worth its time near the end.
        if (bytesMax === 1 && fromRevision < KEYS) continue;
        const options = { bytesMax, prevKv: false, compactRevision: 0 };
        const request = { key: bytes(key), rangeEnd: bytes(end), fromRevision, ...options };
        const wanted = expectedEvents(fromRevision, (candidate) => inRange(key, end, candidate));
        assert.deepEqual(replayAll(replayer, request), wanted, `${key} from ${fromRevision}`);
      }
    }
  }
  connection.close();
  writer.close();
});

test('replay from below the compaction revision says so, and gives all from there on', () => {
  const writer = filledWriter();
  writer.evaluate([compact(KEYS + 2)]);
  writer.apply(writer.chunks.length);
  writer.idle();
  const connection = openToRead(writer.file);
  const rows = new RowView(connection);
  rows.refresh();
  const replayer = new Replayer(connection, rows);
  const options = { bytesMax: 1 << 30, prevKv: false, compactRevision: 0 };
  const request = { key: bytes('k'), rangeEnd: bytes('l'), ...options };
  assert.deepEqual(replayer.replay({ ...request, fromRevision: KEYS + 1 }), {
    kind: 'compacted',
    compactRevision: KEYS + 2,
  });
  const seen = replayAll(replayer, { ...request, fromRevision: KEYS + 2 });
  assert.deepEqual(
    seen,
    expectedEvents(KEYS + 2, () => true),
    'the deletes of that very revision are kept',
  );
  connection.close();
  writer.close();
});

test('a compaction that comes during another, and writes between their slices, leave the same rows', () => {
  const [interrupted, plain] = [filledWriter(), filledWriter()];
  const steps: { write: Write; slices: number }[] = [
    { write: compact(2000), slices: 2 },
    { write: put(name(20), 'three'), slices: 1 },
    { write: compact(KEYS + 2), slices: 3 },
    { write: compact(KEYS + 5), slices: 0 },
    { write: put(name(3), 'four'), slices: 2 },
  ];
  for (const { write, slices } of steps) {
    for (const writer of [interrupted, plain]) {
      writer.evaluate([write]);
      writer.apply(writer.chunks.length);
    }
    interrupted.idle(slices);
    plain.idle();
  }
  interrupted.idle();
  assert.deepEqual(interrupted.dump(), plain.dump());
  const rows = interrupted.dump()['history'] as { key: Buffer; revision: number }[];
  assert.equal(rows.length, 10 + 2, 'ten keys put again, one put anew, one changed since');
  interrupted.close();
  plain.close();
});
