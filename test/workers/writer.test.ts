import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { etcdErrorId } from '../../src/shared/etcd/errors.ts';
import {
  CompactionRequestSchema,
  DeleteRangeRequestSchema,
  DeleteRangeResponseSchema,
  LeaseGrantRequestSchema,
  LeaseRevokeRequestSchema,
  PutRequestSchema,
  TxnRequestSchema,
  TxnResponseSchema,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { WriteKind } from '../../src/workers/contract/writer.ts';
import { bytes, text } from '../support/etcd-client.ts';
import { LocalWriter, type Write } from './local-writer.ts';
import { inRange, KeyModel } from './model.ts';

/** What a test does: write, compact, read at a revision so far back. */
type Step =
  | { do: 'put'; key: string; value: string; lease: number }
  | { do: 'delete'; key: string; end: string }
  | { do: 'grant' | 'revoke'; lease: number }
  | { do: 'compact'; back: number }
  | { do: 'read'; key: string; end: string; back: number; limit: number };

const key = fc.constantFrom('a', 'aa', 'b', 'c', 'd');
const end = fc.constantFrom('', '', 'b', 'c', 'z', '\0');
const lease = fc.integer({ min: 1, max: 3 });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant('put' as const),
      key,
      value: fc.string({ maxLength: 3 }),
      lease: fc.constantFrom(0, 0, 1, 2, 3),
    }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('delete' as const), key, end }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('grant' as const, 'revoke' as const), lease }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('compact' as const), back: fc.nat(6) }) },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('read' as const), key, end, back: fc.nat(6), limit: fc.nat(3) }),
  },
);
/** One batch, how many chunks are still on their way after it, and slices of idle work. */
const batch = fc.record({
  steps: fc.array(step, { minLength: 1, maxLength: 5 }),
  lag: fc.nat(4),
  slices: fc.nat(2),
});

/** The request of a step and what the model says that it answers; the model has moved on then. */
function expect(
  model: KeyModel,
  one: Step,
): { write: Write; check(tag: number, response: Uint8Array): void } {
  const fails = (kind: Parameters<typeof etcdErrorId>[0]) => (tag: number) =>
    assert.equal(tag, etcdErrorId(kind), kind);
  const succeeds = (tag: number): void => assert.equal(tag, 0);
  switch (one.do) {
    case 'put': {
      const message = { key: bytes(one.key), value: Buffer.from(one.value), lease: BigInt(one.lease) };
      const request = toBinary(PutRequestSchema, create(PutRequestSchema, message));
      const write = { kind: WriteKind.Put, request };
      if (one.lease !== 0 && !model.leases.has(one.lease)) return { write, check: fails('LeaseNotFound') };
      model.put(one.key, one.value, one.lease);
      return { write, check: succeeds };
    }
    case 'delete': {
      const message = { key: bytes(one.key), rangeEnd: bytes(one.end) };
      const request = toBinary(DeleteRangeRequestSchema, create(DeleteRangeRequestSchema, message));
      const deleted = model.delete((candidate) => inRange(one.key, one.end, candidate));
      const check = (_: number, response: Uint8Array): void =>
        assert.equal(fromBinary(DeleteRangeResponseSchema, response).deleted, BigInt(deleted));
      return { write: { kind: WriteKind.DeleteRange, request }, check };
    }
    case 'grant': {
      const message = { ID: BigInt(one.lease), TTL: 60n };
      const request = toBinary(LeaseGrantRequestSchema, create(LeaseGrantRequestSchema, message));
      const write = { kind: WriteKind.LeaseGrant, request };
      if (model.leases.has(one.lease)) return { write, check: fails('LeaseExist') };
      model.leases.add(one.lease);
      return { write, check: succeeds };
    }
    case 'revoke': {
      const request = toBinary(
        LeaseRevokeRequestSchema,
        create(LeaseRevokeRequestSchema, { ID: BigInt(one.lease) }),
      );
      const write = { kind: WriteKind.LeaseRevoke, request };
      if (!model.leases.delete(one.lease)) return { write, check: fails('LeaseNotFound') };
      model.delete((_, attached) => attached === one.lease);
      return { write, check: succeeds };
    }
    case 'compact': {
      const revision = model.revision - one.back;
      const message = { revision: BigInt(revision) };
      const request = toBinary(CompactionRequestSchema, create(CompactionRequestSchema, message));
      const write = { kind: WriteKind.Compact, request };
      if (revision <= model.compactRevision) return { write, check: fails('Compacted') };
      model.compactRevision = revision;
      return { write, check: succeeds };
    }
    case 'read':
      return expectRead(model, one);
  }
}

