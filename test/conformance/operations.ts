import fc from 'fast-check';

/**
 * Random operations over a small key space, as plain data: text stands for bytes, and a number from
 * RELATIVE_REVISION on stands for a revision near the newest one, which is only known when the operation is sent.
 */

export type Fields = { readonly [name: string]: Field };
type Field = string | bigint | number | boolean | Fields | readonly Fields[];

export interface Operation {
  readonly rpc: Rpc;
  readonly request: Fields;
}

export type Rpc =
  | 'Range'
  | 'RangeStream'
  | 'Put'
  | 'DeleteRange'
  | 'Txn'
  | 'Compact'
  | 'LeaseGrant'
  | 'LeaseRevoke'
  | 'LeaseKeepAlive'
  | 'LeaseTimeToLive'
  | 'LeaseLeases';

const RELATIVE_REVISION = 1n << 40n;
const REVISIONS_BACK_MAX = 1000n;

/** The request to send while the store is at revision `newest`: revisions absolute, text as bytes. */
export function resolveFields(fields: Fields, newest: bigint): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, field]) => [name, resolveField(field, newest)]),
  );
}

function resolveField(field: Field, newest: bigint): unknown {
  if (typeof field === 'string' && !UNION_CASES.has(field)) {
    return new Uint8Array(Buffer.from(field, 'latin1'));
  }
  if (typeof field === 'bigint' && field >= RELATIVE_REVISION) {
    return newest + field - RELATIVE_REVISION - REVISIONS_BACK_MAX;
  }
  if (Array.isArray(field)) return field.map((one: Fields) => resolveFields(one, newest));
  if (typeof field === 'object') return resolveFields(field as Fields, newest);
  return field;
}

/** How protobuf-es names the chosen member of a oneof; the only texts that are not bytes. */
const UNION_CASES = new Set([
  'requestRange',
  'requestPut',
  'requestDeleteRange',
  'requestTxn',
  'version',
  'createRevision',
  'modRevision',
  'value',
  'lease',
]);

// Few keys, so that operations meet; at most twelve, up to which Go's sort keeps the order of equal elements.
const key = fc.constantFrom('a', 'b', 'b\x00', 'bc', 'c', 'd', 'e\xff', '\xff');
const rangeEnd = fc.oneof(
  { weight: 4, arbitrary: fc.constant('') },
  { weight: 2, arbitrary: fc.constantFrom('\x00', 'c', 'e', 'z') },
  { weight: 1, arbitrary: fc.constantFrom('a', '\xff\xff') },
);
const emptyKeySometimes = fc.oneof({ weight: 30, arbitrary: key }, { weight: 1, arbitrary: fc.constant('') });
const value = fc.constantFrom('', 'x', 'y', 'longer value');
/** Chosen ids, so that both servers have the same; 5 is never granted. */
const leaseId = fc.constantFrom(1n, 2n, 3n, 4n, 5n);
const grantedTtl = { 1: 1_000n, 2: 2_000n, 3: 3_000n, 4: 4_000n } as const;
const leaseOfPut = fc.oneof({ weight: 3, arbitrary: fc.constant(0n) }, { weight: 2, arbitrary: leaseId });

function near(back: number, ahead: number): fc.Arbitrary<bigint> {
  const toRelative = (distance: number): bigint => RELATIVE_REVISION + REVISIONS_BACK_MAX + BigInt(distance);
  return fc.integer({ min: -back, max: ahead }).map(toRelative);
}

const revision = fc.oneof(
  { weight: 4, arbitrary: fc.constant(0n) },
  { weight: 4, arbitrary: near(20, 0) },
  { weight: 1, arbitrary: near(0, 3) },
  { weight: 1, arbitrary: fc.constantFrom(-1n, 1n, 2n) },
);
const bound = fc.oneof({ weight: 3, arbitrary: fc.constant(0n) }, { weight: 1, arbitrary: near(12, 1) });
const rarely = fc.integer({ min: 0, max: 5 }).map((number) => number === 0);

const rangeRequest = fc.record({
  key: emptyKeySometimes,
  rangeEnd,
  limit: fc.constantFrom(0n, 0n, 1n, 2n, 3n, -1n),
  revision,
  sortOrder: fc.constantFrom(0, 0, 0, 1, 2, 3),
  sortTarget: fc.constantFrom(0, 0, 0, 1, 2, 3, 4, 5),
  serializable: fc.boolean(),
  keysOnly: rarely,
  countOnly: rarely,
  minModRevision: bound,
  maxModRevision: bound,
  minCreateRevision: bound,
  maxCreateRevision: bound,
});
const streamRequest = fc.record({
  key: emptyKeySometimes,
  rangeEnd,
  limit: fc.constantFrom(0n, 0n, 1n, 2n, 5n, -1n),
  revision,
  sortOrder: fc.constantFrom(0, 0, 0, 0, 1, 2, 3),
  sortTarget: fc.constantFrom(0, 0, 0, 0, 1, 5),
  serializable: fc.boolean(),
  keysOnly: rarely,
  countOnly: rarely,
  maxModRevision: fc.oneof(
    { weight: 9, arbitrary: fc.constant(0n) },
    { weight: 1, arbitrary: fc.constant(9n) },
  ),
});
const putRequest = fc
  .record({
    key: emptyKeySometimes,
    value,
    lease: leaseOfPut,
    prevKv: fc.boolean(),
    ignoreValue: rarely,
    ignoreLease: rarely,
    strict: rarely,
  })
  .map(({ strict, ...put }) => (strict ? put : withoutContradiction(put)));

