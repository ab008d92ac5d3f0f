import { assert } from '../../shared/base/assert.ts';
import type { EventOptions, EventPiece } from './pieces.ts';
import { eventVariant } from './pieces.ts';
import type { WatchRange } from './range.ts';

/** What a watcher needs of the gRPC stream that it belongs to. */
export interface WatcherStream {
  /** True when no more events may be written until the stream has drained. */
  readonly full: boolean;
  /** Writes one response with the piece's events. Its header says that everything up to `throughRevision` was sent. */
  writeEvents(watcher: Watcher, piece: EventPiece, throughRevision: number): void;
  /** Tells the client that its watch is over because a compaction passed it, and forgets the watcher. */
  writeCompacted(watcher: Watcher, compactRevision: number): void;
  /** Keeps an unsynced watcher until the stream has drained, and then returns it to catching up. */
  park(watcher: Watcher): void;
  /** Called when one of its watchers, which begin unsynced, has become synced. */
  watcherSynced(): void;
  /** Called when one of its synced watchers has become unsynced. */
  watcherUnsynced(): void;
}

export interface WatcherSpec extends EventOptions {
  id: number;
  key: Uint8Array;
  rangeEnd: Uint8Array;
  range: WatchRange;
  /** As the client asked: 0 for "from now on". */
  startRevision: number;
  progressNotify: boolean;
  fragment: boolean;
}

/**
 * One watch of a stream.
 *
 * - synced: it gets events as they are published. Every event of its range with a revision from
 *   `startRevision` up to the hub's current revision was written to its stream.
 * - unsynced: every such event below `nextRevision` was written, none from `nextRevision` on.
 * - canceled: it gets nothing more.
 */
export class Watcher {
  readonly spec: WatcherSpec;
  readonly stream: WatcherStream;
  /** Number of the event options; watchers of the same range and variant get the same bytes. */
  readonly variant: number;
  state: 'synced' | 'unsynced' | 'canceled' = 'unsynced';
  /** No event below this revision may be written any more. Kept up to date only while unsynced. */
  nextRevision: number;
  /** True when no events were written since the last progress tick. */
  quiet = true;

  constructor(spec: WatcherSpec, stream: WatcherStream, nextRevision: number) {
    this.spec = spec;
    this.stream = stream;
    this.variant = eventVariant(spec);
    this.nextRevision = nextRevision;
  }

  /** Moves an unsynced watcher forward: all events below `revision` were written. */
  advanceTo(revision: number): void {
    assert(revision >= this.nextRevision, `watcher moved back from ${this.nextRevision} to ${revision}`);
    this.nextRevision = revision;
  }
}

/**
 * Writes the pieces until the stream is full. Returns the first revision that was not written, or 0 when all were.
 * To a watcher that catches up the last one says, as in etcd, `throughRevision`, up to which they are all there is.
 */
export function deliver(watcher: Watcher, pieces: readonly EventPiece[], throughRevision = 0): number {
  for (const [index, piece] of pieces.entries()) {
    if (watcher.stream.full) return piece.firstRevision;
    const last = index === pieces.length - 1;
    watcher.stream.writeEvents(watcher, piece, Math.max(piece.lastRevision, last ? throughRevision : 0));
  }
  return 0;
}
