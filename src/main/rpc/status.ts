import { errorMessage } from '../../shared/base/errors.ts';
import { EtcdError, GrpcCode, RefusedError } from '../../shared/etcd/errors.ts';
import { MalformedMessageError } from '../../shared/etcd/wire.ts';

/** What grpc-js takes as a call's failure; both `callback(failure)` and `call.emit('error', failure)` do. */
export interface CallFailure {
  readonly code: GrpcCode;
  readonly details: string;
}

/** How a message reached its handler; grpc-go words an undecodable one differently. */
export type MessageSource = 'unary' | 'stream';

/**
 * The one mapping from what the rooms throw to what a client gets. An `EtcdError` or `RefusedError` goes out as
 * it is. A message
 * that can't be decoded gets INTERNAL with grpc-go's words (its server.go for unary calls, rpc_util.go for
 * streams), as from etcd, and the connection stays. Anything else is INTERNAL with one line and no stack.
 */
export function callFailure(error: unknown, source: MessageSource = 'unary'): CallFailure {
  if (error instanceof EtcdError || error instanceof RefusedError) {
    return { code: error.code, details: error.message };
  }
  if (error instanceof MalformedMessageError) {
    const why = INVALID_TEXT.test(error.message) ? error.message : UNDECODABLE;
    return { code: GrpcCode.Internal, details: `${MALFORMED[source]}: ${why}` };
  }
  const [line] = errorMessage(error).split('\n', 1);
  return { code: GrpcCode.Internal, details: `netsy: internal error: ${line}` };
}

/** What protobuf's Go library tells apart. Its `proto:` is followed by a no-break space in some builds. */
const INVALID_TEXT = /UTF-8/;
const UNDECODABLE = 'proto: cannot parse invalid wire-format data';

const MALFORMED: Record<MessageSource, string> = {
  unary: 'grpc: error unmarshalling request',
  stream: 'grpc: failed to unmarshal the received message',
};

/** For a path that names no method of ours. */
export function unknownPath(details: string): CallFailure {
  return { code: GrpcCode.Unimplemented, details };
}

/** For methods that etcd has and this server has not, or that there are not; in grpc-go's words. */
export function notImplemented(service: string, method: string): CallFailure {
  return unknownPath(`unknown method ${method} for service ${service}`);
}