/** Most puts should pass the first check, or ignore_value and ignore_lease would seldom be carried out. */
function withoutContradiction<P extends { ignoreValue: boolean; ignoreLease: boolean }>(put: P): P {
  return { ...put, ...(put.ignoreValue && { value: '' }), ...(put.ignoreLease && { lease: 0n }) };
}

const deleteRequest = fc.record({ key: emptyKeySometimes, rangeEnd, prevKv: fc.boolean() });

const operand = fc.oneof(
  fc.record({ case: fc.constant('version'), value: fc.constantFrom(0n, 1n, 2n, 3n) }),
  fc.record({ case: fc.constant('createRevision'), value: fc.oneof(fc.constant(0n), near(10, 0)) }),
  fc.record({ case: fc.constant('modRevision'), value: fc.oneof(fc.constant(0n), near(10, 0)) }),
  fc.record({ case: fc.constant('value'), value }),
  fc.record({ case: fc.constant('lease'), value: fc.oneof(fc.constant(0n), leaseId) }),
);
const TARGETS = { version: 0, createRevision: 1, modRevision: 2, value: 3, lease: 4 } as const;
const compare = fc
  .record({
    result: fc.constantFrom(0, 0, 1, 2, 3),
    key: emptyKeySometimes,
    rangeEnd,
    targetUnion: operand,
    /** Usually the target that the operand is for. */
    target: fc.option(fc.constantFrom(0, 1, 2, 3, 4, 9), { freq: 12 }),
  })
  .map(
    ({ target, ...rest }): Fields => ({
      ...rest,
      target: target ?? TARGETS[rest.targetUnion.case as keyof typeof TARGETS],
    }),
  );

function operationOf(name: string, request: fc.Arbitrary<Fields>): fc.Arbitrary<Fields> {
  return request.map((one) => ({ request: { case: name, value: one } }));
}

function txnRequest(depth: number): fc.Arbitrary<Fields> {
  const leaves = [
    { weight: 4, arbitrary: operationOf('requestPut', putRequest) },
    { weight: 3, arbitrary: operationOf('requestRange', rangeRequest) },
    { weight: 2, arbitrary: operationOf('requestDeleteRange', deleteRequest) },
    { weight: 1, arbitrary: fc.constant({}).map((): Fields => ({})) },
  ];
  const nested =
    depth === 0 ? [] : [{ weight: 3, arbitrary: operationOf('requestTxn', txnRequest(depth - 1)) }];
  // An operation without content fails the whole transaction, so it has to be rare.
  const [put, range, deletion, none] = leaves as [Leaf, Leaf, Leaf, Leaf];
  const operation = fc.oneof(
    { ...put, weight: 40 },
    { ...range, weight: 30 },
    { ...deletion, weight: 15 },
    none,
    ...nested.map((one) => ({ ...one, weight: 30 })),
  );
  const operations = fc.array(operation, { maxLength: 3 });
  return fc.record({
    compare: fc.array(compare, { maxLength: 2 }),
    success: operations,
    failure: operations,
  });
}
type Leaf = { weight: number; arbitrary: fc.Arbitrary<Fields> };

const leaseGrant = fc
  .record({ ID: fc.constantFrom(1n, 2n, 3n, 4n), tooLong: fc.integer({ min: 0, max: 9 }) })
  .map(({ ID, tooLong }): Fields => {
    const TTL = tooLong === 0 ? 9_000_000_001n : grantedTtl[Number(ID) as 1 | 2 | 3 | 4];
    return { ID, TTL };
  });
const compaction = fc.record({
  revision: fc.oneof({ weight: 3, arbitrary: near(10, 0) }, { weight: 1, arbitrary: near(30, 3) }, revision),
  physical: fc.boolean(),
});

function weighted(weight: number, rpc: Rpc, request: fc.Arbitrary<Fields>) {
  return { weight, arbitrary: request.map((one): Operation => ({ rpc, request: one })) };
}

/** One operation. Writes outnumber the rest, so that there is something to read. */
export const operation: fc.Arbitrary<Operation> = fc.oneof(
  weighted(14, 'Put', putRequest),
  weighted(14, 'Txn', txnRequest(3)),
  weighted(8, 'Range', rangeRequest),
  weighted(3, 'RangeStream', streamRequest),
  weighted(4, 'DeleteRange', deleteRequest),
  weighted(2, 'Compact', compaction),
  weighted(4, 'LeaseGrant', leaseGrant),
  weighted(2, 'LeaseRevoke', fc.record({ ID: leaseId })),
  weighted(1, 'LeaseKeepAlive', fc.record({ ID: leaseId })),
  weighted(2, 'LeaseTimeToLive', fc.record({ ID: leaseId, keys: fc.boolean() })),
  weighted(1, 'LeaseLeases', fc.constant({})),
);
