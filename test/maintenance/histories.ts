import type { MessageInitShape } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { KV, Lease, type RequestOpSchema } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { bytes } from '../support/etcd-client.ts';
import type { Outcome, Pair } from './pair.ts';

/** Random histories for HashKV: all that makes revisions, tombstones and generations of keys. */
export type Step =
  | { readonly kind: 'put'; readonly key: string; readonly value: string; readonly lease: bigint }
  | { readonly kind: 'delete'; readonly key: string; readonly rangeEnd: string }
  | { readonly kind: 'txn'; readonly steps: readonly Step[] }
  | { readonly kind: 'grant' | 'revoke'; readonly lease: bigint }
  /** At so many revisions before the newest. */
  | { readonly kind: 'compact'; readonly back: number };

const key = fc.constantFrom('a', 'b', 'c', 'd', 'e\xff', 'f\x00');
const rangeEnd = fc.constantFrom('', '', '', 'c', 'z');
const lease = fc.constantFrom(1n, 2n, 3n);
const value = fc.oneof(
  fc.constantFrom('', 'x', 'y'),
  fc.integer({ min: 1, max: 3000 }).map((length) => 'v'.repeat(length)),
);
const put = fc.record({
  kind: fc.constant('put' as const),
  key,
  value,
  lease: fc.oneof({ weight: 3, arbitrary: fc.constant(0n) }, { weight: 1, arbitrary: lease }),
});
const deletion = fc.record({ kind: fc.constant('delete' as const), key, rangeEnd });
const txn = fc.record({
  kind: fc.constant('txn' as const),
  steps: fc.array(fc.oneof(put, deletion), { minLength: 1, maxLength: 4 }),
});

export const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: put },
  { weight: 4, arbitrary: deletion },
  { weight: 1, arbitrary: fc.constant({ kind: 'delete' as const, key: '\x00', rangeEnd: '\x00' }) },
  { weight: 5, arbitrary: txn },
  { weight: 2, arbitrary: fc.record({ kind: fc.constantFrom('grant' as const, 'revoke' as const), lease }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('compact' as const), back: fc.integer({ min: 0, max: 12 }) }),
  },
);

/** Does a step on both servers, which must answer the same. */
export function carryOut(pair: Pair, one: Step, newest: bigint): Promise<Outcome> {
  switch (one.kind) {
    case 'put':
      return pair.same(KV.method.put, { ...one, key: bytes(one.key), value: bytes(one.value) });
    case 'delete':
      return pair.same(KV.method.deleteRange, { key: bytes(one.key), rangeEnd: bytes(one.rangeEnd) });
    case 'txn':
      return pair.same(KV.method.txn, { success: one.steps.map(requestOp) });
    case 'grant':
      return pair.same(Lease.method.leaseGrant, { ID: one.lease, TTL: 1000n });
    case 'revoke':
      return pair.same(Lease.method.leaseRevoke, { ID: one.lease });
    case 'compact':
      return pair.same(KV.method.compact, { revision: newest - BigInt(one.back), physical: true });
  }
}

function requestOp(one: Step): MessageInitShape<typeof RequestOpSchema> {
  if (one.kind === 'put') {
    const request = { key: bytes(one.key), value: bytes(one.value), lease: one.lease };
    return { request: { case: 'requestPut', value: request } };
  }
  if (one.kind === 'delete') {
    const request = { key: bytes(one.key), rangeEnd: bytes(one.rangeEnd) };
    return { request: { case: 'requestDeleteRange', value: request } };
  }
  throw new Error(`a transaction has no ${one.kind}`);
}
