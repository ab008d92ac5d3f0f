import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import {
  outlineRangeAnswer,
  putIfModRevision,
  range,
  readRangeAnswer,
  readTxnAnswer,
  readWatchAnswer,
  watchCreate,
} from '../../bench/load/messages.ts';
import {
  Compare_CompareResult,
  Compare_CompareTarget,
  RangeRequestSchema,
  RangeResponseSchema,
  TxnRequestSchema,
  TxnResponseSchema,
  WatchRequestSchema,
  WatchResponseSchema,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';

const bytes = (maxLength: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: 1, maxLength });
const revision = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });

test('a write is the transaction that generated code reads as kube-apiserver sends it', () => {
  fc.assert(
    fc.property(bytes(300), bytes(9000), revision, fc.boolean(), (key, value, expected, readElse) => {
      const txn = fromBinary(TxnRequestSchema, putIfModRevision(key, expected, value, readElse));
      const [compare] = txn.compare;
      assert.equal(txn.compare.length, 1);
      assert.equal(compare?.result, Compare_CompareResult.EQUAL);
      assert.equal(compare?.target, Compare_CompareTarget.MOD);
      assert.deepEqual(compare?.targetUnion, { case: 'modRevision', value: BigInt(expected) });
      assert.ok(Buffer.from(key).equals(compare.key));
      const put = txn.success[0]?.request;
      assert.ok(put?.case === 'requestPut' && Buffer.from(key).equals(put.value.key));
      assert.ok(Buffer.from(value).equals(put.value.value));
      assert.equal(txn.failure.length, readElse ? 1 : 0);
      const other = txn.failure[0]?.request;
      assert.ok(!readElse || (other?.case === 'requestRange' && Buffer.from(key).equals(other.value.key)));
    }),
  );
});

test('a range is what generated code reads', () => {
  fc.assert(
    fc.property(bytes(300), fc.nat(), fc.boolean(), (key, limit, countOnly) => {
      const request = fromBinary(RangeRequestSchema, range(key, Buffer.of(255), limit, countOnly));
      assert.deepEqual(
        [Buffer.from(request.key), Buffer.from(request.rangeEnd), request.limit, request.countOnly],
        [Buffer.from(key), Buffer.of(255), BigInt(limit), countOnly],
      );
    }),
  );
});

test("answers are read as generated code writes them, and a failed compare isn't success", () => {
  const header = { clusterId: 2n ** 64n - 1n, memberId: 3n, revision: 2n ** 40n, raftTerm: 1n };
  for (const succeeded of [true, false]) {
    const answer = create(TxnResponseSchema, {
      header,
      succeeded,
      responses: [{ response: { case: 'responsePut', value: { header } } }],
    });
    assert.deepEqual(readTxnAnswer(toBinary(TxnResponseSchema, answer)), { revision: 2 ** 40, succeeded });
  }
  const keyValue = {
    key: Buffer.of(1),
    createRevision: 4n,
    modRevision: 5n,
    version: 6n,
    value: Buffer.of(7),
  };
  const page = create(RangeResponseSchema, { header, kvs: [keyValue], more: true, count: 12n });
  const read = readRangeAnswer(toBinary(RangeResponseSchema, page));
  assert.deepEqual([read.revision, read.more, read.count, read.keyValues.length], [2 ** 40, true, 12, 1]);
  assert.equal(read.keyValues[0]?.modRevision, 5);
  assert.equal(read.keyValues[0]?.value[0], 7);
});

test('the creation of a watcher is what generated code reads', () => {
  fc.assert(
    fc.property(bytes(300), bytes(300), fc.integer({ min: 1 }), (key, rangeEnd, startRevision) => {
      const { requestUnion } = fromBinary(WatchRequestSchema, watchCreate(key, rangeEnd, startRevision));
      assert.ok(requestUnion.case === 'createRequest');
      assert.ok(Buffer.from(key).equals(requestUnion.value.key));
      assert.ok(Buffer.from(rangeEnd).equals(requestUnion.value.rangeEnd));
      assert.equal(requestUnion.value.startRevision, BigInt(startRevision));
    }),
  );
});

test("of a watcher's answer the revisions are read in their order", () => {
  fc.assert(
    fc.property(
      fc.array(revision),
      fc.nat(),
      fc.boolean(),
      fc.boolean(),
      (revisions, id, created, canceled) => {
        const events = revisions.map((one) => ({
          kv: {
            key: Buffer.from('k'),
            modRevision: BigInt(one),
            createRevision: 7n,
            value: Buffer.alloc(300),
          },
          prevKv: { modRevision: 3n },
        }));
        const answer = create(WatchResponseSchema, { watchId: BigInt(id), created, canceled, events });
        assert.deepEqual(readWatchAnswer(toBinary(WatchResponseSchema, answer)), {
          watchId: id,
          created,
          canceled,
          modRevisions: revisions,
        });
      },
    ),
  );
});

test('the outline of a range has as many keys as the whole', () => {
  fc.assert(
    fc.property(fc.nat({ max: 50 }), fc.boolean(), fc.nat(), (keys, more, count) => {
      const kvs = Array.from({ length: keys }, () => ({ key: Buffer.from('k'), value: Buffer.alloc(200) }));
      const answer = create(RangeResponseSchema, { kvs, more, count: BigInt(count) });
      const outline = outlineRangeAnswer(toBinary(RangeResponseSchema, answer));
      assert.deepEqual(outline, { keyValues: keys, more, count });
    }),
  );
});
