import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { DurableChunk } from '../../src/workers/sqlite/apply.ts';
import { DurableChunks } from '../../src/workers/sqlite/durable-chunks.ts';

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
        assert.equal(chunks.length === 0, waiting.isEmpty);
        const before = chunks.slice(0, -1).reduce((sum, { changes }) => sum + changes.length, 0);
        assert.ok(before < 128, `${before} records before the last chunk`);
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
