import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
} from '@bufbuild/protobuf';
import {
  CompareSchema,
  type RequestOp as GeneratedOp,
  type WatchRequest as GeneratedWatch,
  RequestOpSchema,
  TxnRequestSchema,
  WatchRequestSchema,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import type {
  Compare,
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  RequestOp,
  TxnRequest,
  WatchRequest,
} from '../../src/shared/etcd/requests.ts';

/** What hand-written decoders give, as the messages of the generated code, to compare the two. */

const NUMBERS_TO_BIGINTS = new Set([
  'limit',
  'revision',
  'minModRevision',
  'maxModRevision',
  'minCreateRevision',
  'maxCreateRevision',
  'createRevision',
  'modRevision',
  'version',
  'startRevision',
  'watchId',
  'TTL',
]);

/** A flat message: the same fields, with int64 as bigint. */
export function flat<D extends DescMessage>(schema: D, fields: object): MessageShape<D> {
  const entries = Object.entries(fields).map(([name, value]) => {
    return [name, NUMBERS_TO_BIGINTS.has(name) ? BigInt(value as number) : value];
  });
  return create(schema, Object.fromEntries(entries) as MessageInitShape<D>);
}

const COMPARE_CASES = {
  4: 'version',
  5: 'createRevision',
  6: 'modRevision',
  7: 'value',
  8: 'lease',
} as const;

function compare(from: Compare): MessageShape<typeof CompareSchema> {
  const { result, target, key, rangeEnd } = from;
  const out = create(CompareSchema, { result, target, key, rangeEnd });
  if (from.union === 0) return out;
  const value = from.union === 7 ? from.value : from.union === 8 ? from.lease : BigInt(from.operand);
  out.targetUnion = { case: COMPARE_CASES[from.union], value } as typeof out.targetUnion;
  return out;
}

type Kinds = { range: RangeRequest; put: PutRequest; delete: DeleteRangeRequest };

function operation(from: RequestOp): GeneratedOp {
  if (from.kind === 'none') return create(RequestOpSchema);
  if (from.kind === 'txn') {
    return create(RequestOpSchema, { request: { case: 'requestTxn', value: transaction(from.txn) } });
  }
  const cases = { range: 'requestRange', put: 'requestPut', delete: 'requestDeleteRange' } as const;
  const schema = RequestOpSchema.field[cases[from.kind]].message as DescMessage;
  const value = flat(schema, (from as unknown as Kinds)[from.kind]);
  return create(RequestOpSchema, { request: { case: cases[from.kind], value } as GeneratedOp['request'] });
}

export function transaction(from: TxnRequest): MessageShape<typeof TxnRequestSchema> {
  return create(TxnRequestSchema, {
    compare: from.compare.map(compare),
    success: from.success.map(operation),
    failure: from.failure.map(operation),
  });
}

export function watch(from: WatchRequest): GeneratedWatch {
  if (from.kind === 'none') return create(WatchRequestSchema);
  const cases = { create: 'createRequest', cancel: 'cancelRequest', progress: 'progressRequest' } as const;
  const schema = WatchRequestSchema.field[cases[from.kind]].message as DescMessage;
  const fields =
    from.kind === 'create' ? from.create : from.kind === 'cancel' ? { watchId: from.watchId } : {};
  const value = flat(schema, fields);
  return create(WatchRequestSchema, {
    requestUnion: { case: cases[from.kind], value } as GeneratedWatch['requestUnion'],
  });
}

/** Whether the generated decoder takes these bytes. */
export function accepts(schema: DescMessage, bytes: Uint8Array): boolean {
  try {
    fromBinary(schema, bytes);
    return true;
  } catch {
    return false;
  }
}