/** The writer reads within transactions alone. */
function expectRead(model: KeyModel, one: Extract<Step, { do: 'read' }>): ReturnType<typeof expect> {
  const revision = Math.max(1, model.revision - one.back);
  const range = {
    key: bytes(one.key),
    rangeEnd: bytes(one.end),
    revision: BigInt(revision),
    limit: BigInt(one.limit),
  };
  const message = { success: [{ request: { case: 'requestRange' as const, value: range } }] };
  const write = {
    kind: WriteKind.Txn,
    request: toBinary(TxnRequestSchema, create(TxnRequestSchema, message)),
  };
  if (revision < model.compactRevision) {
    return { write, check: (tag) => assert.equal(tag, etcdErrorId('Compacted')) };
  }
  const found = model.keys(revision).filter((candidate) => inRange(one.key, one.end, candidate));
  const shown = one.limit > 0 ? found.slice(0, one.limit) : found;
  const pairs = shown.map((name) => [name, model.value(name, revision)]);
  const newest = BigInt(model.revision);
  const check = (_: number, response: Uint8Array): void => {
    const { header, responses } = fromBinary(TxnResponseSchema, response);
    const answer = responses[0]?.response;
    assert.ok(answer?.case === 'responseRange');
    const { kvs, more, count } = answer.value;
    assert.equal(header?.revision, newest);
    assert.deepEqual([more, count], [shown.length < found.length, BigInt(found.length)]);
    assert.deepEqual(
      kvs.map((kv) => [text(kv.key), Buffer.from(kv.value).toString()]),
      pairs,
    );
  };
  return { write, check };
}

test('a writer whose chunks are applied late answers as a model does, and its log rebuilds its rows', (context) => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
  context.diagnostic(`SEED=${seed}`);
  const property = fc.property(fc.array(batch, { maxLength: 14 }), fc.nat(), (batches, cut) => {
    const model = new KeyModel();
    const [late, prompt] = [new LocalWriter(), new LocalWriter()];
    late.begin();
    prompt.begin();
    for (const { steps, lag, slices } of batches) {
      const expected = steps.map((one) => expect(model, one));
      const writes = expected.map(({ write }) => write);
      const answers = late.evaluate(writes);
      for (const [index, { tag, response }] of answers.entries()) expected[index]!.check(tag, response);
      assert.deepEqual(prompt.evaluate(writes), answers, 'answers do not depend on what is applied');
      assert.deepEqual(prompt.events, late.events, 'nor do events');
      prompt.apply(prompt.chunks.length);
      if (late.chunks.length > lag) late.apply(late.chunks.length - lag);
      late.idle(slices);
    }
    assert.deepEqual(late.chunks, prompt.chunks, 'nor do chunks');
    late.apply(late.chunks.length);
    checkSameRows(model, late, prompt, cut);
  });
  fc.assert(property, { seed, numRuns: 60 });
});

/** All ways to the same log position give the same rows: applied late or at once, recovered whole or from a cache. */
function checkSameRows(model: KeyModel, late: LocalWriter, prompt: LocalWriter, cut: number): void {
  const { chunks } = late;
  const part = chunks.length === 0 ? 0 : cut % chunks.length;
  const first = new LocalWriter();
  first.load(chunks.slice(0, part));
  first.close();
  const reopened = new LocalWriter(first.file);
  reopened.load(chunks.slice(part));
  const whole = new LocalWriter();
  whole.load(chunks);
  const writers = [late, prompt, reopened, whole];
  for (const writer of writers) writer.idle();
  const [rows, ...others] = writers.map((writer) => writer.dump());
  for (const other of others) assert.deepEqual(other, rows);
  const history = rows!['history'] as { key: Buffer; revision: number }[];
  const kept = history.map(({ key: name, revision }) => `${name.toString()}@${revision}`).sort();
  assert.deepEqual(kept, model.keptAfter(model.compactRevision), 'a compaction leaves what etcd keeps');
  for (const writer of writers) writer.close();
}
