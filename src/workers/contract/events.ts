import { eventSizes, writeEvent } from '../../shared/etcd/responses.ts';
import { Writer } from '../../shared/etcd/wire.ts';
import type { LogRecord } from '../../shared/model/record.ts';

/**
 * Watch events as they travel between threads: all of a chunk's events in one buffer. An event is
 * `revision f64, sub u32, flags u32, keyLength u32, plainLength u32, length u32`, the key, and the encoded
 * mvccpb.Event laid out [type][kv][prev_kv], whose first `plainLength` bytes are the event without prev_kv.
 */

const HEADER_BYTES = 28;
const FLAG_DELETE = 1;

/** One change as watchers see it. */
export interface EventView {
  revision: number;
  sub: number;
  isDelete: boolean;
  key: Uint8Array;
  bytes: Uint8Array;
  plainLength: number;
}

/** Packs events, in a buffer that is kept from one `finish` to the next. */
export class EventWriter {
  readonly #packed = new Writer();
  readonly #header = new Uint8Array(HEADER_BYTES);
  readonly #view = new DataView(this.#header.buffer);

  get length(): number {
    return this.#packed.length;
  }

  /** Adds the event of a record from its encoded KeyValue, and the one before it if watchers may get that. */
  add(
    record: Pick<LogRecord, 'revision' | 'sub' | 'key' | 'deleted'>,
    kv: Uint8Array,
    prevKv: Uint8Array | undefined,
  ): void {
    const { revision, sub, key, deleted } = record;
    const { plain, whole } = eventSizes(deleted, kv, prevKv);
    this.#view.setFloat64(0, revision, true);
    this.#view.setUint32(8, sub, true);
    this.#view.setUint32(12, deleted ? FLAG_DELETE : 0, true);
    this.#view.setUint32(16, key.length, true);
    this.#view.setUint32(20, plain, true);
    this.#view.setUint32(24, whole, true);
    this.#packed.raw(this.#header);
    this.#packed.raw(key);
    writeEvent(this.#packed, deleted, kv, prevKv);
  }

  /** The packed events in a buffer of their own, ready to be transferred. Empties the writer. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#packed.finish();
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
