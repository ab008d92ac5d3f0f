import type { GrpcCode } from '../../shared/etcd/errors.ts';

/** How a stream ends: a gRPC status. */
export interface StreamStatus {
  code: GrpcCode;
  message: string;
}

/** Says of an encoded WatchResponse whose events it has, and that they are its last bytes. */
export interface EventsResponse {
  readonly watchId: number;
  readonly sectionBytes: number;
}

/**
 * Where a watch stream's responses go. It never calls back into the stream from within one of these methods;
 * after a write has been handed to the network it calls the stream's `flushed`, and after the peer has gone
 * its `close`.
 */
export interface WatchSink {
  /** Bytes that were written and not yet handed to the network. */
  readonly pendingBytes: number;
  /** Events in those bytes. */
  readonly pendingEvents: number;
  /**
   * Queues one encoded WatchResponse that holds `eventCount` events. Never blocks, never refuses. With `response` it may
   * be joined with others of that watcher that have not left.
   */
  write(message: Uint8Array, eventCount: number, response?: EventsResponse): void;
  /** Stops the flow of requests until `resumeRequests`. */
  pauseRequests(): void;
  resumeRequests(): void;
  /** Ends the stream after what was written. */
  end(status: StreamStatus): void;
}
