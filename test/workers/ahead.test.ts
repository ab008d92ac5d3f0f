import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import {
  CompactionRequestSchema,
  DeleteRangeRequestSchema,
  LeaseGrantRequestSchema,
  LeaseRevokeRequestSchema,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { WriteKind } from '../../src/workers/contract/writer.ts';
import { bytes } from '../support/etcd-client.ts';
import { createRequest, putRequest } from '../support/writes.ts';
import { LocalWriter, type Write, write } from './local-writer.ts';

const key = fc.constantFrom('a', 'b', 'c', 'd', 'e');
const id = fc.constantFrom(1n, 2n);

const someWrite: fc.Arbitrary<Write> = fc.oneof(
  {
    weight: 6,
    arbitrary: key.map((name) => ({ kind: WriteKind.Put, request: putRequest(name, name.repeat(40)) })),
  },
  {
    weight: 6,
    arbitrary: key.map((name) => ({ kind: WriteKind.Txn, request: createRequest(name, 'made') })),
  },
  {
    weight: 3,
    arbitrary: key.map((name) =>
      write(WriteKind.DeleteRange, DeleteRangeRequestSchema, { key: bytes(name), prevKv: true }),
    ),
  },
  {
    weight: 1,
    arbitrary: fc
      .integer({ min: 1, max: 9 })
      .map((revision) => write(WriteKind.Compact, CompactionRequestSchema, { revision: BigInt(revision) })),
  },
  {
    weight: 1,
    arbitrary: id.map((ID) => write(WriteKind.LeaseGrant, LeaseGrantRequestSchema, { ID, TTL: 60n })),
  },
  { weight: 1, arbitrary: id.map((ID) => write(WriteKind.LeaseRevoke, LeaseRevokeRequestSchema, { ID })) },
);

/** A batch, in the parts that the writer is given; whether what was evaluated before is applied between them. */
const batch = fc.record({
  parts: fc.array(fc.array(someWrite, { maxLength: 6 }), { minLength: 1, maxLength: 4 }),
  applies: fc.boolean(),
});

it('a batch that is evaluated in parts, ahead of its end, is the same chunk, answers and events', () => {
  fc.assert(
    fc.property(fc.array(batch, { minLength: 1, maxLength: 6 }), (batches) => {
      const whole = new LocalWriter();
      const ahead = new LocalWriter();
      whole.begin();
      ahead.begin();
      for (const { parts, applies } of batches) {
        const last = ahead.chunks.length;
        whole.evaluate(parts.flat());
        for (const part of parts.slice(0, -1)) {
          ahead.evaluateAhead(part);
          if (applies) ahead.apply(last);
        }
        ahead.evaluate(parts.at(-1)!);
        assert.deepEqual(ahead.said, whole.said);
      }
      for (const writer of [whole, ahead]) writer.apply(writer.chunks.length);
      const rows = whole.dump();
      assert.deepEqual(ahead.dump(), rows);
      const reader = new LocalWriter();
      reader.load(ahead.chunks);
      assert.deepEqual(reader.dump(), rows);
      for (const writer of [whole, ahead, reader]) writer.close();
    }),
  );
});
