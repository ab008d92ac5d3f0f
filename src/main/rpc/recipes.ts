import { create, type DescMessage, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import {
  decodeCampaignRequest,
  decodeLeaderKeyRequest,
  decodeLeaderRequest,
  decodeLockRequest,
  decodeUnlockRequest,
} from '../../shared/etcd/concurrency-requests.ts';
import { EtcdError, type EtcdErrorName, GrpcCode, RefusedError } from '../../shared/etcd/errors.ts';
import {
  CampaignResponseSchema,
  LeaderResponseSchema,
  ProclaimResponseSchema,
  ResignResponseSchema,
} from '../../shared/etcd/gen/v3electionpb/v3election_pb.ts';
import { LockResponseSchema, UnlockResponseSchema } from '../../shared/etcd/gen/v3lockpb/v3lock_pb.ts';
import { EMPTY_BYTES } from '../../shared/etcd/wire.ts';
import type { EtcdCalls } from '../concurrency/calls.ts';
import { campaign, leader, observe, proclaim, resign } from '../concurrency/election.ts';
import { lock, unlock } from '../concurrency/mutex.ts';
import { type OwnCallParts, ownCalls } from './own-calls.ts';
import {
  cancelSignal,
  failStream,
  type ServiceHandlers,
  type StreamingCall,
  sendMessage,
} from './service.ts';

type UnaryHandler = NonNullable<ServiceHandlers['unary']>[string];

/** These say that this server ends or the client has gone; in etcd the connection would end. */
const OWN_CODES: ReadonlySet<EtcdErrorName> = new Set(['Stopped', 'LeaderChanged', 'Canceled']);

/** etcd's lock service. */
export function lockHandlers(parts: OwnCallParts): ServiceHandlers {
  return {
    unary: {
      Lock: unary(parts, decodeLockRequest, LockResponseSchema, lock),
      Unlock: unary(parts, decodeUnlockRequest, UnlockResponseSchema, async (calls, { key }) => ({
        header: await unlock(calls, key),
      })),
    },
  };
}

/** etcd's election service. */
export function electionHandlers(parts: OwnCallParts): ServiceHandlers {
  return {
    unary: {
      Campaign: unary(parts, decodeCampaignRequest, CampaignResponseSchema, campaign),
      Proclaim: unary(parts, decodeLeaderKeyRequest, ProclaimResponseSchema, async (calls, request) => ({
        header: await proclaim(calls, request),
      })),
      Leader: unary(parts, decodeLeaderRequest, LeaderResponseSchema, (calls, { name }) =>
        leader(calls, name),
      ),
      Resign: unary(parts, decodeLeaderKeyRequest, ResignResponseSchema, async (calls, request) => ({
        header: await resign(calls, request),
      })),
    },
    serverStream: { Observe: (call) => void serveObserve(parts, call) },
  };
}

function unary<T, O extends DescMessage>(
  parts: OwnCallParts,
  decode: (bytes: Uint8Array) => T,
  schema: O,
  answer: (calls: EtcdCalls, request: T, signal: AbortSignal) => Promise<MessageInitShape<O>>,
): UnaryHandler {
  return (bytes, reply, call) => {
    answer(ownCalls(parts, call), decode(bytes), cancelSignal(call)).then(
      (response) => reply(undefined, toBinary(schema, create(schema, response))),
      (error: Error) => reply(withoutStatus(error), EMPTY_BYTES),
    );
  };
}

/** etcd's client in the server hands its errors on as Go errors without a status: grpc-go answers them as UNKNOWN. */
function withoutStatus(error: Error): Error {
  if (!(error instanceof EtcdError) || OWN_CODES.has(error.kind)) return error;
  return new RefusedError(GrpcCode.Unknown, error.message);
}

/** As etcd, the stream ends without an error when its watch does, after a compaction for instance. */
async function serveObserve(parts: OwnCallParts, call: StreamingCall): Promise<void> {
  const signal = cancelSignal(call);
  try {
    const { name } = decodeLeaderRequest(call.request);
    for await (const leadership of observe(ownCalls(parts, call), name, signal)) {
      await sendMessage(call, toBinary(LeaderResponseSchema, create(LeaderResponseSchema, leadership)));
    }
  } catch (error) {
    if (signal.aborted) return;
    if (error instanceof EtcdError && !OWN_CODES.has(error.kind)) call.end();
    else failStream(call, error);
  }
}
