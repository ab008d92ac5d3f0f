import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, type DescMessage, equals, fromBinary, type Message, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import {
  CompactionRequestSchema,
  DeleteRangeRequestSchema,
  LeaseGrantRequestSchema,
  LeaseKeepAliveRequestSchema,
  LeaseRevokeRequestSchema,
  LeaseTimeToLiveRequestSchema,
  PutRequestSchema,
  RangeRequestSchema,
  RequestOpSchema,
  TxnRequestSchema,
  WatchRequestSchema,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import {
  decodeCompactionRequest,
  decodeDeleteRangeRequest,
  decodeLeaseGrantRequest,
  decodeLeaseKeepAliveRequest,
  decodeLeaseRevokeRequest,
  decodeLeaseTimeToLiveRequest,
  decodePutRequest,
  decodeRangeRequest,
  decodeTxnRequest,
  decodeWatchRequest,
  isReadOnlyTxn,
  type RequestOp,
  TXN_DEPTH_MAX,
  type TxnRequest,
} from '../../src/shared/etcd/requests.ts';
import { MalformedMessageError, Writer } from '../../src/shared/etcd/wire.ts';
import { message, type Shape } from './fields.ts';
import { accepts, flat, transaction, watch } from './generated.ts';
import { property } from './property.ts';
import * as shapes from './shapes.ts';

interface Case {
  schema: DescMessage;
  shape: Shape;
  /** Decodes by hand, and gives the generated code's message of it. */
  decode(bytes: Uint8Array): Message;
}

const leaseId = (schema: DescMessage, id: bigint): Message => flat(schema, { ID: id });

const CASES: Case[] = [
  {
    schema: RangeRequestSchema,
    shape: shapes.RANGE,
    decode: (bytes) => flat(RangeRequestSchema, decodeRangeRequest(bytes)),
  },
  {
    schema: PutRequestSchema,
    shape: shapes.PUT,
    decode: (bytes) => flat(PutRequestSchema, decodePutRequest(bytes)),
  },
  {
    schema: DeleteRangeRequestSchema,
    shape: shapes.DELETE,
    decode: (bytes) => flat(DeleteRangeRequestSchema, decodeDeleteRangeRequest(bytes)),
  },
  {
    schema: TxnRequestSchema,
    shape: shapes.TXN,
    decode: (bytes) => transaction(decodeTxnRequest(bytes)),
  },
  {
    schema: CompactionRequestSchema,
    shape: shapes.COMPACTION,
    decode: (bytes) => flat(CompactionRequestSchema, decodeCompactionRequest(bytes)),
  },
  {
    schema: WatchRequestSchema,
    shape: shapes.WATCH,
    decode: (bytes) => watch(decodeWatchRequest(bytes)),
  },
  {
    schema: LeaseGrantRequestSchema,
    shape: shapes.LEASE_GRANT,
    decode: (bytes) => {
      const { ttl, id } = decodeLeaseGrantRequest(bytes);
      return flat(LeaseGrantRequestSchema, { TTL: ttl, ID: id });
    },
  },
  {
    schema: LeaseRevokeRequestSchema,
    shape: shapes.LEASE_ID,
    decode: (bytes) => leaseId(LeaseRevokeRequestSchema, decodeLeaseRevokeRequest(bytes).id),
  },
  {
    schema: LeaseKeepAliveRequestSchema,
    shape: shapes.LEASE_ID,
    decode: (bytes) => leaseId(LeaseKeepAliveRequestSchema, decodeLeaseKeepAliveRequest(bytes).id),
  },
  {
    schema: LeaseTimeToLiveRequestSchema,
    shape: shapes.LEASE_TIME_TO_LIVE,
    decode: (bytes) => {
      const { id, keys } = decodeLeaseTimeToLiveRequest(bytes);
      return flat(LeaseTimeToLiveRequestSchema, { ID: id, keys });
    },
  },
];

function decodes(check: Case, bytes: Uint8Array): boolean {
  try {
    check.decode(bytes);
    return true;
  } catch (error) {
    assert.ok(error instanceof MalformedMessageError, `threw ${error}`);
    return false;
  }
}

for (const check of CASES) {
  const name = check.schema.name;

  property(
    `${name}: however its fields are laid out, it says what generated code says`,
    message(check.shape),
    (bytes) => {
      const expected = fromBinary(check.schema, bytes);
      assert.ok(equals(check.schema, check.decode(bytes), expected), Buffer.from(bytes).toString('hex'));
    },
  );

  const cut = fc.tuple(message(check.shape), fc.nat());
  property(`${name}: cut anywhere, it is refused when generated code refuses it`, cut, ([bytes, seed]) => {
    const part = bytes.slice(0, seed % (bytes.length + 1));
    assert.equal(decodes(check, part), accepts(check.schema, part), Buffer.from(part).toString('hex'));
  });

  const changed = fc.tuple(message(check.shape), fc.nat(), fc.nat(255));
  property(`${name}: no changed byte makes it throw anything but MalformedMessageError`, changed, (input) => {
    const [bytes, place, byte] = input;
    const damaged = bytes.slice();
    if (damaged.length > 0) damaged[place % damaged.length] = byte;
    decodes(check, damaged);
  });

  property(
    `${name}: no random bytes make it throw anything but MalformedMessageError`,
    fc.uint8Array(),
    (bytes) => {
      decodes(check, bytes);
    },
  );
}

function writes(op: RequestOp): boolean {
  return op.kind === 'put' || op.kind === 'delete' || (op.kind === 'txn' && txnWrites(op.txn));
}

function txnWrites(txn: TxnRequest): boolean {
  return [...txn.success, ...txn.failure].some(writes);
}

property('isReadOnlyTxn is never true of a transaction that writes', message(shapes.TXN), (bytes) => {
  if (isReadOnlyTxn(bytes)) assert.ok(!txnWrites(decodeTxnRequest(bytes)));
});

property(
  'isReadOnlyTxn is true of every transaction without put and delete',
  message(shapes.READ_ONLY_TXN),
  (bytes) => {
    assert.ok(isReadOnlyTxn(bytes));
  },
);

test('isReadOnlyTxn finds a write in either branch and within nested transactions', () => {
  const put = create(RequestOpSchema, { request: { case: 'requestPut', value: {} } });
  const remove = create(RequestOpSchema, { request: { case: 'requestDeleteRange', value: {} } });
  const range = create(RequestOpSchema, { request: { case: 'requestRange', value: {} } });
  const inner = create(TxnRequestSchema, { failure: [range, remove] });
  const nested = create(RequestOpSchema, { request: { case: 'requestTxn', value: inner } });
  for (const branch of [[put], [range, remove], [nested]]) {
    for (const txn of [{ success: branch }, { failure: branch }]) {
      assert.equal(isReadOnlyTxn(toBinary(TxnRequestSchema, create(TxnRequestSchema, txn))), false);
    }
  }
});

function nestedTxn(depth: number): Uint8Array {
  let txn: Uint8Array = new Uint8Array(0);
  for (let level = 1; level < depth; level++) {
    const op = new Writer();
    op.varint(34);
    op.delimited(txn);
    const outer = new Writer();
    outer.varint(18);
    outer.delimited(op.view());
    txn = outer.finish();
  }
  return txn;
}

test('transactions nest as deep as the limit says and no deeper, and never overflow the stack', () => {
  decodeTxnRequest(nestedTxn(TXN_DEPTH_MAX));
  assert.ok(isReadOnlyTxn(nestedTxn(TXN_DEPTH_MAX)));
  for (const depth of [TXN_DEPTH_MAX + 1, 4000]) {
    assert.throws(() => decodeTxnRequest(nestedTxn(depth)), MalformedMessageError);
    assert.throws(() => isReadOnlyTxn(nestedTxn(depth)), MalformedMessageError);
  }
});

test('byte fields are views of the request and not copies', () => {
  const bytes = toBinary(
    PutRequestSchema,
    create(PutRequestSchema, { key: new Uint8Array([1]), value: new Uint8Array(9) }),
  );
  const put = decodePutRequest(bytes);
  assert.equal(put.key.buffer, bytes.buffer);
  assert.equal(put.value.buffer, bytes.buffer);
});

test('a request within a larger buffer, as gRPC gives it, is read from its own place', () => {
  const frame = Buffer.concat([
    Buffer.from('junk'),
    Buffer.from([10, 1, 0x61, 18, 1, 0x62]),
    Buffer.from('junk'),
  ]);
  const put = decodePutRequest(frame.subarray(4, 10));
  assert.deepEqual([...put.key, ...put.value], [0x61, 0x62]);
});

test('a known field with another wire type is an unknown field, as in Go', () => {
  const put = decodePutRequest(new Uint8Array([8, 5, 26, 1, 0x61, 18, 1, 0x62]));
  assert.deepEqual([put.key.length, put.lease, put.value[0]], [0, 0n, 0x62]);
});

test('filters are read packed and unpacked', () => {
  const request = decodeWatchRequest(new Uint8Array([10, 8, 40, 1, 42, 2, 0, 1, 40, 0]));
  assert.deepEqual(request.kind === 'create' && request.create.filters, [1, 0, 1, 0]);
});

test('a watch id that a number cannot hold is refused and not clamped into another one', () => {
  const watchId = new Writer();
  watchId.varint(56);
  watchId.bigint64(1n << 60n);
  const request = new Writer();
  request.varint(10);
  request.delimited(watchId.view());
  assert.throws(() => decodeWatchRequest(request.finish()), MalformedMessageError);
});
