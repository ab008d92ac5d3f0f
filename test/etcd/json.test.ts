import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { create, fromBinary, toBinary, toJsonString } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { toBase64 } from '../../src/shared/base/base64.ts';
import {
  CompareSchema,
  PutRequestSchema,
  TxnRequestSchema,
  WatchResponseSchema,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { bodyToMessage, messageToJson } from '../../src/shared/etcd/json.ts';
import { JsonError, JsonValues } from '../../src/shared/etcd/json-values.ts';
import { property } from './property.ts';

const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => new Uint8Array(array));

/** Every value that `text` has, when its bytes come in pieces cut at `cuts`. */
function valuesOf(text: string, cuts: readonly number[]): string[] {
  const all = Buffer.from(text);
  const places = [0, ...cuts.map((cut) => cut % (all.length + 1)), all.length].sort((a, b) => a - b);
  const values = new JsonValues();
  const found: string[] = [];
  for (const [index, place] of places.entries()) {
    values.push(all.subarray(places[index - 1] ?? 0, place));
    for (let value = values.next(); value !== undefined; value = values.next()) {
      found.push(Buffer.from(value).toString());
    }
  }
  const last = values.last();
  return last === undefined ? found : [...found, Buffer.from(last).toString()];
}

property(
  'JSON values that follow each other are told apart, wherever the bytes are cut',
  fc.record({
    // Two numbers without a space between them are one.
    values: fc.array(fc.tuple(fc.jsonValue(), fc.constantFrom(' ', '\n', '\t \r\n'))),
    cuts: fc.array(fc.nat()),
  }),
  ({ values, cuts }) => {
    const text = values.map(([value, space]) => JSON.stringify(value, null, space) + space).join('');
    const found = valuesOf(text, cuts).map((value) => JSON.parse(value) as unknown);
    assert.deepEqual(found, JSON.parse(JSON.stringify(values.map(([value]) => value))));
  },
);

property(
  'a request keeps every field through JSON, 64-bit numbers and any bytes included, under either name',
  fc.record({ key: bytes, value: bytes, lease: int64, prevKv: fc.boolean(), ignoreLease: fc.boolean() }),
  (fields) => {
    const message = create(PutRequestSchema, fields);
    for (const useProtoFieldName of [true, false]) {
      const json = toJsonString(PutRequestSchema, message, { useProtoFieldName });
      const read = bodyToMessage(PutRequestSchema, Buffer.from(json));
      assert.deepEqual(fromBinary(PutRequestSchema, read), message);
    }
    const { key, value, lease } = fields;
    const body = `{"key":"${Buffer.from(key).toString('base64')}","lease":${lease},"value":"${Buffer.from(value).toString('base64url')}"}`;
    const read = fromBinary(PutRequestSchema, bodyToMessage(PutRequestSchema, Buffer.from(body)));
    assert.deepEqual([read.key, read.value, read.lease], [key, value, lease]);
  },
);

property('base64 is what node has by its own names', bytes, (array) => {
  const buffer = Buffer.from(array);
  assert.equal(toBase64.call(array), buffer.toString('base64'));
  assert.equal(
    toBase64.call(array, { alphabet: 'base64url', omitPadding: true }),
    buffer.toString('base64url'),
  );
  assert.equal(toBase64.call(array, { omitPadding: true }), buffer.toString('base64').replace(/=/g, ''));
  assert.equal(toBase64.call(array, { alphabet: 'base64url' }).length, buffer.toString('base64').length);
});

test('threads that make JSON of messages load base64 before protobuf-es looks for it', () => {
  for (const file of ['src/main/main.ts', 'src/workers/task.ts']) {
    const [first] = /^import .*$/m.exec(readFileSync(file, 'utf8')) ?? [];
    assert.match(first ?? '', /^import '\.\.\/shared\/base\/base64\.ts';$/, file);
  }
});

test('a line of a stream has no character that HTML takes for its own, a body has', () => {
  const message = toBinary(WatchResponseSchema, create(WatchResponseSchema, { cancelReason: '<&>\u2028"' }));
  assert.equal(
    messageToJson(WatchResponseSchema, message, 'line'),
    String.raw`{"cancel_reason":"\u003c\u0026\u003e\u2028\""}`,
  );
  assert.equal(messageToJson(WatchResponseSchema, message, 'body'), '{"cancel_reason":"<&>\u2028\\""}');
});

test('messages, unknown values and brackets that nest without end are refused, not a stack overflow', () => {
  const nested = (open: string, close: string, depth: number): Buffer =>
    Buffer.from(open.repeat(depth) + close.repeat(depth));
  const txns = '{"success":[{"request_txn":';
  for (const depth of [501, 3_000]) {
    assert.throws(() => bodyToMessage(TxnRequestSchema, nested(txns, '}]}', depth)), JsonError);
  }
  for (const depth of [10_001, 1_000_000]) {
    assert.throws(() => bodyToMessage(CompareSchema, nested('[', ']', depth)), /exceeded max depth/);
    assert.throws(() => bodyToMessage(CompareSchema, nested('{"a":', '}', depth)), /exceeded max depth/);
  }
  assert.equal(bodyToMessage(CompareSchema, Buffer.from(`{"a":${nested('[', ']', 9_999)}}`)).length, 0);
});
