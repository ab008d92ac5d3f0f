import fc from 'fast-check';
import {
  CHOSEN_LEASE,
  type Fields,
  fromCompacted,
  fromNewest,
  type Operation,
  type Rpc,
  STREAMS,
  type WatchOperation,
} from './operations.ts';

/** The generator of random operations over a small key space. */

// Few keys, so that operations meet; at most twelve, up to which Go's sort keeps the order of equal elements.
const key = fc.constantFrom('a', 'b', 'b\x00', 'bc', 'c', 'd', 'e\xff', '\xff');
const rangeEnd = fc.oneof(
  { weight: 4, arbitrary: fc.constant('') },
  { weight: 2, arbitrary: fc.constantFrom('\x00', 'c', 'e', 'z') },
  { weight: 1, arbitrary: fc.constantFrom('a', '\xff\xff') },
);
const emptyKeySometimes = mostly(30, key, fc.constant(''));
const value = fc.constantFrom('', 'x', 'y', 'longer value');
/** Ids of our choice, so that both servers have the same, and the one they chose; 1 is granted at first, 5 never. */
const leaseId = fc.constantFrom(1n, 1n, 1n, 2n, 3n, 4n, 5n, CHOSEN_LEASE);
/** Far apart, so that the order of LeaseLeases, which is by end, is the same however long a test takes. */
const GRANTED_TTL: ReadonlyMap<bigint, bigint> = new Map([
  [0n, 5_000_000n],
  [1n, 1_000_000n],
  [2n, 2_000_000n],
  [3n, 3_000_000n],
  [4n, 4_000_000n],
]);
const leaseOfPut = fc.oneof({ weight: 3, arbitrary: fc.constant(0n) }, { weight: 2, arbitrary: leaseId });
const rarely = fc.integer({ min: 0, max: 5 }).map((number) => number === 0);

function mostly<T>(weight: number, usual: fc.Arbitrary<T>, unusual: fc.Arbitrary<T>): fc.Arbitrary<T> {
  return fc.oneof({ weight, arbitrary: usual }, { weight: 1, arbitrary: unusual });
}

function near(back: number, ahead: number): fc.Arbitrary<bigint> {
  return fc.integer({ min: -back, max: ahead }).map(fromNewest);
}
const nearCompacted = fc.constantFrom(0, 0, 0, 1, -1, 2).map(fromCompacted);

const revision = fc.oneof(
  { weight: 4, arbitrary: fc.constant(0n) },
  { weight: 4, arbitrary: near(20, 0) },
  { weight: 1, arbitrary: near(0, 3) },
  { weight: 1, arbitrary: nearCompacted },
  { weight: 1, arbitrary: fc.constantFrom(-1n, 1n, 2n) },
);
const bound = fc.oneof({ weight: 3, arbitrary: fc.constant(0n) }, { weight: 1, arbitrary: near(12, 1) });

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
  sortTarget: fc.constantFrom(0, 0, 0, 0, 1, 2, 3, 4, 5),
  serializable: fc.boolean(),
  keysOnly: rarely,
  countOnly: rarely,
  maxModRevision: mostly(9, fc.constant(0n), fc.constant(9n)),
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
const RESULTS = { equal: 0, notEqual: 3 } as const;
const compare = fc
  .record({
    result: fc.constantFrom(0, 0, 1, 2, 3, 7),
    key: emptyKeySometimes,
    rangeEnd,
    targetUnion: operand,
    /** Usually the target that the operand is for. */
    target: fc.option(fc.constantFrom(0, 1, 2, 3, 4, 9), { freq: 12 }),
  })
  .map(
    ({ target, ...rest }): Fields => ({
      ...rest,
      result: resultFor(rest.targetUnion.value, rest.result),
      target: target ?? TARGETS[rest.targetUnion.case as keyof typeof TARGETS],
    }),
  );

/** Which of two chosen ids is the greater one is each server's own. */
function resultFor(operandValue: string | bigint, result: number): number {
  if (operandValue !== CHOSEN_LEASE) return result;
  return result === RESULTS.equal ? RESULTS.equal : RESULTS.notEqual;
}

function operationOf(name: string, request: fc.Arbitrary<Fields>): fc.Arbitrary<Fields> {
  return request.map((one) => ({ request: { case: name, value: one } }));
}

function txnRequest(depth: number): fc.Arbitrary<Fields> {
  const nested =
    depth === 0 ? [] : [{ weight: 30, arbitrary: operationOf('requestTxn', txnRequest(depth - 1)) }];
  const operation = fc.oneof(
    { weight: 40, arbitrary: operationOf('requestPut', putRequest) },
    { weight: 30, arbitrary: operationOf('requestRange', rangeRequest) },
    { weight: 15, arbitrary: operationOf('requestDeleteRange', deleteRequest) },
    // An operation without content fails the whole transaction, so it has to be rare.
    { weight: 1, arbitrary: fc.constant<Fields>({}) },
    ...nested,
  );
  const operations = fc.array(operation, { maxLength: 3 });
  return fc.record({
    compare: fc.array(compare, { maxLength: 2 }),
    success: operations,
    failure: operations,
  });
}

/** etcd does not see that a delete "from a key on" and a put of a key behind it meet: the only way to write one twice. */
const twiceWritten = fc
  .record({
    puts: fc.array(operationOf('requestPut', putRequest), { minLength: 1, maxLength: 2 }),
    reads: fc.array(operationOf('requestRange', rangeRequest), { maxLength: 1 }),
    deleted: key,
    prevKv: fc.boolean(),
    deleteFirst: rarely,
  })
  .map(({ puts, reads, deleted, prevKv, deleteFirst }): Fields => {
    const value = { key: deleted, rangeEnd: '\x00', prevKv };
    const deletion: Fields = { request: { case: 'requestDeleteRange', value } };
    const success = deleteFirst ? [deletion, ...reads, ...puts] : [...puts, ...reads, deletion, ...reads];
    return { compare: [], success, failure: [] };
  });

