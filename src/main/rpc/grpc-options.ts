import type { ServerOptions } from '@grpc/grpc-js';
import { GRPC_OVERHEAD_BYTES } from '../../shared/model/limits.ts';
import type { ClientLimits } from './client-limits.ts';

/** The settings that the gRPC server needs. */
export interface GrpcSettings {
  readonly maxRequestBytes: number;
  readonly limits: Pick<ClientLimits, 'streamsPerConnection'>;
  /** 0 is never. */
  readonly grpcKeepaliveIntervalMs: number;
  readonly grpcKeepaliveTimeoutMs: number;
}

/**
 * grpc-js server options. What is not here, and why:
 * - the receive windows: grpc-js has no server option for them; the listener sets them on each session;
 * - a least interval of clients' pings (etcd's `--grpc-keepalive-min-time`): grpc-js does not enforce one, so
 *   kube-apiserver's pings every 30 s without a stream are always tolerated;
 * - `grpc-node.max_session_memory`: left to grpc-js, which lifts node's 10 MB. At that limit node resets streams,
 *   which would end watches; the watch room and the request queues bound what a session holds.
 */
export function grpcServerOptions(settings: GrpcSettings): ServerOptions {
  const keepalive = {
    'grpc.keepalive_time_ms': settings.grpcKeepaliveIntervalMs,
    'grpc.keepalive_timeout_ms': settings.grpcKeepaliveTimeoutMs,
  };
  return {
    'grpc.max_concurrent_streams': settings.limits.streamsPerConnection,
    // As etcd: what is a little too large reaches the service, which answers with etcd's own error.
    'grpc.max_receive_message_length': settings.maxRequestBytes + GRPC_OVERHEAD_BYTES,
    'grpc.max_send_message_length': -1,
    // Bookkeeping of every call for a debugging service that this server doesn't offer.
    'grpc.enable_channelz': 0,
    ...(settings.grpcKeepaliveIntervalMs === 0 ? {} : keepalive),
  };
}
