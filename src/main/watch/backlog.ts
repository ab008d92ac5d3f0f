import { REPLAY_STEP_BYTES } from '../../shared/model/limits.ts';
import type { EventsResponse } from './sink.ts';

/** What goes to the transport as one message. */
export interface BacklogMessage {
  readonly bytes: Uint8Array;
  readonly events: number;
}

interface Waiting {
  /** Of the newest response: its header speaks for all events before it. */
  head: Uint8Array;
  /** What follows it: the events of each response, in order. */
  readonly sections: Uint8Array[];
  length: number;
  events: number;
}

/**
 * Responses of one stream that wait until the transport has taken the one before. A message costs the transport about
 * the same however large it is, so the events of one watcher are joined meanwhile: when a store's straggler lets many
 * batches become durable at once, each of its clients gets one message for each watch and not one for each batch.
 *
 * Invariants: the events of a watcher keep their order; no response moves past one that has no events (created,
 * canceled, progress).
 */
export class Backlog {
  #waiting: Waiting[] = [];
  readonly #joinable = new Map<number, Waiting>();
  /** Of all that waits. */
  bytes = 0;
  events = 0;

  add(message: Uint8Array, eventCount: number, response: EventsResponse | undefined): void {
    this.bytes += message.length;
    this.events += eventCount;
    if (response === undefined) {
      this.#joinable.clear();
      this.#waiting.push({ head: message, sections: [], length: message.length, events: eventCount });
      return;
    }
    const head = message.subarray(0, message.length - response.sectionBytes);
    const section = message.subarray(head.length);
    const before = this.#joinable.get(response.watchId);
    if (before !== undefined && before.length + section.length <= REPLAY_STEP_BYTES) {
      this.bytes -= before.head.length;
      before.length += head.length - before.head.length + section.length;
      before.head = head;
      before.sections.push(section);
      before.events += eventCount;
      return;
    }
    const waiting = { head, sections: [section], length: message.length, events: eventCount };
    this.#joinable.set(response.watchId, waiting);
    this.#waiting.push(waiting);
  }

  /** Takes everything out, in order. */
  take(): BacklogMessage[] {
    const taken = this.#waiting;
    this.#waiting = [];
    this.#joinable.clear();
    this.bytes = 0;
    this.events = 0;
    return taken.map(({ head, sections, length, events }) => ({
      bytes: Buffer.concat([head, ...sections], length),
      events,
    }));
  }
}
