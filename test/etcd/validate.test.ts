import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EtcdError } from '../../src/shared/etcd/errors.ts';
import type { RequestOp, TxnRequest } from '../../src/shared/etcd/requests.ts';
import { checkTxn } from '../../src/shared/etcd/validate.ts';
import { bytes, text } from '../support/etcd-client.ts';

/** Every key that a generated transaction can name, so that intervals can be written out as sets. */
const KEYS = ['a', 'a\0', 'b', 'c', 'd'];

const key = fc.constantFrom(...KEYS);
const putOp = key.map(
  (one): RequestOp => ({
    kind: 'put',
    put: {
      key: bytes(one),
      value: bytes(''),
      lease: 0n,
      prevKv: false,
      ignoreValue: false,
      ignoreLease: false,
    },
  }),
);
const deleteOp = fc.tuple(key, fc.constantFrom('', '', 'b', 'd', 'e', '\0', 'a')).map(
  ([one, end]): RequestOp => ({
    kind: 'delete',
    delete: { key: bytes(one), rangeEnd: bytes(end), prevKv: false },
  }),
);

function operations(depth: number): fc.Arbitrary<RequestOp[]> {
  const nested = txn(depth - 1).map((one): RequestOp => ({ kind: 'txn', txn: one }));
  const leaf = { weight: 3, arbitrary: putOp };
  const all = [leaf, { weight: 1, arbitrary: deleteOp }];
  return fc.array(fc.oneof(...all, ...(depth > 0 ? [{ weight: 2, arbitrary: nested }] : [])), {
    maxLength: 3,
  });
}

function txn(depth: number): fc.Arbitrary<TxnRequest> {
  if (depth < 0) return fc.constant({ compare: [], success: [], failure: [] });
  return fc.record({ compare: fc.constant([]), success: operations(depth), failure: operations(depth) });
}

class Duplicate extends Error {}

/**
 * etcd's rule (checkIntervals in its v3rpc/key.go) over sets of keys: this level's deletes first, then each nested
 * transaction's puts and, after them, its deletes, then this level's puts.
 */
function writesOf(ops: readonly RequestOp[]): { puts: Set<string>; deletes: Set<string> } {
  const deletes = new Set<string>();
  const puts = new Set<string>();
  const add = (one: string, allowed?: Set<string>): void => {
    if ((puts.has(one) && !allowed?.has(one)) || deletes.has(one)) throw new Duplicate();
    puts.add(one);
  };
  for (const op of ops) if (op.kind === 'delete') for (const one of deletedBy(op)) deletes.add(one);
  for (const op of ops) {
    if (op.kind !== 'txn') continue;
    const [then, otherwise] = [writesOf(op.txn.success), writesOf(op.txn.failure)];
    for (const one of then.puts) add(one);
    for (const one of otherwise.puts) add(one, then.puts);
    for (const one of [...then.deletes, ...otherwise.deletes]) deletes.add(one);
  }
  for (const op of ops) if (op.kind === 'put') add(text(op.put.key));
  return { puts, deletes };
}

function deletedBy(op: Extract<RequestOp, { kind: 'delete' }>): string[] {
  const [start, end] = [text(op.delete.key), text(op.delete.rangeEnd)];
  return KEYS.filter((one) => (end === '' ? one === start : one >= start && one < end));
}

test('a transaction is refused for duplicate keys exactly when etcd refuses it', (context) => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
  context.diagnostic(`SEED=${seed}`);
  const seen = { refused: 0, taken: 0 };
  const property = fc.property(txn(3), (request) => {
    const refusedByRule = throwsDuplicate(() => {
      writesOf(request.success);
      writesOf(request.failure);
    });
    assert.equal(
      throwsDuplicate(() => checkTxn(request, 128)),
      refusedByRule,
    );
    seen[refusedByRule ? 'refused' : 'taken']++;
  });
  fc.assert(property, { seed, numRuns: 3000 });
  assert.ok(seen.refused > 100 && seen.taken > 100, JSON.stringify(seen));
});

function throwsDuplicate(check: () => void): boolean {
  try {
    check();
    return false;
  } catch (error) {
    if (error instanceof Duplicate) return true;
    if (error instanceof EtcdError && error.kind === 'DuplicateKey') return true;
    throw error;
  }
}
