import { asBuffer } from '../../shared/base/bytes.ts';
import { decodeWatchRequest } from '../../shared/etcd/requests.ts';
import { MalformedMessageError } from '../../shared/etcd/wire.ts';
import { Backlog } from '../watch/backlog.ts';
import type { WatchHub } from '../watch/hub.ts';
import type { EventsResponse, StreamStatus, WatchSink } from '../watch/sink.ts';
import type { WatchStream } from '../watch/stream.ts';
import type { Guard } from './guard.ts';
import type { DuplexCall, ServiceHandlers } from './service.ts';
import { callFailure } from './status.ts';
import { WatchRequests } from './watch-requests.ts';

type WatchCall = DuplexCall;

/** etcd's Watch service, from the hub. */
export function watchHandlers(hub: WatchHub, guard: Guard): ServiceHandlers {
  return { duplex: { Watch: (call) => serveWatch(hub, guard, call) } };
}

function serveWatch(hub: WatchHub, guard: Guard, call: WatchCall): void {
  const sink = new CallSink(call, () => stream.flushed());
  const stream = hub.open(sink);
  const requests = new WatchRequests(stream, guard, call);
  call.on('data', (message: Buffer) => take(stream, message, requests));
  // A client that has sent its last request still gets events, as in etcd, until it cancels the call.
  call.on('cancelled', () => stream.close());
  call.on('close', () => stream.close());
}

function take(stream: WatchStream, message: Buffer, requests: WatchRequests): void {
  try {
    requests.take(decodeWatchRequest(message));
  } catch (error) {
    if (!(error instanceof MalformedMessageError)) throw error;
    const { code, details } = callFailure(error, 'stream');
    stream.end({ code, message: details });
  }
}

/**
 * Counts the bytes that the transport, grpc-js or `StreamCall`, holds for one call, and keeps what comes while it has
 * some. Its write callback comes when HTTP/2's flow control let the message go.
 */
class CallSink implements WatchSink {
  readonly #call: WatchCall;
  readonly #flushed: () => void;
  readonly #backlog = new Backlog();
  /** What the transport has. */
  #messages = 0;
  #bytes = 0;
  #events = 0;

  constructor(call: WatchCall, flushed: () => void) {
    this.#call = call;
    this.#flushed = flushed;
  }

  get pendingBytes(): number {
    return this.#bytes + this.#backlog.bytes;
  }

  get pendingEvents(): number {
    return this.#events + this.#backlog.events;
  }

  write(message: Uint8Array, eventCount: number, response?: EventsResponse): void {
    if (this.#messages > 0) this.#backlog.add(message, eventCount, response);
    else this.#send(message, eventCount);
  }

  #send(message: Uint8Array, events: number): void {
    this.#messages++;
    this.#bytes += message.length;
    this.#events += events;
    this.#call.write(asBuffer(message), () => {
      this.#messages--;
      this.#bytes -= message.length;
      this.#events -= events;
      if (this.#messages === 0) this.#sendBacklog();
      this.#flushed();
    });
  }

  #sendBacklog(): void {
    if (this.#call.cancelled) return;
    for (const { bytes, events } of this.#backlog.take()) this.#send(bytes, events);
  }

  pauseRequests(): void {
    this.#call.pause();
  }

  resumeRequests(): void {
    this.#call.resume();
  }

  end(status: StreamStatus): void {
    this.#sendBacklog();
    this.#call.emit('error', { code: status.code, details: status.message });
  }
}
