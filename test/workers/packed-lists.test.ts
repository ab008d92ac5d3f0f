import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { compareBytes, keyAfter, NO_BYTES } from '../../src/shared/base/bytes.ts';
import { FrameReader, FrameWriter } from '../../src/shared/base/frames.ts';
import {
  DeleteRangeRequestSchema,
  PutRequestSchema,
  RangeRequestSchema,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { decodeRangeRequest } from '../../src/shared/etcd/requests.ts';
import {
  decodeKeyValue,
  encodeHeader,
  encodeRangeResponse,
  type KeyValue,
  keyValueBytes,
} from '../../src/shared/etcd/responses.ts';
import { Reader, Writer } from '../../src/shared/etcd/wire.ts';
import type { KeyRange } from '../../src/shared/model/key-range.ts';
import { type ReaderReply, ReadKind } from '../../src/workers/contract/reader.ts';
import { WriteKind } from '../../src/workers/contract/writer.ts';
import { openToRead } from '../../src/workers/sqlite/database.ts';
import { fieldPrefix, prefixTable } from '../../src/workers/sqlite/packed-lists.ts';
import { executeRange, rangeResponse } from '../../src/workers/sqlite/range.ts';
import { readPiece } from '../../src/workers/sqlite/range-piece.ts';
import { ReaderState } from '../../src/workers/sqlite/reader-state.ts';
import { RowView } from '../../src/workers/sqlite/rows.ts';
import { bytes } from '../support/etcd-client.ts';
import { firstChunk } from './first-chunk.ts';
import { LocalWriter, type Write } from './local-writer.ts';

const KVS_TAG = 18;
/** Around the lengths at which a KeyValue's own length takes a byte more. */
const EDGES = [60, 80, 100, 16_340, 16_360, 16_384, 2_097_120, 2_097_152];
/** The largest. */
const HEADER = encodeHeader({
  clusterId: 2n ** 64n - 1n,
  memberId: 2n ** 64n - 1n,
  revision: Number.MAX_SAFE_INTEGER,
  raftTerm: Number.MAX_SAFE_INTEGER,
});

function put(key: Uint8Array, value: Uint8Array): Write {
  const request = toBinary(PutRequestSchema, create(PutRequestSchema, { key, value }));
  return { kind: WriteKind.Put, request };
}

function remove(key: Uint8Array): Write {
  const request = toBinary(DeleteRangeRequestSchema, create(DeleteRangeRequestSchema, { key }));
  return { kind: WriteKind.DeleteRange, request };
}

/** What the keys were at each revision, by the simplest means. */
class Model {
  readonly #states: Map<string, KeyValue>[] = [new Map(), new Map()];

  get revision(): number {
    return this.#states.length - 1;
  }

  put(key: Uint8Array, value: Uint8Array): void {
    const revision = this.#states.length;
    const name = Buffer.from(key).toString('hex');
    const before = this.#states.at(-1)!.get(name);
    const createRevision = before?.createRevision ?? revision;
    const version = (before?.version ?? 0) + 1;
    const kv = { key, createRevision, modRevision: revision, version, value, lease: 0n };
    this.#states.push(new Map(this.#states.at(-1)!).set(name, kv));
  }

  remove(key: Uint8Array): void {
    const next = new Map(this.#states.at(-1)!);
    if (next.delete(Buffer.from(key).toString('hex'))) this.#states.push(next);
  }

  list({ key, rangeEnd }: KeyRange, revision: number): KeyValue[] {
    const isIn = (candidate: Uint8Array): boolean => {
      if (rangeEnd.length === 0) return compareBytes(candidate, key) === 0;
      const isUnbounded = rangeEnd.length === 1 && rangeEnd[0] === 0;
      return compareBytes(candidate, key) >= 0 && (isUnbounded || compareBytes(candidate, rangeEnd) < 0);
    };
    const all = [...this.#states[revision === 0 ? this.revision : revision]!.values()];
    return all.filter((kv) => isIn(kv.key)).sort((a, b) => compareBytes(a.key, b.key));
  }
}

/** Any bytes, NULs and what is no UTF-8 among them. */
const someBytes = (minLength: number, maxLength: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength, maxLength });
const key = fc.oneof(
  someBytes(1, 3),
  fc
    .array(fc.constantFrom(0, 1, 0x7f, 0x80, 0xff), { minLength: 1, maxLength: 4 })
    .map((all) => Uint8Array.from(all)),
);
const value = fc.oneof(
  { weight: 8, arbitrary: someBytes(0, 40) },
  { weight: 4, arbitrary: fc.constantFrom(...EDGES.slice(0, 6)).chain((edge) => someBytes(edge, edge + 20)) },
);
const step = fc.record({ key, value: fc.option(value, { nil: undefined, freq: 8 }) });
const asked = fc.record({
  key,
  rangeEnd: fc.oneof({ weight: 3, arbitrary: key }, fc.constantFrom(NO_BYTES, Uint8Array.of(0))),
  limit: fc.nat(12),
  back: fc.nat(10),
});

function wholeList(model: Model, range: KeyRange, limit: number, revision: number): Uint8Array {
  const all = model.list(range, revision);
  const page = limit === 0 ? all : all.slice(0, limit);
  return encodeRangeResponse(HEADER, page.map(keyValueBytes), page.length < all.length, all.length);
}

/** KeyValues of RangeResponse fields. */
function kvsOf(fields: Uint8Array): Uint8Array[] {
  const kvs: Uint8Array[] = [];
  for (const reader = new Reader(fields); reader.more(); ) {
    assert.equal(reader.tag(), KVS_TAG);
    kvs.push(reader.bytes());
  }
  return kvs;
}

/** Every key of the range, in pieces of a RangeStream. */
function inPieces(view: RowView, range: KeyRange, limit: number, revision: number): Uint8Array[] {
  const kvs: Uint8Array[] = [];
  let from = range.key;
  for (let first = true; ; first = false) {
    const options = { keysOnly: false, sortTarget: 0, first, last: false };
    const piece = readPiece(view, { key: from, rangeEnd: range.rangeEnd, revision, limit, ...options });
    const found = kvsOf(piece.kvs);
    assert.equal(piece.keys, found.length);
    assert.ok(first || found.length > 0, 'what is said to follow is there');
    kvs.push(...found);
    if (piece.nextKey === undefined) return kvs;
    assert.deepEqual(piece.nextKey, keyAfter(decodeKeyValue(found.at(-1)!).key));
    from = piece.nextKey;
  }
}

describe('lists that SQLite puts together', () => {
  it('have every byte of every KeyValue, in the order of the keys, at each revision, page by page and in pieces', () => {
    const property = fc.property(
      fc.array(step, { minLength: 1, maxLength: 60 }),
      fc.array(asked, { minLength: 1, maxLength: 25 }),
      (steps, questions) => {
        const model = new Model();
        const writer = new LocalWriter();
        writer.load([firstChunk()]);
        writer.begin();
        const writes: Write[] = [];
        for (const { key, value } of steps) {
          writes.push(value === undefined ? remove(key) : put(key, value));
          if (value === undefined) model.remove(key);
          else model.put(key, value);
        }
        writer.evaluate(writes);
        if (writer.chunks.length > 0) writer.apply(writer.chunks.at(-1)!.sequence);
        const connection = openToRead(writer.file);
        const view = new RowView(connection);
        view.refresh();
        assert.equal(view.revision, model.revision);
        for (const { limit, back, ...range } of questions) {
          const revision = back === 0 ? 0 : Math.max(1, model.revision - back);
          const message = create(RangeRequestSchema, {
            ...range,
            limit: BigInt(limit),
            revision: BigInt(revision),
          });
          const request = decodeRangeRequest(toBinary(RangeRequestSchema, message));
          const found = rangeResponse(HEADER, executeRange(view, request));
          assert.deepEqual(Buffer.from(found), Buffer.from(wholeList(model, range, limit, revision)));
          const pieces = inPieces(view, range, limit + 1, revision);
          const all = model.list(range, revision).map(keyValueBytes);
          assert.deepEqual(pieces.map(Buffer.from), all.map(Buffer.from));
        }
        connection.close();
        writer.close();
      },
    );
    fc.assert(property, { numRuns: 40 });
  });

  it('have KeyValues of any length', () => {
    const model = new Model();
    const writer = new LocalWriter();
    writer.load([firstChunk()]);
    writer.begin();
    const writes: Write[] = [];
    for (const edge of EDGES) {
      for (let length = edge; length < edge + 40; length += edge > 1_000_000 ? 13 : 1) {
        const [key, value] = [bytes(`${length}`), new Uint8Array(length).fill(length & 0xff)];
        writes.push(put(key, value));
        model.put(key, value);
      }
    }
    writer.evaluate(writes);
    writer.apply(writer.chunks.at(-1)!.sequence);
    const connection = openToRead(writer.file);
    const view = new RowView(connection);
    view.refresh();
    const range = { key: bytes('0'), rangeEnd: Uint8Array.of(0) };
    const request = decodeRangeRequest(toBinary(RangeRequestSchema, create(RangeRequestSchema, range)));
    const found = rangeResponse(HEADER, executeRange(view, request));
    assert.ok(Buffer.from(found).equals(wholeList(model, range, 0, 0)));

    const prefix = connection.prepare(`SELECT ${fieldPrefix('length')} FROM (SELECT ? AS length)`).pluck();
    const powers = Array.from({ length: 31 }, (_, power) => 2 ** power);
    for (const length of powers.flatMap((power) => [power - 1, power, power + 1, power + 77])) {
      const writer = new Writer();
      writer.varint(KVS_TAG);
      writer.varint(length);
      assert.deepEqual(prefix.get(prefixTable(), length), Buffer.from(writer.finish()), `${length}`);
    }
    connection.close();
    writer.close();
  });

  it('are replies at their place, among small ones and errors', () => {
    const writer = new LocalWriter();
    writer.load([firstChunk()]);
    writer.begin();
    writer.evaluate(Array.from({ length: 100 }, (_, index) => put(bytes(`k${index}`), new Uint8Array(1000))));
    writer.apply(writer.chunks.at(-1)!.sequence);
    const reader = new ReaderState({
      cacheFile: writer.file,
      maxTxnOps: 128,
      clusterId: 1n,
      memberId: 2n,
      lists: false,
    });
    const [small, large, wrong] = [
      { key: bytes('k1') },
      { key: bytes('k'), rangeEnd: bytes('l') },
      { revision: 9999n },
    ];
    for (const asked of [
      [large],
      [small],
      [small, large],
      [large, small],
      [wrong, large, large, small, wrong, large],
    ]) {
      const frames = new FrameWriter();
      for (const one of asked) {
        const message = create(RangeRequestSchema, { key: bytes('k'), ...one });
        frames.add(ReadKind.Range, toBinary(RangeRequestSchema, message));
      }
      const replies: ReaderReply[] = [];
      reader.handle({ type: 'read', id: 1, requests: frames.finish() }, (reply) => replies.push(reply));
      assert.deepEqual(
        kindsOf(replies),
        asked.map((one) => (one === large ? 'large' : one === wrong ? 'wrong' : 'small')),
      );
    }
    reader.close();
    writer.close();
  });
});

/** Of each answer; only the last message says that it is. */
function kindsOf(replies: readonly ReaderReply[]): string[] {
  return replies.flatMap((reply, index) => {
    assert.ok(reply.type === 'read' || reply.type === 'response');
    assert.equal(reply.last, index === replies.length - 1);
    if (reply.type === 'response') {
      assert.ok(reply.response.length > 100_000);
      return ['large'];
    }
    const kinds: string[] = [];
    for (const frames = new FrameReader(reply.replies); frames.next(); ) {
      assert.ok(frames.payload.length < 2000);
      kinds.push(frames.tag === 0 ? 'small' : 'wrong');
    }
    return kinds;
  });
}
