import { varintSize } from '../../shared/etcd/wire.ts';
import type { WatchEvent } from './events.ts';

/** Which events a watcher wants, and how. */
export interface EventOptions {
  readonly prevKv: boolean;
  readonly noPut: boolean;
  readonly noDelete: boolean;
}

/** The options as a number in [0, 8): watchers with the same one get the same bytes. */
export function eventVariant(options: EventOptions): number {
  return (options.prevKv ? 4 : 0) + (options.noPut ? 2 : 0) + (options.noDelete ? 1 : 0);
}

/** What one response carries: whole revisions, encoded once for all watchers that want the same. */
export interface EventPiece {
  /** The encoded `events` fields of a `WatchResponse`. */
  readonly section: Uint8Array;
  /** Where each event ends within `section`. */
  readonly ends: readonly number[];
  readonly firstRevision: number;
  readonly lastRevision: number;
}

/** Tag of `WatchResponse.events`: field 11, length-delimited. */
const EVENTS_TAG = 0x5a;

/**
 * Encodes the wanted ones of `events` (ordered by revision) into pieces of at most `bytesMax` bytes. A piece
 * holds whole revisions, so a single larger revision makes a larger piece.
 */
export function renderPieces(
  events: readonly WatchEvent[],
  options: EventOptions,
  bytesMax: number,
): EventPiece[] {
  const wanted = wantedEvents(events, options);
  const pieces: EventPiece[] = [];
  let from = 0;
  let bytes = 0;
  for (let at = 0; at < wanted.length; ) {
    const end = revisionEnd(wanted, at);
    const size = sectionSize(wanted, at, end, options.prevKv);
    if (bytes > 0 && bytes + size > bytesMax) {
      pieces.push(renderPiece(wanted, from, at, bytes, options.prevKv));
      from = at;
      bytes = 0;
    }
    bytes += size;
    at = end;
  }
  if (bytes > 0) pieces.push(renderPiece(wanted, from, wanted.length, bytes, options.prevKv));
  return pieces;
}

function wantedEvents(events: readonly WatchEvent[], options: EventOptions): readonly WatchEvent[] {
  if (!options.noPut && !options.noDelete) return events;
  return events.filter((event) => (event.isDelete ? !options.noDelete : !options.noPut));
}

/** The index after the last event that shares the revision of the event at `at`. */
function revisionEnd(events: readonly WatchEvent[], at: number): number {
  const revision = events[at]!.revision;
  let end = at + 1;
  while (end < events.length && events[end]!.revision === revision) end += 1;
  return end;
}

function eventLength(event: WatchEvent, prevKv: boolean): number {
  return prevKv ? event.bytes.length : event.plainLength;
}

function sectionSize(events: readonly WatchEvent[], from: number, to: number, prevKv: boolean): number {
  let size = 0;
  for (let at = from; at < to; at++) {
    const length = eventLength(events[at]!, prevKv);
    size += 1 + varintSize(length) + length;
  }
  return size;
}

function renderPiece(
  events: readonly WatchEvent[],
  from: number,
  to: number,
  bytes: number,
  prevKv: boolean,
): EventPiece {
  const section = Buffer.allocUnsafe(bytes);
  const ends: number[] = [];
  let offset = 0;
  for (let at = from; at < to; at++) {
    const event = events[at]!;
    const length = eventLength(event, prevKv);
    section[offset] = EVENTS_TAG;
    offset = writeVarint(section, offset + 1, length);
    section.set(length === event.bytes.length ? event.bytes : event.bytes.subarray(0, length), offset);
    offset += length;
    ends.push(offset);
  }
  return { section, ends, firstRevision: events[from]!.revision, lastRevision: events[to - 1]!.revision };
}

/** Writes a length below 2^31 and returns the offset after it. */
function writeVarint(bytes: Uint8Array, offset: number, value: number): number {
  let at = offset;
  let rest = value;
  while (rest >= 0x80) {
    bytes[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  bytes[at] = rest;
  return at + 1;
}