/**
 * A put that keeps the value or lease of a key which the same transaction has deleted ends etcd's process: it takes the
 * error for its own. netsy refuses the transaction.
 */
function withoutEtcdsEnd(txn: Fields): Fields {
  return JSON.stringify(txn, withBigints).includes(DELETE_ON) ? withoutKeeping(txn) : txn;
}

const DELETE_ON = '"rangeEnd":"\\u0000"';

function withBigints(_name: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}

function withoutKeeping(fields: Fields): Fields {
  const entries = Object.entries(fields).map(([name, field]): [string, Fields[string]] => {
    if (name === 'ignoreValue' || name === 'ignoreLease') return [name, false];
    if (Array.isArray(field)) return [name, field.map((one: Fields) => withoutKeeping(one))];
    return [name, typeof field === 'object' ? withoutKeeping(field as Fields) : field];
  });
  return Object.fromEntries(entries);
}

const leaseGrant = fc
  .record({ ID: fc.constantFrom(0n, 1n, 2n, 3n, 4n), tooLong: fc.integer({ min: 0, max: 9 }) })
  .map(({ ID, tooLong }): Fields => ({ ID, TTL: tooLong === 0 ? 9_000_000_001n : GRANTED_TTL.get(ID)! }));
const shortLease = fc.record({ ID: fc.constantFrom(0n, 9n, -9n), TTL: fc.constantFrom(-5n, 0n, 1n, 2n) });
const compaction = fc.record({
  revision: fc.oneof(
    { weight: 3, arbitrary: near(10, 0) },
    { weight: 1, arbitrary: near(30, 3) },
    { weight: 1, arbitrary: nearCompacted },
    { weight: 1, arbitrary: revision },
  ),
  physical: fc.boolean(),
});

const stream = fc.integer({ min: 0, max: STREAMS - 1 });
const startRevision = fc.oneof(
  { weight: 6, arbitrary: fc.constant(0n) },
  { weight: 6, arbitrary: near(15, 0) },
  { weight: 3, arbitrary: near(0, 4) },
  { weight: 4, arbitrary: nearCompacted },
  { weight: 1, arbitrary: fc.constantFrom(-1n, -7n, 1n) },
);
const watchKey = mostly(12, key, fc.constant(''));
const watchRangeEnd = fc.oneof(
  { weight: 3, arbitrary: fc.constant('') },
  { weight: 4, arbitrary: fc.constantFrom('\x00', 'c', 'e', 'z') },
  { weight: 1, arbitrary: fc.constantFrom('a', '\xff\xff') },
);
const watchId = fc.constantFrom(0n, 0n, 0n, 0n, 1n, 2n, 5n, -1n);
const filters = fc.constantFrom<readonly number[]>([], [], [], [], [0], [1], [0, 1], [1, 1], [9]);
const watchRequest = fc
  .record({
    key: watchKey,
    rangeEnd: watchRangeEnd,
    startRevision,
    prevKv: fc.boolean(),
    progressNotify: rarely,
    fragment: rarely,
    filters,
    watchId,
  })
  // The stream's own progress has this id too: one could not be told from the other.
  .map((request) => (request.watchId === -1n ? { ...request, progressNotify: false } : request));
const cancelled = fc.constantFrom(0n, 0n, 1n, 1n, 2n, 3n, 5n, -1n, 77n);

const watchOperation: fc.Arbitrary<WatchOperation> = fc.oneof(
  {
    weight: 9,
    arbitrary: fc.record({
      watch: fc.constant('create' as const),
      stream,
      request: watchRequest,
      progressAtOnce: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ watch: fc.constant('cancel' as const), stream, watchId: cancelled }),
  },
  { weight: 5, arbitrary: fc.record({ watch: fc.constant('progress' as const), stream }) },
  {
    weight: 2,
    arbitrary: fc.record({ watch: fc.constantFrom('close', 'endRequests', 'none'), stream }),
  },
  { weight: 2, arbitrary: fc.record({ watch: fc.constant('race' as const), put: putRequest }) },
);

function weighted(weight: number, rpc: Rpc, request: fc.Arbitrary<Fields>) {
  return { weight, arbitrary: request.map((one): Operation => ({ rpc, request: one })) };
}

/** One operation. Writes outnumber the rest, so that there is something to read. */
export const operation: fc.Arbitrary<Operation> = fc.oneof(
  weighted(14, 'Put', putRequest),
  weighted(14, 'Txn', txnRequest(3).map(withoutEtcdsEnd)),
  weighted(1, 'Txn', twiceWritten.map(withoutEtcdsEnd)),
  weighted(8, 'Range', rangeRequest),
  weighted(3, 'RangeStream', streamRequest),
  weighted(4, 'DeleteRange', deleteRequest),
  weighted(3, 'Compact', compaction),
  weighted(4, 'LeaseGrant', leaseGrant),
  weighted(2, 'LeaseRevoke', fc.record({ ID: leaseId })),
  weighted(1, 'LeaseKeepAlive', fc.record({ ID: leaseId })),
  weighted(2, 'LeaseTimeToLive', fc.record({ ID: leaseId, keys: fc.boolean() })),
  weighted(1, 'LeaseLeases', fc.constant({})),
  weighted(1, 'Status', fc.constant({})),
  weighted(2, 'HashKV', fc.record({ revision })),
  { weight: 1, arbitrary: shortLease.map((one): Operation => ({ shortLease: one })) },
  { weight: 14, arbitrary: watchOperation },
);
