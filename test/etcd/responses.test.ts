import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  create,
  type DescMessage,
  equals,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf';
import fc from 'fast-check';
import {
  CompactionResponseSchema,
  DeleteRangeResponseSchema,
  type ResponseOp as GeneratedOp,
  LeaseGrantResponseSchema,
  LeaseKeepAliveResponseSchema,
  LeaseLeasesResponseSchema,
  LeaseTimeToLiveResponseSchema,
  PutResponseSchema,
  RangeResponseSchema,
  RangeStreamResponseSchema,
  ResponseHeaderSchema,
  ResponseOpSchema,
  TxnResponseSchema,
  WatchResponseSchema,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { EventSchema, KeyValueSchema } from '../../src/shared/etcd/gen/mvccpb/kv_pb.ts';
import * as responses from '../../src/shared/etcd/responses.ts';
import { MalformedMessageError, Writer } from '../../src/shared/etcd/wire.ts';
import { anyBigint, message, safeNumber } from './fields.ts';
import { accepts, flat } from './generated.ts';
import { property } from './property.ts';
import { KEY_VALUE } from './shapes.ts';

function generated<D extends DescMessage>(schema: D, fields: MessageInitShape<D>): Uint8Array {
  return toBinary(schema, create(schema, fields));
}

const shortBytes = fc.uint8Array({ maxLength: 200 });
const anyUint64 = anyBigint.map((value) => BigInt.asUintN(64, value));
const anyHeader = fc.record({
  clusterId: anyUint64,
  memberId: anyUint64,
  revision: safeNumber,
  raftTerm: fc.maxSafeNat(),
});
const anyKeyValue = fc.record({
  key: shortBytes,
  createRevision: safeNumber,
  modRevision: safeNumber,
  version: safeNumber,
  value: shortBytes,
  lease: anyBigint,
});
const anyKeyValues = fc.array(anyKeyValue, { maxLength: 4 });

type Header = typeof anyHeader extends fc.Arbitrary<infer T> ? T : never;

function header(from: Header): MessageInitShape<typeof ResponseHeaderSchema> {
  return { ...from, revision: BigInt(from.revision), raftTerm: BigInt(from.raftTerm) };
}

function keyValue(from: responses.KeyValue): MessageShape<typeof KeyValueSchema> {
  return flat(KeyValueSchema, from);
}

property('KeyValue: its bytes are those of generated code, and decode to it', anyKeyValue, (kv) => {
  const bytes = responses.keyValueBytes(kv);
  assert.deepEqual(bytes, toBinary(KeyValueSchema, keyValue(kv)));
  assert.equal(bytes.length, responses.keyValueSize(kv));
  assert.equal(bytes.buffer.byteLength, bytes.length);
  assert.deepEqual(responses.decodeKeyValue(bytes), { ...kv });
});

property(
  'KeyValue: however its fields are laid out, it says what generated code says',
  message(KEY_VALUE),
  (bytes) => {
    const decoded = flat(KeyValueSchema, responses.decodeKeyValue(bytes));
    assert.ok(equals(KeyValueSchema, decoded, fromBinary(KeyValueSchema, bytes)));
  },
);

const cutKeyValue = fc.tuple(message(KEY_VALUE), fc.nat());
property(
  'KeyValue: cut anywhere, it is refused when generated code refuses it',
  cutKeyValue,
  ([bytes, seed]) => {
    const part = bytes.slice(0, seed % (bytes.length + 1));
    if (accepts(KeyValueSchema, part)) responses.decodeKeyValue(part);
    else assert.throws(() => responses.decodeKeyValue(part), MalformedMessageError);
  },
);

property('a keys-only KeyValue is the KeyValue with an empty value', anyKeyValue, (kv) => {
  const stripped = responses.stripValue(responses.keyValueBytes(kv));
  assert.deepEqual(stripped, responses.keyValueBytes({ ...kv, value: new Uint8Array(0) }));
});

const anyEvent = fc.tuple(fc.boolean(), anyKeyValue, fc.option(anyKeyValue, { nil: undefined }));
property('Event: with prev_kv it begins with the event that has none', anyEvent, ([deleted, kv, prevKv]) => {
  const previous = prevKv && responses.keyValueBytes(prevKv);
  const event = new Writer();
  responses.writeEvent(event, deleted, responses.keyValueBytes(kv), previous);
  const bytes = event.finish();
  const { plain, whole } = responses.eventSizes(deleted, responses.keyValueBytes(kv), previous);
  assert.equal(bytes.length, whole);
  const fields = { type: deleted ? 1 : 0, kv: keyValue(kv) };
  assert.deepEqual(bytes, generated(EventSchema, prevKv ? { ...fields, prevKv: keyValue(prevKv) } : fields));
  assert.deepEqual(bytes.subarray(0, plain), generated(EventSchema, fields));
});

property('ResponseHeader: its bytes are those of generated code', anyHeader, (fields) => {
  const expected = generated(ResponseHeaderSchema, header(fields));
  assert.deepEqual(responses.encodeHeader(fields), expected);
  const encoder = new responses.HeaderEncoder(fields.clusterId, fields.memberId);
  assert.deepEqual(encoder.encode(fields.revision, fields.raftTerm), expected);
});

const anyRange = fc.tuple(anyHeader, anyKeyValues, fc.boolean(), safeNumber);
property(
  'RangeResponse and RangeStreamResponse: bytes as generated',
  anyRange,
  ([head, kvs, more, count]) => {
    const fields = { header: header(head), kvs: kvs.map(keyValue), more, count: BigInt(count) };
    const parts = [responses.encodeHeader(head), kvs.map(responses.keyValueBytes), more, count] as const;
    assert.deepEqual(responses.encodeRangeResponse(...parts), generated(RangeResponseSchema, fields));
    const streamed = generated(RangeStreamResponseSchema, { rangeResponse: fields });
    assert.deepEqual(responses.encodeRangeStreamResponse(...parts), streamed);
  },
);

property(
  'RangeStreamResponse: a piece that is not the last has KeyValues and nothing else',
  anyKeyValues,
  (kvs) => {
    const piece = responses.encodeRangeStreamResponse(undefined, kvs.map(responses.keyValueBytes), false, 0);
    assert.deepEqual(
      piece,
      generated(RangeStreamResponseSchema, { rangeResponse: { kvs: kvs.map(keyValue) } }),
    );
  },
);

const anyPut = fc.tuple(anyHeader, fc.option(anyKeyValue, { nil: undefined }));
property('PutResponse: bytes as generated', anyPut, ([head, kv]) => {
  const bytes = responses.encodePutResponse(responses.encodeHeader(head), kv && responses.keyValueBytes(kv));
  const fields = { header: header(head) };
  assert.deepEqual(bytes, generated(PutResponseSchema, kv ? { ...fields, prevKv: keyValue(kv) } : fields));
});

const anyDelete = fc.tuple(anyHeader, safeNumber, anyKeyValues);
property('DeleteRangeResponse: bytes as generated', anyDelete, ([head, deleted, kvs]) => {
  const prevKvs = kvs.map(responses.keyValueBytes);
  assert.deepEqual(
    responses.encodeDeleteRangeResponse(responses.encodeHeader(head), deleted, prevKvs),
    generated(DeleteRangeResponseSchema, {
      header: header(head),
      deleted: BigInt(deleted),
      prevKvs: kvs.map(keyValue),
    }),
  );
});

const CASES = {
  range: 'responseRange',
  put: 'responsePut',
  delete: 'responseDeleteRange',
  txn: 'responseTxn',
} as const;
const anyOps = fc.array(
  fc.record({ kind: fc.constantFrom('range', 'put', 'delete', 'txn', 'none'), revision: safeNumber }),
);

function generatedOp(op: responses.ResponseOp): GeneratedOp {
  if (op.kind === 'none') return create(ResponseOpSchema);
  const schema = ResponseOpSchema.field[CASES[op.kind]].message as DescMessage;
  const response = { case: CASES[op.kind], value: fromBinary(schema, op.bytes) } as GeneratedOp['response'];
  return create(ResponseOpSchema, { response });
}

property(
  'TxnResponse: bytes as generated',
  fc.tuple(anyHeader, fc.boolean(), anyOps),
  ([head, succeeded, kinds]) => {
    const ops = kinds.map(({ kind, revision }) => {
      return { kind, bytes: responses.encodePutResponse(responses.encodeHeader({ revision })) } as const;
    });
    assert.deepEqual(
      responses.encodeTxnResponse(responses.encodeHeader(head), succeeded, ops),
      generated(TxnResponseSchema, { header: header(head), succeeded, responses: ops.map(generatedOp) }),
    );
  },
);

test("a transaction's inner headers hold the revision alone, and a nested transaction's nothing", () => {
  const put = responses.encodePutResponse(responses.encodeHeader({ revision: 7 }));
  assert.deepEqual([...put], [0x0a, 2, 0x18, 7]);
  const inner = responses.encodeTxnResponse(responses.encodeHeader({}), true, [{ kind: 'put', bytes: put }]);
  assert.deepEqual([...inner], [0x0a, 0, 0x10, 1, 0x1a, 6, 0x12, 4, 0x0a, 2, 0x18, 7]);
});

const anyWatch = fc.record({
  watchId: safeNumber,
  created: fc.boolean(),
  canceled: fc.boolean(),
  compactRevision: safeNumber,
  cancelReason: fc.string({ unit: 'binary' }),
  fragment: fc.boolean(),
});
property(
  'WatchResponse: bytes as generated',
  fc.tuple(anyHeader, anyWatch, anyKeyValues),
  ([head, fields, kvs]) => {
    const events = kvs.map((kv) => {
      const event = new Writer();
      responses.writeEvent(event, false, responses.keyValueBytes(kv), undefined);
      return event.finish();
    });
    const expected = generated(WatchResponseSchema, {
      ...fields,
      header: header(head),
      watchId: BigInt(fields.watchId),
      compactRevision: BigInt(fields.compactRevision),
      events: kvs.map((kv) => ({ kv: keyValue(kv) })),
    });
    assert.deepEqual(
      responses.encodeWatchResponse(responses.encodeHeader(head), { ...fields, events }),
      expected,
    );
  },
);

const anyLease = fc.tuple(
  anyHeader,
  anyBigint,
  safeNumber,
  safeNumber,
  fc.array(shortBytes, { maxLength: 4 }),
);
property('lease responses: bytes as generated', anyLease, ([head, ID, ttl, grantedTtl, keys]) => {
  const encoded = responses.encodeHeader(head);
  const fields = { header: header(head), ID, TTL: BigInt(ttl) };
  assert.deepEqual(
    responses.encodeLeaseGrantResponse(encoded, ID, ttl),
    generated(LeaseGrantResponseSchema, fields),
  );
  assert.deepEqual(
    responses.encodeLeaseKeepAliveResponse(encoded, ID, ttl),
    generated(LeaseKeepAliveResponseSchema, fields),
  );
  assert.deepEqual(
    responses.encodeLeaseTimeToLiveResponse(encoded, { id: ID, ttl, grantedTtl, keys }),
    generated(LeaseTimeToLiveResponseSchema, { ...fields, grantedTTL: BigInt(grantedTtl), keys }),
  );
});

property(
  'LeaseLeasesResponse: bytes as generated',
  fc.tuple(anyHeader, fc.array(anyBigint)),
  ([head, ids]) => {
    assert.deepEqual(
      responses.encodeLeaseLeasesResponse(responses.encodeHeader(head), ids),
      generated(LeaseLeasesResponseSchema, { header: header(head), leases: ids.map((ID) => ({ ID })) }),
    );
  },
);

property('a response of a header alone: bytes as generated', anyHeader, (head) => {
  const bytes = responses.encodeHeaderOnlyResponse(responses.encodeHeader(head));
  assert.deepEqual(bytes, generated(CompactionResponseSchema, { header: header(head) }));
});
