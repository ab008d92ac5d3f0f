import { assert } from '../base/assert.ts';
import { Writer } from './wire.ts';

/** The tag of RangeResponse.kvs. */
export const KVS_TAG = 18;
const TAGS = { header: 10, more: 24, count: 32 } as const;

/**
 * The KeyValues of a list as a RangeResponse has them, field after field, in the middle of a buffer that has room for
 * the response's other fields: so the response is made where its KeyValues stand, and may be handed to another thread
 * without a copy.
 */
export class PackedKvs {
  /** A header takes 44 bytes at most. */
  static readonly ROOM_BEFORE = 64;
  /** `more` and `count` take 11 bytes at most. */
  static readonly ROOM_BEHIND = 16;
  readonly keys: number;
  readonly lastKey: Uint8Array;
  #buffer: Uint8Array | undefined;

  /** `buffer` is this one's own: room, the KeyValues, room. There is at least one. */
  constructor(buffer: Uint8Array, keys: number, lastKey: Uint8Array) {
    assert(keys > 0, 'packed KeyValues without a key');
    this.#buffer = buffer;
    this.keys = keys;
    this.lastKey = lastKey;
  }

  /** The fields by themselves. This or `response` may be asked for, and once. */
  fields(): Uint8Array {
    const buffer = this.#take();
    return buffer.subarray(PackedKvs.ROOM_BEFORE, buffer.length - PackedKvs.ROOM_BEHIND);
  }

  /** The RangeResponse around them, with the bytes of `encodeRangeResponse`: a view of the buffer. */
  response(header: Uint8Array, more: boolean, count: number): Uint8Array {
    const before = new Writer(PackedKvs.ROOM_BEFORE);
    before.varint(TAGS.header);
    before.delimited(header);
    const behind = new Writer(PackedKvs.ROOM_BEHIND);
    if (more) {
      behind.varint(TAGS.more);
      behind.varint(1);
    }
    behind.varint(TAGS.count);
    behind.varint(count);
    const hasRoom = before.length <= PackedKvs.ROOM_BEFORE && behind.length <= PackedKvs.ROOM_BEHIND;
    assert(hasRoom, 'no room around packed KeyValues');
    const buffer = this.#take();
    const start = PackedKvs.ROOM_BEFORE - before.length;
    const end = buffer.length - PackedKvs.ROOM_BEHIND;
    buffer.set(before.view(), start);
    buffer.set(behind.view(), end);
    return buffer.subarray(start, end + behind.length);
  }

  #take(): Uint8Array {
    const buffer = this.#buffer;
    assert(buffer !== undefined, 'packed KeyValues are used once');
    this.#buffer = undefined;
    return buffer;
  }
}
