import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import {
  CompactionRequestSchema,
  DeleteRangeRequestSchema,
  LeaseGrantRequestSchema,
  LeaseRevokeRequestSchema,
  PutRequestSchema,
  TxnRequestSchema,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { WriteKind } from '../../src/workers/contract/writer.ts';
import { LocalWriter, type Write } from './local-writer.ts';

const key = fc.constantFrom('a', 'b', 'c', 'd').map((text) => Buffer.from(text));
const lease = fc.bigInt({ min: 1n, max: 3n });

const put = fc
  .record({ key, value: fc.uint8Array({ maxLength: 4 }), lease: fc.constantFrom(0n, 0n, 1n, 2n) })
  .map((fields): Write => {
    const request = { ...fields, value: Buffer.from(fields.value) };
    return { kind: WriteKind.Put, request: toBinary(PutRequestSchema, create(PutRequestSchema, request)) };
  });
const deletion = fc
  .record({ key, rangeEnd: fc.constantFrom('', 'c', '\0') })
  .map(({ rangeEnd, ...rest }): Write => {
    const message = create(DeleteRangeRequestSchema, { ...rest, rangeEnd: Buffer.from(rangeEnd) });
    return { kind: WriteKind.DeleteRange, request: toBinary(DeleteRangeRequestSchema, message) };
  });
/** Two keys changed in one revision, one of them deleted. */
const txn = fc
  .uniqueArray(key, { minLength: 2, maxLength: 2, selector: String })
  .map(([one, other]): Write => {
    const success = [
      { request: { case: 'requestPut', value: { key: one!, value: Buffer.from('txn') } } },
      { request: { case: 'requestDeleteRange', value: { key: other! } } },
    ] as const;
    const message = create(TxnRequestSchema, { success: [...success] });
    return { kind: WriteKind.Txn, request: toBinary(TxnRequestSchema, message) };
  });
const grant = lease.map(
  (ID): Write => ({
    kind: WriteKind.LeaseGrant,
    request: toBinary(LeaseGrantRequestSchema, create(LeaseGrantRequestSchema, { ID, TTL: 60n })),
  }),
);
const revoke = lease.map(
  (ID): Write => ({
    kind: WriteKind.LeaseRevoke,
    request: toBinary(LeaseRevokeRequestSchema, create(LeaseRevokeRequestSchema, { ID })),
  }),
);
const compaction = fc.bigInt({ min: 1n, max: 20n }).map(
  (revision): Write => ({
    kind: WriteKind.Compact,
    request: toBinary(CompactionRequestSchema, create(CompactionRequestSchema, { revision })),
  }),
);
const write = fc.oneof(
  { weight: 6, arbitrary: put },
  { weight: 3, arbitrary: deletion },
  { weight: 2, arbitrary: txn },
  { weight: 2, arbitrary: grant },
  { weight: 1, arbitrary: revoke },
  { weight: 1, arbitrary: compaction },
);
const batches = fc.array(fc.array(write, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 12 });

test('a standby that follows, in whatever portions, has the events, leases and rows of the primary', () => {
  fc.assert(
    fc.property(batches, fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1 }), (writes, portions) => {
      const primary = new LocalWriter();
      const standby = new LocalWriter();
      primary.begin();
      standby.begin();
      for (const batch of writes) {
        primary.evaluate(batch);
        const last = primary.chunks[primary.chunks.length - 1];
        if (last !== undefined) primary.apply(last.sequence);
      }
      const chunks = [...primary.chunks];
      for (let turn = 0; chunks.length > 0; turn++)
        standby.follow(chunks.splice(0, portions[turn % portions.length]!));
      primary.idle();
      standby.idle();
      assert.deepEqual(Buffer.concat(standby.followedEvents), Buffer.concat(primary.evaluatedEvents));
      assert.deepEqual(standby.leaseChanges, primary.leaseChanges);
      assert.deepEqual(standby.dump(), primary.dump());
      primary.close();
      standby.close();
    }),
    { numRuns: 60 },
  );
});

test('a standby that begins anew goes on as the primary where it has followed to', () => {
  const primary = new LocalWriter();
  const standby = new LocalWriter();
  primary.begin();
  standby.begin();
  const one = toBinary(
    PutRequestSchema,
    create(PutRequestSchema, { key: Buffer.from('k'), value: Buffer.from('1') }),
  );
  primary.evaluate([{ kind: WriteKind.Put, request: one }]);
  standby.follow([...primary.chunks]);
  standby.begin();
  standby.evaluate([{ kind: WriteKind.Put, request: one }]);
  assert.deepEqual(
    standby.chunks.map(({ sequence }) => sequence),
    [2],
  );
  standby.apply(2);
  primary.close();
  standby.close();
});
