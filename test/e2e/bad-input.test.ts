import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Cluster, KV, Lease, Maintenance, Watch } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { bytes, failureOf } from '../support/etcd-client.ts';
import { deleteOp, Fixture, type OperationInit, putOp, rangeOp, txnOp } from './fixture.ts';

/** Field 1 as bytes of length 100, of which none follow; a varint without an end; a field number 0; a group's end. */
const MALFORMED = [[0x0a, 0x64], [0x08, 0xff], [0x00, 0x00], [0x0c]].map((one) => Uint8Array.from(one));
/** INTERNAL in words of grpc-go's. */
const MALFORMED_WORDS = {
  unary: /^13 grpc: error unmarshalling request: /,
  server_streaming: /^13 grpc: failed to unmarshal the received message: /,
  client_streaming: /^13 grpc: failed to unmarshal the received message: /,
  bidi_streaming: /^13 grpc: failed to unmarshal the received message: /,
};
const EMPTY_KEY = { code: 3, details: 'etcdserver: key is not provided' };
const TOO_MANY = { code: 3, details: 'etcdserver: too many operations in txn request' };

/** A message of one field, whose bytes are `inner`. */
function nest(tag: number, inner: Uint8Array): Uint8Array {
  const length: number[] = [];
  for (let rest = inner.length; length.length === 0 || rest > 0; rest >>>= 7) {
    length.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
  }
  return Buffer.concat([Uint8Array.from([tag, ...length]), inner]);
}

describe('bad input over gRPC', { timeout: 60_000 }, () => {
  const server = new Fixture({ arguments: ['--max-request-bytes', '65536', '--max-txn-ops', '8'] });

  async function send(method: (typeof KV.methods)[number], body: Uint8Array): Promise<unknown> {
    const { client } = server;
    if (method.methodKind === 'unary') return client.callBytes(method, body);
    if (method.methodKind === 'server_streaming') return client.collectBytes(method, body);
    return client.exchangeBytes(method, [body]);
  }

  for (const { methods } of [KV, Watch, Lease, Maintenance, Cluster]) {
    for (const method of methods) {
      it(`malformed protobuf to ${method.name} is an error of that call alone`, async () => {
        for (const body of MALFORMED) {
          const { code, details } = await failureOf(send(method, body));
          // What is not served says that first.
          if (code === 12) assert.match(details, new RegExp(`^unknown method ${method.name} for service `));
          else assert.match(`${code} ${details}`, MALFORMED_WORDS[method.methodKind]);
          await server.put('alive');
        }
      });
    }
  }

  it('a request over --max-request-bytes is refused by etcd words, one below is taken', async () => {
    await server.put('large', 'x'.repeat(65_000));
    const tooLarge = { code: 3, details: 'etcdserver: request is too large' };
    assert.deepEqual(await failureOf(server.put('large', 'x'.repeat(65_536))), tooLarge);
    assert.deepEqual(
      await failureOf(server.txn({ success: [putOp('large', 'x'.repeat(65_536))] })),
      tooLarge,
    );
    const farTooLarge = await failureOf(server.put('large', 'x'.repeat(2_000_000)));
    // The transport refuses it, as in etcd: 65,536 and half a MiB.
    const details = 'grpc: received message larger than max (2000011 vs. 589824)';
    assert.deepEqual(farTooLarge, { code: 8, details });
    assert.equal((await server.range('large')).kvs[0]?.value.length, 65_000);
  });

  it('too many operations are refused: on one level, as compares, and over nested levels together', async () => {
    const many = (count: number): OperationInit[] =>
      Array.from({ length: count }, (_, index) => rangeOp(`k${index}`));
    assert.equal((await server.txn({ success: many(8) })).succeeded, true);
    assert.deepEqual(await failureOf(server.txn({ success: many(9) })), TOO_MANY);
    assert.deepEqual(await failureOf(server.txn({ failure: many(9) })), TOO_MANY);
    const compare = Array.from({ length: 9 }, () => ({ key: bytes('k') }));
    assert.deepEqual(await failureOf(server.txn({ compare })), TOO_MANY);
    const nested = [...many(4), txnOp({ success: many(4) })];
    assert.deepEqual(await failureOf(server.txn({ success: nested })), TOO_MANY);
    assert.equal((await server.txn({ success: [...many(3), txnOp({ success: many(4) })] })).succeeded, true);
  });

  it('an empty key is refused wherever a key is asked for', async () => {
    assert.deepEqual(await failureOf(server.put('')), EMPTY_KEY);
    assert.deepEqual(await failureOf(server.range('')), EMPTY_KEY);
    assert.deepEqual(await failureOf(server.client.call(KV.method.deleteRange, {})), EMPTY_KEY);
    assert.deepEqual(await failureOf(server.client.collect(KV.method.rangeStream, {})), EMPTY_KEY);
    assert.deepEqual(await failureOf(server.txn({ compare: [{}] })), EMPTY_KEY);
    for (const op of [putOp(''), rangeOp(''), deleteOp(''), txnOp({ failure: [putOp('')] })]) {
      assert.deepEqual(await failureOf(server.txn({ failure: [op] })), EMPTY_KEY);
    }
  });

  it('an unknown sort option, and an operation without content, are refused', async () => {
    const invalid = { code: 3, details: 'etcdserver: invalid sort option' };
    assert.deepEqual(await failureOf(server.range('a', 'b', { sortOrder: 7 as 0 })), invalid);
    assert.deepEqual(await failureOf(server.range('a', 'b', { sortTarget: 7 as 0 })), invalid);
    assert.equal((await failureOf(server.txn({ success: [{}] }))).details, 'etcdserver: key not found');
  });

  it('a transaction nested beyond reason is refused, and the server goes on', async () => {
    let request: Uint8Array = new Uint8Array();
    // TxnRequest.success is field 2, RequestOp.request_txn field 4.
    for (let depth = 0; depth < 5000; depth++) request = nest(0x12, nest(0x22, request));
    const { code } = await failureOf(server.client.callBytes(KV.method.txn, request));
    assert.match(String(code), /^(3|13)$/);
    await server.put('alive');
  });
});
