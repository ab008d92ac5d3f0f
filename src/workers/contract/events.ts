import type { LogRecord } from '../../shared/model/record.ts';

/**
 * Watch events as they travel between threads: all of a chunk's events in one buffer. An event is
 * `revision f64, sub u32, flags u32, keyLength u32, plainLength u32, length u32`, the key, and the encoded
 * mvccpb.Event laid out [type][kv][prev_kv], whose first `plainLength` bytes are the event without prev_kv.
 */

const HEADER_BYTES = 28;
const FLAG_DELETE = 1;
const INITIAL_BYTES = 4096;

/** One change as watchers see it. */
export interface EventView {
  revision: number;
  sub: number;
  isDelete: boolean;
  key: Uint8Array;
  bytes: Uint8Array;
  plainLength: number;
}

/** Packs events; not reusable after `finish`. */
export class EventWriter {
  #bytes = new Uint8Array(INITIAL_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  add(
    record: Pick<LogRecord, 'revision' | 'sub' | 'key' | 'deleted'>,
    event: Uint8Array,
    plainLength: number,
  ): void {
    const start = this.#length;
    this.#reserve(HEADER_BYTES + record.key.length + event.length);
    this.#view.setFloat64(start, record.revision, true);
    this.#view.setUint32(start + 8, record.sub, true);
    this.#view.setUint32(start + 12, record.deleted ? FLAG_DELETE : 0, true);
    this.#view.setUint32(start + 16, record.key.length, true);
    this.#view.setUint32(start + 20, plainLength, true);
    this.#view.setUint32(start + 24, event.length, true);
    this.#bytes.set(record.key, start + HEADER_BYTES);
    this.#bytes.set(event, start + HEADER_BYTES + record.key.length);
    this.#length = start + HEADER_BYTES + record.key.length + event.length;
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length);
  }

  #reserve(extra: number): void {
    const needed = this.#length + extra;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}

/** The events of a packed buffer, in order, as views into it. */
export function readEvents(packed: Uint8Array): EventView[] {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  const events: EventView[] = [];
  let position = 0;
  while (position < packed.length) {
    const keyLength = view.getUint32(position + 16, true);
    const length = view.getUint32(position + 24, true);
    const keyStart = position + HEADER_BYTES;
    const eventStart = keyStart + keyLength;
    events.push({
      revision: view.getFloat64(position, true),
      sub: view.getUint32(position + 8, true),
      isDelete: (view.getUint32(position + 12, true) & FLAG_DELETE) !== 0,
      key: packed.subarray(keyStart, eventStart),
      bytes: packed.subarray(eventStart, eventStart + length),
      plainLength: view.getUint32(position + 20, true),
    });
    position = eventStart + length;
  }
  return events;
}
