import { decodeKeyValue } from '../../src/shared/etcd/responses.ts';
import { Reader } from '../../src/shared/etcd/wire.ts';

/** A decoded event, as far as the tests look at it. */
export interface SeenEvent {
  revision: number;
  key: string;
  isDelete: boolean;
  value: string;
  hasPrevKv: boolean;
}

/** A decoded WatchResponse. */
export interface SeenResponse {
  revision: number;
  watchId: number;
  created: boolean;
  canceled: boolean;
  compactRevision: number;
  cancelReason: string;
  fragment: boolean;
  events: SeenEvent[];
  bytes: number;
}

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

function decodeEvent(bytes: Uint8Array): SeenEvent {
  const reader = new Reader(bytes);
  const event: SeenEvent = { revision: 0, key: '', isDelete: false, value: '', hasPrevKv: false };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 8) event.isDelete = reader.bool();
    else if (tag === 18) {
      const kv = decodeKeyValue(reader.bytes());
      Object.assign(event, { revision: kv.modRevision, key: text(kv.key), value: text(kv.value) });
    } else if (tag === 26) {
      reader.bytes();
      event.hasPrevKv = true;
    } else reader.skip(tag);
  }
  return event;
}

function headerRevision(bytes: Uint8Array): number {
  const reader = new Reader(bytes);
  let revision = 0;
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 24) revision = reader.int64();
    else reader.skip(tag);
  }
  return revision;
}

const EMPTY: Omit<SeenResponse, 'bytes' | 'events'> = {
  revision: 0,
  watchId: 0,
  created: false,
  canceled: false,
  compactRevision: 0,
  cancelReason: '',
  fragment: false,
};

/** Decodes a WatchResponse by etcd's field numbers. */
export function decodeWatchResponse(bytes: Uint8Array): SeenResponse {
  const reader = new Reader(bytes);
  const out: SeenResponse = { ...EMPTY, events: [], bytes: bytes.length };
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === 10) out.revision = headerRevision(reader.bytes());
    else if (tag === 16) out.watchId = reader.int64();
    else if (tag === 24) out.created = reader.bool();
    else if (tag === 32) out.canceled = reader.bool();
    else if (tag === 40) out.compactRevision = reader.int64();
    else if (tag === 50) out.cancelReason = text(reader.bytes());
    else if (tag === 56) out.fragment = reader.bool();
    else if (tag === 90) out.events.push(decodeEvent(reader.bytes()));
    else reader.skip(tag);
  }
  return out;
}
