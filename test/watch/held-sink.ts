import type { StreamStatus, WatchSink } from '../../src/main/watch/sink.ts';
import type { WatchStream } from '../../src/main/watch/stream.ts';
import type { SeenResponse } from './responses.ts';
import { decodeWatchResponse } from './responses.ts';

/** A sink whose peer reads only when a test says so. Responses are seen as they are written. */
export class HeldSink implements WatchSink {
  readonly seen: SeenResponse[] = [];
  ended: StreamStatus | undefined;
  requestsPaused = false;
  pendingBytes = 0;
  pendingEvents = 0;
  /** Called for each response as it is written, with the bytes that were pending before it. */
  onWrite: (response: SeenResponse, pendingBefore: number) => void = () => {};
  readonly #unread: { bytes: number; eventCount: number }[] = [];

  write(message: Uint8Array, eventCount: number): void {
    if (this.ended) throw new Error('a response was written after the end');
    const response = decodeWatchResponse(message);
    this.seen.push(response);
    this.onWrite(response, this.pendingBytes);
    this.#unread.push({ bytes: message.length, eventCount });
    this.pendingBytes += message.length;
    this.pendingEvents += eventCount;
  }

  pauseRequests(): void {
    this.requestsPaused = true;
  }

  resumeRequests(): void {
    this.requestsPaused = false;
  }

  end(status: StreamStatus): void {
    this.ended = status;
  }

  /** The peer reads up to `count` responses. */
  read(stream: WatchStream, count = Number.POSITIVE_INFINITY): void {
    for (let left = count; left > 0; left--) {
      const message = this.#unread.shift();
      if (message === undefined) return;
      this.pendingBytes -= message.bytes;
      this.pendingEvents -= message.eventCount;
      stream.flushed();
    }
  }

  /** Takes what was seen since the last call. */
  take(): SeenResponse[] {
    return this.seen.splice(0);
  }
}
