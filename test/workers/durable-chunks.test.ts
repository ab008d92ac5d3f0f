import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { PutRequestSchema } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { WriteKind } from '../../src/workers/contract/writer.ts';
import type { DurableChunk } from '../../src/workers/sqlite/apply.ts';
import { DurableChunks } from '../../src/workers/sqlite/durable-chunks.ts';
import { bytes } from '../support/etcd-client.ts';
import { LocalWriter } from './local-writer.ts';

function chunkOf(sequence: number, records: number): DurableChunk {
  return { sequence, crc: 0n, changes: Array(records).fill({}) };
}

test('chunks are applied in their order, each once, and so few at a time that a batch can wait', () => {
  const sizes = fc.array(fc.oneof(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 500 })), {
    maxLength: 40,
  });
  fc.assert(
    fc.property(sizes, fc.nat(5), (sizes, ahead) => {
      const waiting = new DurableChunks();
      const applied: number[] = [];
      const step = (): void => {
        const chunks = waiting.first();
        const most = Math.max(128, waiting.records / 2);
        assert.equal(chunks.length === 0, waiting.isEmpty);
        const before = chunks.slice(0, -1).reduce((sum, { changes }) => sum + changes.length, 0);
        assert.ok(before < most, `${before} records before the last chunk`);
        applied.push(...chunks.map(({ sequence }) => sequence));
        waiting.remove(chunks.length);
      };
      for (const [index, size] of sizes.entries()) {
        waiting.add(chunkOf(index + 1, size));
        if (index % 6 > ahead) step();
      }
      while (!waiting.isEmpty) step();
      assert.deepEqual(
        applied,
        sizes.map((_, index) => index + 1),
      );
    }),
  );
});

test('what waits does not grow, however much comes while a transaction is made', () => {
  for (const arriving of [10, 127, 200, 3_000]) {
    const waiting = new DurableChunks();
    let most = 0;
    for (let step = 0; step < 200; step++) {
      for (let records = 0; records < arriving; records += 50) waiting.add(chunkOf(step, 50));
      most = Math.max(most, waiting.records);
      waiting.remove(waiting.first().length);
    }
    assert.ok(most <= 2 * (arriving + 50), `${most} records waited while ${arriving} came at a time`);
  }
});

test('commits that are held are made all the same when too much waits', () => {
  const writer = new LocalWriter();
  writer.begin();
  writer.hold('commits');
  const request = toBinary(PutRequestSchema, create(PutRequestSchema, { key: bytes('k') }));
  const puts = Array.from({ length: 5_000 }, () => ({ kind: WriteKind.Put, request }));
  const hasWork: boolean[] = [];
  for (let sequence = 1; sequence <= 5; sequence++) {
    writer.evaluate(puts);
    writer.durable(sequence);
    hasWork.push(writer.hasIdleWork);
  }
  assert.deepEqual(hasWork, [false, false, false, false, true]);
  writer.idle();
  const rows = writer.dump()['history']!.length;
  assert.ok(rows >= 5_000 && rows < 25_000, `${rows} rows are applied while commits are held`);
  writer.resume('commits');
  writer.idle();
  assert.equal(writer.dump()['history']!.length, 25_000);
  writer.close();
});
