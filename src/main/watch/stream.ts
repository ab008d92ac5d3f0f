import { assert } from '../../shared/base/assert.ts';
import type { Clock, Timer } from '../../shared/base/clock.ts';
import type { Random } from '../../shared/base/random.ts';
import { EtcdError } from '../../shared/etcd/errors.ts';
import type { WatchCreateRequest, WatchRequest } from '../../shared/etcd/requests.ts';
import type { WatchResponseEncoder } from './encoder.ts';
import { fragments } from './fragments.ts';
import type { EventPiece } from './pieces.ts';
import { watchRange } from './range.ts';
import type { EventsResponse, StreamStatus, WatchSink } from './sink.ts';
import type { WatcherSpec, WatcherStream } from './watcher.ts';
import { Watcher } from './watcher.ts';

/** What a stream needs of the hub. */
export interface WatchHost {
  readonly clock: Clock;
  readonly random: Random;
  readonly encoder: WatchResponseEncoder;
  readonly currentRevision: number;
  readonly streamBufferBytesMax: number;
  readonly progressNotifyIntervalMs: number;
  readonly fragmentBytesMax: number;
  /** Events that were written to streams, by all of them. */
  eventsSent: number;
  add(watcher: Watcher): void;
  remove(watcher: Watcher): void;
  unpark(watchers: Iterable<Watcher>): void;
  closed(stream: WatchStream): void;
}

/** Answers without a watcher, and progress of a whole stream, carry this id (clientv3.InvalidWatchID). */
const INVALID_WATCH_ID = -1;

/** Reasons of refused watches, from etcd 3.7's storage/mvcc/watcher.go. */
const EMPTY_RANGE = 'mvcc: watcher range is empty';
const DUPLICATE_ID = 'mvcc: duplicate watch ID provided on the WatchStream';

/** WatchCreateRequest.FilterType. */
const FILTER_NO_PUT = 0;
const FILTER_NO_DELETE = 1;

/** The smallest key: what an empty key of a watch stands for. */
const SMALLEST_KEY = Uint8Array.of(0);

/**
 * The server's side of one gRPC Watch stream, as etcd 3.7's api/v3rpc/watch.go answers it: allocates watch
 * ids, writes responses in order, reports progress.
 *
 * Invariants: a watcher's created response is written before anything else of it, and nothing of it after
 * its canceled response. A progress response says a revision up to which every event of the watchers it
 * speaks for was written before it.
 *
 * Where it differs from etcd: a progress request that comes while a watcher is unsynced is answered as soon
 * as all are synced (etcd drops it); several such requests get one answer.
 *
 * A watch that a compaction ended stays until its client cancels it, as in etcd: its id is taken, and there is
 * no progress of the stream.
 */
export class WatchStream implements WatcherStream {
  readonly sink: WatchSink;
  readonly #host: WatchHost;
  readonly #watchers = new Map<number, Watcher>();
  readonly #parked = new Set<Watcher>();
  readonly #compactedIds = new Set<number>();
  /** How many of the watchers are unsynced. */
  #unsynced = 0;
  #nextId = 0;
  #progressWanted = false;
  #progressTimer: Timer | undefined;
  #requestsPaused = false;
  #ended = false;

  constructor(host: WatchHost, sink: WatchSink) {
    this.#host = host;
    this.sink = sink;
  }

  get full(): boolean {
    return this.sink.pendingBytes > this.#host.streamBufferBytesMax;
  }

