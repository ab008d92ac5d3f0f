import { assert } from '../../shared/base/assert.ts';
import type { PublishedBatch, WatchEvent } from './events.ts';
import type { WatchRange } from './range.ts';
import { rangeHas } from './range.ts';

interface RingBatch {
  readonly lastRevision: number;
  readonly events: readonly WatchEvent[];
  /** The events' keys as latin1 strings. */
  readonly keys: readonly string[];
  readonly bytes: number;
}

/** What `collect` found. */
export interface RingScan {
  events: WatchEvent[];
  /** Every event of the range up to this revision was in reach of the scan. */
  throughRevision: number;
  /** True when the scan reached the newest batch. */
  complete: boolean;
  /** How many events were looked at. */
  scanned: number;
}

/** Batches that were dropped are cut off the array once there are this many, so that a drop costs O(1). */
const DROPPED_BATCHES_MAX = 1024;

/** Stands where a dropped batch was, so that its memory is free at once. */
const RELEASED: RingBatch = { lastRevision: 0, events: [], keys: [], bytes: 0 };

/**
 * The recently published batches: what lets a watcher that replayed up to a SQLite snapshot, which lags,
 * join the live path without a gap.
 *
 * Invariant: every published event with a revision above `floor` is here. A batch leaves only when it is
 * applied, so a snapshot that is taken after that has its events.
 */
export class RecentBatches {
  readonly #bytesMax: number;
  #batches: RingBatch[] = [];
  #first = 0;
  #bytes = 0;
  #floor: number;
  #appliedRevision: number;

  /** Begins empty at `revision`, all of which is applied. Keeps `bytesMax` bytes, and what is not applied. */
  constructor(revision: number, bytesMax: number) {
    this.#floor = revision;
    this.#appliedRevision = revision;
    this.#bytesMax = bytesMax;
  }

  /** Every published event above this revision is held. */
  get floor(): number {
    return this.#floor;
  }

  /** Bytes of the events held. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Adds the next batch. */
  push(batch: PublishedBatch, keys: readonly string[]): void {
    let bytes = 0;
    for (const event of batch.events) bytes += event.bytes.length + event.key.length;
    this.#batches.push({ lastRevision: batch.lastRevision, events: batch.events, keys, bytes });
    this.#bytes += bytes;
    this.#evict();
  }

  /** A snapshot taken from now on holds every revision up to `revision`. */
  appliedTo(revision: number): void {
    this.#appliedRevision = Math.max(this.#appliedRevision, revision);
    this.#evict();
  }

  /**
   * The events of `range` from `fromRevision` on, which is above `floor`. Stops after the batch in which it
   * has looked at `eventsMax` events or found `bytesMax` bytes.
   */
  collect(range: WatchRange, fromRevision: number, eventsMax: number, bytesMax: number): RingScan {
    assert(fromRevision > this.#floor, `revision ${fromRevision} has left the ring at ${this.#floor}`);
    const scan: RingScan = { events: [], throughRevision: fromRevision - 1, complete: false, scanned: 0 };
    let bytes = 0;
    let at = this.#indexOf(fromRevision);
    while (at < this.#batches.length && scan.scanned < eventsMax && bytes < bytesMax) {
      bytes += scanBatch(this.#batches[at]!, range, fromRevision, scan);
      at += 1;
    }
    scan.complete = at >= this.#batches.length;
    return scan;
  }

  /** The index of the first batch whose last revision is at least `revision`. */
  #indexOf(revision: number): number {
    let low = this.#first;
    let high = this.#batches.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#batches[middle]!.lastRevision < revision) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #evict(): void {
    while (this.#first < this.#batches.length && this.#bytes > this.#bytesMax) {
      const oldest = this.#batches[this.#first]!;
      if (oldest.lastRevision > this.#appliedRevision) break;
      this.#bytes -= oldest.bytes;
      this.#floor = oldest.lastRevision;
      this.#batches[this.#first] = RELEASED;
      this.#first += 1;
    }
    this.#cut();
  }

  #cut(): void {
    if (this.#first < DROPPED_BATCHES_MAX && this.#first < this.#batches.length) return;
    this.#batches = this.#batches.slice(this.#first);
    this.#first = 0;
  }
}

/** Adds the batch's events of the range from `fromRevision` on to the scan; returns their bytes. */
function scanBatch(batch: RingBatch, range: WatchRange, fromRevision: number, scan: RingScan): number {
  let bytes = 0;
  for (let at = 0; at < batch.events.length; at++) {
    const event = batch.events[at]!;
    if (event.revision < fromRevision || !rangeHas(range, batch.keys[at]!)) continue;
    scan.events.push(event);
    bytes += event.bytes.length;
  }
  scan.scanned += batch.events.length;
  scan.throughRevision = batch.lastRevision;
  return bytes;
}
