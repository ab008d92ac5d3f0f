import { fromBinary } from '@bufbuild/protobuf';
import { EtcdError, GrpcCode, RefusedError } from '../../shared/etcd/errors.ts';
import { type WatchResponse, WatchResponseSchema } from '../../shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import type { WatchCreateRequest } from '../../shared/etcd/requests.ts';
import type { WatchHub } from '../watch/hub.ts';
import type { StreamStatus, WatchSink } from '../watch/sink.ts';
import type { WatchStream } from '../watch/stream.ts';

interface Message {
  readonly bytes: Uint8Array;
  readonly events: number;
}

/**
 * One watch that this process holds for itself. What is not taken yet counts as pending, so that the hub holds a
 * watch back whose reader is slow, as it does for a client's.
 */
export class OwnWatch implements WatchSink {
  readonly #stream: WatchStream;
  readonly #signal: AbortSignal;
  readonly #messages: Message[] = [];
  #pendingBytes = 0;
  #pendingEvents = 0;
  #ended: Error | undefined;
  #wake: () => void = () => {};

  constructor(hub: WatchHub, create: WatchCreateRequest, signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener('abort', this.#onAbort);
    this.#stream = hub.open(this);
    this.#stream.request({ kind: 'create', create });
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  get pendingEvents(): number {
    return this.#pendingEvents;
  }

  /**
   * The next response that has events. Rejects when the watch is over: with etcd's error when a compaction passed
   * it or the server stops, with the signal's reason after an abort. One caller at a time.
   */
  async next(): Promise<WatchResponse> {
    for (;;) {
      this.#signal.throwIfAborted();
      const response = this.#take();
      if (response?.canceled) throw canceledError(response);
      if (response !== undefined && response.events.length > 0) return response;
      if (response !== undefined) continue;
      if (this.#ended !== undefined) throw this.#ended;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  close(): void {
    this.#signal.removeEventListener('abort', this.#onAbort);
    this.#stream.close();
  }

  write(bytes: Uint8Array, events: number): void {
    this.#messages.push({ bytes, events });
    this.#pendingBytes += bytes.length;
    this.#pendingEvents += events;
    this.#wake();
  }

  /** There is one request, and it was taken. */
  pauseRequests(): void {}

  resumeRequests(): void {}

  end({ code, message }: StreamStatus): void {
    this.#ended = new RefusedError(code, message);
    this.#wake();
  }

  readonly #onAbort = (): void => this.#wake();

  #take(): WatchResponse | undefined {
    const message = this.#messages.shift();
    if (message === undefined) return undefined;
    this.#pendingBytes -= message.bytes.length;
    this.#pendingEvents -= message.events;
    this.#stream.flushed();
    return fromBinary(WatchResponseSchema, message.bytes);
  }
}

function canceledError({ compactRevision, cancelReason }: WatchResponse): Error {
  return compactRevision > 0n ? new EtcdError('Compacted') : new RefusedError(GrpcCode.Unknown, cancelReason);
}