  /** Takes the client's next request. */
  request(request: WatchRequest): void {
    if (this.#ended) return;
    if (request.kind === 'create') this.#create(request.create);
    else if (request.kind === 'cancel') this.#cancel(request.watchId);
    else if (request.kind === 'progress') this.#requestProgress();
    this.#pauseRequestsWhenFull();
  }

  /** Answers a request for a watch that its caller may not have. */
  refuse(cancelReason: string): void {
    if (this.#ended) return;
    this.#control({ watchId: INVALID_WATCH_ID, created: true, canceled: true, cancelReason });
    this.#pauseRequestsWhenFull();
  }

  /** Called by the transport when written bytes have left. */
  flushed(): void {
    if (this.#ended || this.sink.pendingBytes > this.#host.streamBufferBytesMax / 2) return;
    if (this.#requestsPaused) {
      this.#requestsPaused = false;
      this.sink.resumeRequests();
    }
    if (this.#parked.size === 0) return;
    const parked = [...this.#parked];
    this.#parked.clear();
    this.#host.unpark(parked);
  }

  /** Called by the transport when the peer has gone: cancels all watchers, writes nothing more. */
  close(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#progressTimer?.cancel();
    for (const watcher of this.#watchers.values()) this.#host.remove(watcher);
    this.#watchers.clear();
    this.#parked.clear();
    this.#host.closed(this);
  }

  /** Ends the stream from this side with a gRPC status. */
  end(status: StreamStatus): void {
    if (this.#ended) return;
    this.close();
    this.sink.end(status);
  }

  writeEvents(watcher: Watcher, piece: EventPiece, throughRevision: number): void {
    assert(watcher.state !== 'canceled', 'a canceled watcher gets no events');
    assert(throughRevision >= piece.lastRevision, 'a response covers its own events');
    watcher.quiet = false;
    const { id, fragment } = watcher.spec;
    const message = this.#host.encoder.events(throughRevision, id, piece.section, false);
    if (!fragment || message.length < this.#host.fragmentBytesMax || piece.ends.length < 2) {
      const joins = fragment ? undefined : { watchId: id, sectionBytes: piece.section.length };
      this.#writeEvents(message, piece.ends.length, joins);
      return;
    }
    const overhead = message.length - piece.section.length;
    for (const part of fragments(piece, this.#host.fragmentBytesMax - overhead)) {
      const encoded = this.#host.encoder.events(throughRevision, id, part.section, !part.last);
      this.#writeEvents(encoded, part.eventCount);
    }
  }

  #writeEvents(message: Uint8Array, events: number, response?: EventsResponse): void {
    this.#host.eventsSent += events;
    this.sink.write(message, events, response);
  }

  /** The next revision of the watcher that is furthest behind; undefined when all are synced. */
  get oldestUnsynced(): number | undefined {
    if (this.#unsynced === 0) return undefined;
    let oldest: number | undefined;
    for (const { state, nextRevision } of this.#watchers.values()) {
      if (state === 'unsynced') oldest = Math.min(oldest ?? nextRevision, nextRevision);
    }
    return oldest;
  }

  writeCompacted(watcher: Watcher, compactRevision: number): void {
    const { id } = watcher.spec;
    this.#forget(watcher);
    this.#compactedIds.add(id);
    // etcd leaves the header's revision at zero here.
    const message = this.#host.encoder.control(0, { watchId: id, canceled: true, compactRevision });
    this.sink.write(message, 0);
  }

  park(watcher: Watcher): void {
    this.#parked.add(watcher);
  }

  watcherSynced(): void {
    this.#unsynced -= 1;
    this.#answerProgress();
  }

  watcherUnsynced(): void {
    this.#unsynced += 1;
  }

  #create(request: WatchCreateRequest): void {
    const spec = this.#specOf(request);
    if (typeof spec === 'string') {
      this.#control({ watchId: INVALID_WATCH_ID, created: true, canceled: true, cancelReason: spec });
      return;
    }
    const { startRevision } = spec;
    const nextRevision = startRevision === 0 ? this.#host.currentRevision + 1 : startRevision;
    this.#start(new Watcher(spec, this, nextRevision));
  }

  /** What the client asks for, with an id of its own, or the reason why it can't be. */
  #specOf(request: WatchCreateRequest): WatcherSpec | string {
    const { startRevision, progressNotify, prevKv, fragment, filters } = request;
    if (startRevision < 0) return new EtcdError('Compacted').message;
    const key = request.key.length === 0 ? SMALLEST_KEY : new Uint8Array(request.key);
    const rangeEnd = new Uint8Array(request.rangeEnd);
    const range = watchRange(key, rangeEnd);
    if (range === undefined) return EMPTY_RANGE;
    const id = this.#allocateId(request.watchId);
    if (id === undefined) return DUPLICATE_ID;
    const noPut = filters.includes(FILTER_NO_PUT);
    const noDelete = filters.includes(FILTER_NO_DELETE);
    return { id, key, rangeEnd, range, startRevision, progressNotify, prevKv, fragment, noPut, noDelete };
  }

  #start(watcher: Watcher): void {
    const { id, progressNotify } = watcher.spec;
    this.#watchers.set(id, watcher);
    this.#unsynced += 1;
    this.#control({ watchId: id, created: true });
    if (progressNotify) this.#startProgressTimer();
    this.#host.add(watcher);
  }

  /** The id of a new watch, or undefined when the one that the client chose is taken. */
  #allocateId(chosen: number): number | undefined {
    if (chosen !== 0) return this.#isTaken(chosen) ? undefined : chosen;
    while (this.#isTaken(this.#nextId)) this.#nextId += 1;
    return this.#nextId++;
  }

  #isTaken(id: number): boolean {
    return this.#watchers.has(id) || this.#compactedIds.has(id);
  }

  #cancel(watchId: number): void {
    const watcher = this.#watchers.get(watchId);
    const known = watcher !== undefined || this.#compactedIds.delete(watchId);
    if (!known) return;
    if (watcher !== undefined) this.#forget(watcher);
    this.#control({ watchId, canceled: true });
    this.#answerProgress();
  }

  #forget(watcher: Watcher): void {
    if (watcher.state === 'unsynced') this.#unsynced -= 1;
    this.#watchers.delete(watcher.spec.id);
    this.#parked.delete(watcher);
    this.#host.remove(watcher);
  }

  #requestProgress(): void {
    this.#progressWanted = true;
    this.#answerProgress();
  }

  /** As in etcd, a watcher that has not begun holds back its stream's progress. */
  #startsLater(): boolean {
    for (const { spec } of this.#watchers.values())
      if (spec.startRevision > this.#host.currentRevision) return true;
    return false;
  }

  #answerProgress(): void {
    if (!this.#progressWanted || this.#unsynced > 0) return;
    this.#progressWanted = false;
    if (this.#watchers.size === 0 || this.#compactedIds.size > 0) return;
    if (!this.#startsLater()) this.#control({ watchId: INVALID_WATCH_ID });
  }

  #startProgressTimer(): void {
    if (this.#progressTimer !== undefined) return;
    const interval = this.#host.progressNotifyIntervalMs;
    // etcd adds up to a tenth, so that streams which were opened together don't all report together.
    const delayMs = interval + (interval / 10) * this.#host.random.fraction();
    const tick = (): void => {
      this.#notifyProgress();
      this.#progressTimer = this.#host.clock.after(delayMs, tick);
    };
    this.#progressTimer = this.#host.clock.after(delayMs, tick);
  }

  #notifyProgress(): void {
    for (const watcher of this.#watchers.values()) {
      const { id, progressNotify, startRevision } = watcher.spec;
      const due = progressNotify && watcher.quiet && startRevision <= this.#host.currentRevision;
      if (due && watcher.state === 'synced' && !this.full) this.#control({ watchId: id });
      watcher.quiet = true;
    }
  }

  #control(fields: Parameters<WatchResponseEncoder['control']>[1]): void {
    this.sink.write(this.#host.encoder.control(this.#host.currentRevision, fields), 0);
  }

  /** A client that asks and does not read must not fill memory with answers. */
  #pauseRequestsWhenFull(): void {
    if (this.#requestsPaused || this.sink.pendingBytes <= 2 * this.#host.streamBufferBytesMax) return;
    this.#requestsPaused = true;
    this.sink.pauseRequests();
  }
}
