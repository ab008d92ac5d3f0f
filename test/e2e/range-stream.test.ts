import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import type { MessageInitShape } from '@bufbuild/protobuf';
import {
  KV,
  RangeRequest_SortOrder as Order,
  type RangeRequestSchema,
  type RangeResponse,
  RangeRequest_SortTarget as Sort,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { bytes, failureOf, text } from '../support/etcd-client.ts';
import { Fixture } from './fixture.ts';

const KEYS = 500;

describe('RangeStream over gRPC', { timeout: 60_000 }, () => {
  const server = new Fixture();

  before(async () => {
    const puts = Array.from({ length: KEYS }, (_, index) =>
      server.put(`s/${String(index).padStart(4, '0')}`, 'v'.repeat(1000)),
    );
    await Promise.all(puts);
  });

  async function pieces(options: MessageInitShape<typeof RangeRequestSchema> = {}): Promise<RangeResponse[]> {
    const request = { key: bytes('s/'), rangeEnd: bytes('s0'), ...options };
    const responses = await server.client.collect(KV.method.rangeStream, request);
    return responses.map(({ rangeResponse }) => rangeResponse!);
  }

  it('sends the range in several pieces; header, more and count come with the last one only', async () => {
    const parts = await pieces();
    assert.ok(parts.length > 1);
    const last = parts.pop()!;
    for (const part of parts) assert.deepEqual([part.header, part.more, part.count], [undefined, false, 0n]);
    assert.deepEqual(
      [last.header?.revision, last.more, last.count],
      [BigInt(KEYS) + 1n, false, BigInt(KEYS)],
    );
    const keys = [...parts, last].flatMap(({ kvs }) => kvs.map(({ key }) => text(key)));
    assert.deepEqual(keys, [...keys].sort());
    assert.equal(new Set(keys).size, KEYS);
  });

  it('stops at the limit, says that there is more, and counts all', async () => {
    for (const limit of [1, 10, 11, 499]) {
      const parts = await pieces({ limit: BigInt(limit) });
      assert.equal(
        parts.reduce((sum, { kvs }) => sum + kvs.length, 0),
        limit,
      );
      assert.deepEqual([parts.at(-1)?.more, parts.at(-1)?.count], [true, BigInt(KEYS)]);
    }
    assert.equal((await pieces({ limit: BigInt(KEYS) })).at(-1)?.more, false);
  });

  it('counts, gives keys alone, and refuses what Range refuses', async () => {
    const [counted, ...more] = await pieces({ countOnly: true });
    assert.deepEqual([more.length, counted?.kvs.length, counted?.count], [0, 0, BigInt(KEYS)]);
    const parts = await pieces({ keysOnly: true });
    assert.ok(parts.every(({ kvs }) => kvs.every(({ value }) => value.length === 0)));
    assert.deepEqual(await failureOf(pieces({ key: bytes('') })), {
      code: 3,
      details: 'etcdserver: key is not provided',
    });
    assert.equal((await failureOf(pieces({ revision: 9_999n }))).code, 11);
  });

  it('keeps to the revision it began with while writes go on', async () => {
    let writing = true;
    const writer = (async () => {
      for (let round = 0; writing; round++) {
        await server.put(`s/${String(round % KEYS).padStart(4, '0')}`, `changed ${round}`);
      }
    })();
    try {
      for (let round = 0; round < 10; round++) {
        const parts = await pieces();
        const { revision } = parts.at(-1)!.header!;
        const streamed = parts.flatMap(({ kvs }) => kvs);
        const ranged = await server.range('s/', 's0', { revision });
        assert.deepEqual(streamed, ranged.kvs);
      }
    } finally {
      writing = false;
      await writer;
    }
  });

  it('answers UNIMPLEMENTED to sorting and to revision filters, in etcd words', async () => {
    const sorted = { code: 12, details: 'RangeStream does not support custom sort orders' };
    assert.deepEqual(await failureOf(pieces({ sortOrder: Order.DESCEND })), sorted);
    assert.deepEqual(await failureOf(pieces({ sortOrder: Order.ASCEND, sortTarget: Sort.MOD })), sorted);
    const filtered = { code: 12, details: 'RangeStream does not support revision filters' };
    assert.deepEqual(await failureOf(pieces({ minModRevision: 2n })), filtered);
  });
});
