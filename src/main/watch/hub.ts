import { assert } from '../../shared/base/assert.ts';
import type { Clock } from '../../shared/base/clock.ts';
import type { Log } from '../../shared/base/log.ts';
import type { Random } from '../../shared/base/random.ts';
import { REPLAY_STEP_BYTES } from '../../shared/model/limits.ts';
import { CatchUp } from './catch-up.ts';
import type { HeaderIdentity } from './encoder.ts';
import { WatchResponseEncoder } from './encoder.ts';
import type { PublishedBatch, WatchEvent } from './events.ts';
import type { EventPiece } from './pieces.ts';
import { renderPieces } from './pieces.ts';
import { latin1 } from './range.ts';
import type { ReplaySource } from './replay.ts';
import { RecentBatches } from './ring.ts';
import type { StreamStatus, WatchSink } from './sink.ts';
import type { WatchHost } from './stream.ts';
import { WatchStream } from './stream.ts';
import type { Watcher } from './watcher.ts';
import { deliver } from './watcher.ts';
import type { WatcherGroup } from './watcher-index.ts';
import { WatcherIndex } from './watcher-index.ts';

export interface WatchHubOptions {
  source: ReplaySource;
  clock: Clock;
  random: Random;
  log: Log;
  identity: HeaderIdentity;
  /** The store's revision at start; all of it is applied. */
  currentRevision: number;
  /** Revisions below this one are gone; 0 if there was no compaction. */
  compactRevision: number;
  /** The ring keeps this many bytes of published events (more while they are not applied). */
  ringBytesMax: number;
  /** A stream with more pending bytes than this is full. */
  streamBufferBytesMax: number;
  /** What all streams together may have pending: with many streams, each is full sooner. */
  totalBufferBytesMax: number;
  /** Time between progress notifications, in milliseconds; at least 100. */
  progressNotifyIntervalMs: number;
  /** Responses of fragmented watches are cut at this size: etcd's `--max-request-bytes` plus overhead. */
  fragmentBytesMax: number;
  /** How many replays may be under way at once. */
  replaysMax?: number;
  /** About how many bytes one replay may bring and one response may carry. */
  stepBytes?: number;
}

/** A stream may always have this much pending, however many streams there are. */
const STREAM_BUFFER_BYTES_MIN = 64 * 1024;

const REPLAYS_MAX_DEFAULT = 4;

/** Counts for metrics. */
export interface WatchCounts {
  streams: number;
  synced: number;
  unsynced: number;
  replaying: number;
  pendingBytes: number;
  pendingEvents: number;
  /** Revisions that the watcher which is furthest behind has not been written yet. */
  lagRevisions: number;
  ringBytes: number;
}

/**
 * Publishes events to watchers.
 *
 * Invariants: batches come in order and each is published within one call, so that between two calls every
 * synced watcher has been written everything up to `currentRevision`. A watcher whose stream is full when
 * an event of its comes leaves the synced ones with that event's revision as its next, and comes back
 * through `CatchUp`. Each published event is encoded at most once per variant (prev_kv, filters) and range.
 */
export class WatchHub implements WatchHost {
  readonly clock: Clock;
  readonly random: Random;
  readonly encoder: WatchResponseEncoder;
  readonly progressNotifyIntervalMs: number;
  readonly fragmentBytesMax: number;
  eventsSent = 0;
  readonly #options: WatchHubOptions;
  readonly #stepBytes: number;
  readonly #synced = new WatcherIndex();
  readonly #streams = new Set<WatchStream>();
  readonly #ring: RecentBatches;
  readonly #catchUp: CatchUp;
  #watchers = 0;
  #currentRevision: number;
  #compactRevision: number;
  #stopped: StreamStatus | undefined;

  constructor(options: WatchHubOptions) {
    this.#options = options;
    this.clock = options.clock;
    this.random = options.random;
    this.encoder = new WatchResponseEncoder(options.identity);
    this.progressNotifyIntervalMs = options.progressNotifyIntervalMs;
    this.fragmentBytesMax = options.fragmentBytesMax;
    this.#stepBytes = options.stepBytes ?? REPLAY_STEP_BYTES;
    this.#currentRevision = options.currentRevision;
    this.#compactRevision = options.compactRevision;
    this.#ring = new RecentBatches(options.currentRevision, options.ringBytesMax);
    this.#catchUp = this.#makeCatchUp();
  }

  /** The store's revision as far as it is published. */
  get currentRevision(): number {
    return this.#currentRevision;
  }

