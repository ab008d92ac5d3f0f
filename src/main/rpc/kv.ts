import { create, toBinary } from '@bufbuild/protobuf';
import { EtcdError } from '../../shared/etcd/errors.ts';
import { CompactionRequestSchema } from '../../shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { decodeCompactionRequest, decodeRangeRequest, isReadOnlyTxn } from '../../shared/etcd/requests.ts';
import { ReadKind } from '../../workers/contract/reader.ts';
import { WriteKind } from '../../workers/contract/writer.ts';
import type { WriteCallback } from '../commit/batch.ts';
import type { ReadGate } from '../commit/read-gate.ts';
import type { Wanted } from '../state/answer-rooms.ts';
import type { ReaderPool } from '../state/reader-client.ts';
import { checkedWhileEnabled, type Guard } from './guard.ts';
import type { Identity } from './identity.ts';
import { checkedKvHandlers } from './kv-auth.ts';
import { streamRange } from './range-stream.ts';
import type { Reply, ServiceHandlers } from './service.ts';
import { wantedBy } from './wanted.ts';

export interface KvParts {
  submit(kind: WriteKind, request: Uint8Array, callback: WriteCallback): void;
  gate: ReadGate;
  readers: ReaderPool;
  identity: Identity;
  guard: Guard;
  /** Resolves when the rows below a compaction revision are gone. */
  compacted(revision: number): Promise<void>;
  maxRequestBytes: number;
  maxTxnOps: number;
}

const NO_RESPONSE = new Uint8Array(0);

/** etcd's KV service. */
export function kvHandlers(parts: KvParts): ServiceHandlers {
  const open = openHandlers(parts);
  return checkedWhileEnabled(parts.guard, open, checkedKvHandlers(parts, open));
}

function openHandlers(parts: KvParts): ServiceHandlers {
  return {
    unary: {
      Range: (request, reply, call) => {
        const { serializable } = decodeRangeRequest(request);
        read(parts, ReadKind.Range, request, reply, wantedBy(call), serializable);
      },
      Put: (request, reply) => write(parts, WriteKind.Put, request, reply),
      DeleteRange: (request, reply) => write(parts, WriteKind.DeleteRange, request, reply),
      Txn: (request, reply, call) => {
        if (isReadOnlyTxn(request)) read(parts, ReadKind.Txn, request, reply, wantedBy(call), false);
        else write(parts, WriteKind.Txn, request, reply);
      },
      Compact: (request, reply) => compact(parts, request, reply),
    },
    serverStream: { RangeStream: (call) => void streamRange(parts, call) },
  };
}

function read(
  parts: KvParts,
  kind: ReadKind,
  request: Buffer,
  reply: Reply,
  wanted: Wanted | undefined,
  serializable: boolean,
): void {
  parts.gate.enter((error) => {
    if (error === undefined) parts.readers.read(kind, request, reply, wanted);
    else reply(error, NO_RESPONSE);
  }, serializable);
}

function write(parts: KvParts, kind: WriteKind, request: Buffer, reply: Reply): void {
  if (request.length > parts.maxRequestBytes) reply(new EtcdError('RequestTooLarge'), NO_RESPONSE);
  else parts.submit(kind, request, reply);
}

function compact(parts: KvParts, request: Buffer, reply: Reply): void {
  const { revision, physical } = decodeCompactionRequest(request);
  parts.submit(WriteKind.Compact, request, (error, response) => {
    // As in etcd, one that comes again waits for the first one's rows, and then fails.
    const waits = error === undefined || (error instanceof EtcdError && error.kind === 'Compacted');
    if (!physical || !waits) reply(error, response);
    else void parts.compacted(revision).then(() => reply(error, response));
  });
}

/** An encoded CompactionRequest. */
export function compactRequest(revision: number): Uint8Array {
  return toBinary(CompactionRequestSchema, create(CompactionRequestSchema, { revision: BigInt(revision) }));
}