  /** Pending bytes at which a stream is full. */
  get streamBufferBytesMax(): number {
    const share = Math.floor(this.#options.totalBufferBytesMax / Math.max(1, this.#streams.size));
    return Math.min(this.#options.streamBufferBytesMax, Math.max(STREAM_BUFFER_BYTES_MIN, share));
  }

  /** Counts for metrics; walks the streams. */
  counts(): WatchCounts {
    const counts: WatchCounts = {
      streams: this.#streams.size,
      synced: this.#synced.size,
      unsynced: this.#watchers - this.#synced.size,
      replaying: this.#catchUp.replaying,
      pendingBytes: 0,
      pendingEvents: 0,
      lagRevisions: 0,
      ringBytes: this.#ring.bytes,
    };
    for (const stream of this.#streams) {
      counts.pendingBytes += stream.sink.pendingBytes;
      counts.pendingEvents += stream.sink.pendingEvents;
      const lag = this.#currentRevision + 1 - (stream.oldestUnsynced ?? this.#currentRevision + 1);
      counts.lagRevisions = Math.max(counts.lagRevisions, lag);
    }
    return counts;
  }

  /**
   * Publishes the next durable chunk's events; chunks come in sequence order. Writes to every synced watcher
   * before it returns. Does nothing after `stop`. The hub keeps the batch's arrays.
   */
  publish(batch: PublishedBatch): void {
    if (this.#stopped) return;
    assertFollows(batch, this.#currentRevision);
    if (batch.lastRevision === this.#currentRevision) return;
    this.#currentRevision = batch.lastRevision;
    const keys = batch.events.map((event) => latin1(event.key));
    this.#ring.push(batch, keys);
    for (const group of this.#synced.match(batch.events, keys)) this.#publishTo(group);
  }

  /** Says that a snapshot which the replay source takes from now on holds every revision up to `revision`. */
  appliedTo(revision: number): void {
    this.#ring.appliedTo(revision);
  }

  /** Says that revisions below `revision` are gone: watchers that are still before it will be canceled. */
  compactedTo(revision: number): void {
    this.#compactRevision = Math.max(this.#compactRevision, revision);
  }

  /** Opens the server's side of one gRPC stream. On a stopped hub the stream ends at once. */
  open(sink: WatchSink): WatchStream {
    const stream = new WatchStream(this, sink);
    if (this.#stopped) stream.end(this.#stopped);
    else this.#streams.add(stream);
    return stream;
  }

  /** Publishes nothing more, and ends every stream, now and later, with `status`. For shutdown and fencing. */
  stop(status: StreamStatus): void {
    if (this.#stopped) return;
    this.#stopped = status;
    this.#catchUp.stop();
    for (const stream of [...this.#streams]) stream.end(status);
  }

  /** Starts a new watcher: live if it has nothing to catch up with. Called by its stream. */
  add(watcher: Watcher): void {
    this.#watchers += 1;
    if (watcher.nextRevision > this.#currentRevision) this.#join(watcher);
    else this.#catchUp.add([watcher]);
  }

  /** Forgets a watcher. Called by its stream. */
  remove(watcher: Watcher): void {
    if (watcher.state === 'canceled') return;
    this.#watchers -= 1;
    if (watcher.state === 'synced') this.#synced.delete(watcher);
    else this.#catchUp.remove(watcher);
    watcher.state = 'canceled';
  }

  /** Lets watchers move again that were parked on their full stream. Called by their stream. */
  unpark(watchers: Iterable<Watcher>): void {
    this.#catchUp.add(watchers);
  }

  /** Forgets a stream that has closed. Called by the stream. */
  closed(stream: WatchStream): void {
    this.#streams.delete(stream);
  }

  #makeCatchUp(): CatchUp {
    const { source, clock, log, replaysMax = REPLAYS_MAX_DEFAULT } = this.#options;
    return new CatchUp({
      source,
      ring: this.#ring,
      clock,
      log,
      replaysMax,
      stepBytes: this.#stepBytes,
      compactRevision: () => this.#compactRevision,
      joined: (watcher) => this.#join(watcher),
    });
  }

  #join(watcher: Watcher): void {
    assert(watcher.nextRevision > this.#currentRevision, 'a watcher joins only when it has seen everything');
    watcher.state = 'synced';
    this.#synced.add(watcher);
    watcher.stream.watcherSynced();
  }

  /** Writes a group's new events to its watchers; those whose stream is full become unsynced. */
  #publishTo(group: WatcherGroup): void {
    const { events } = group;
    group.events = [];
    const shared: (EventPiece[] | undefined)[] = [];
    for (const watcher of group.watchers) {
      const missed = deliver(watcher, this.#piecesFor(watcher, events, shared));
      if (missed > 0) this.#fallBehind(watcher, missed);
    }
  }

  #piecesFor(
    watcher: Watcher,
    events: readonly WatchEvent[],
    shared: (EventPiece[] | undefined)[],
  ): EventPiece[] {
    if (watcher.nextRevision > events[0]!.revision) {
      const due = events.filter((event) => event.revision >= watcher.nextRevision);
      return renderPieces(due, watcher.spec, this.#stepBytes);
    }
    shared[watcher.variant] ??= renderPieces(events, watcher.spec, this.#stepBytes);
    return shared[watcher.variant]!;
  }

  #fallBehind(watcher: Watcher, nextRevision: number): void {
    this.#synced.delete(watcher);
    watcher.state = 'unsynced';
    watcher.advanceTo(nextRevision);
    watcher.stream.watcherUnsynced();
    watcher.stream.park(watcher);
  }
}

/** Asserts that a batch is in order within itself and after `currentRevision`. */
function assertFollows(batch: PublishedBatch, currentRevision: number): void {
  let previous = currentRevision + 1;
  for (const event of batch.events) {
    assert(event.revision >= previous, `published revision ${event.revision} comes after ${previous}`);
    previous = event.revision;
  }
  const last = batch.events.length === 0 ? currentRevision : previous;
  assert(batch.lastRevision >= last, `batch ends at revision ${batch.lastRevision}, before ${last}`);
}
