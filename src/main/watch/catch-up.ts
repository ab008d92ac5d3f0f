import { assert } from '../../shared/base/assert.ts';
import type { Clock } from '../../shared/base/clock.ts';
import type { Log } from '../../shared/base/log.ts';
import type { WatchEvent } from './events.ts';
import { renderPieces } from './pieces.ts';
import type { ReplayResult, ReplaySource } from './replay.ts';
import type { RecentBatches } from './ring.ts';
import type { Watcher } from './watcher.ts';
import { deliver } from './watcher.ts';

/**
 * How many events of the ring are looked at before the event loop gets its turn: about a millisecond. More
 * than that waits for the next turn, however many watchers ask.
 */
const RING_EVENTS_PER_TURN = 20_000;

/** A replay that failed, or that found a snapshot which is behind its watcher, is tried again after this. */
const REPLAY_RETRY_MS = 100;

export interface CatchUpOptions {
  source: ReplaySource;
  ring: RecentBatches;
  clock: Clock;
  log: Log;
  /** How many replays may be under way at once. */
  replaysMax: number;
  /** About how many bytes one replay may bring, and one response may carry. */
  stepBytes: number;
  /** Revisions below this one are gone. */
  compactRevision(): number;
  /** Takes a watcher to which every published event was delivered; it must be synced in the same turn. */
  joined(watcher: Watcher): void;
}

/**
 * Brings unsynced watchers to the live path. A watcher whose next revision is still in the ring is served
 * from there; when it reaches the ring's end it joins, in the same turn, so no event falls between. One that
 * is further behind is fed from SQLite piece by piece.
 *
 * Invariants: an unsynced watcher is in exactly one of: ready, waiting for a replay, replaying (at most one
 * piece in flight), waiting for a retry, or parked on its full stream. At most `replaysMax` pieces are in
 * flight, and each watcher goes to the end of the queue after its piece.
 */
export class CatchUp {
  readonly #options: CatchUpOptions;
  readonly #ready = new Set<Watcher>();
  readonly #waiting = new Set<Watcher>();
  #replaying = 0;
  #pumping = false;
  #stopped = false;
  #ringBudget = RING_EVENTS_PER_TURN;
  #turnAsked = false;

  constructor(options: CatchUpOptions) {
    this.#options = options;
  }

  /** How many replays are under way. */
  get replaying(): number {
    return this.#replaying;
  }

  /** Takes unsynced watchers that can move. */
  add(watchers: Iterable<Watcher>): void {
    for (const watcher of watchers) this.#ready.add(watcher);
    this.#pump();
  }

  /** Forgets a watcher that was canceled. */
  remove(watcher: Watcher): void {
    this.#ready.delete(watcher);
    this.#waiting.delete(watcher);
  }

  /** Moves nobody any more. */
  stop(): void {
    this.#stopped = true;
    this.#ready.clear();
    this.#waiting.clear();
  }

  #pump(): void {
    if (this.#pumping || this.#stopped) return;
    this.#pumping = true;
    for (const watcher of this.#ready) {
      if (this.#ringBudget <= 0) break;
      this.#ready.delete(watcher);
      this.#advance(watcher);
    }
    this.#pumping = false;
    this.#startReplays();
    if (this.#ringBudget < RING_EVENTS_PER_TURN) this.#askTurn();
  }

  /** Has the budget restored after the event loop has had its turn. */
  #askTurn(): void {
    if (this.#turnAsked) return;
    this.#turnAsked = true;
    this.#options.clock.soon(this.#turn);
  }

  readonly #turn = (): void => {
    this.#turnAsked = false;
    this.#ringBudget = RING_EVENTS_PER_TURN;
    this.#pump();
  };

  #advance(watcher: Watcher): void {
    const compactRevision = this.#options.compactRevision();
    if (watcher.stream.full) watcher.stream.park(watcher);
    else if (watcher.nextRevision < compactRevision) watcher.stream.writeCompacted(watcher, compactRevision);
    else if (this.#isInRing(watcher.nextRevision)) this.#advanceFromRing(watcher);
    else this.#waiting.add(watcher);
  }

  /** The compaction's own revision is not served from the ring: what is left of it only the cache knows. */
  #isInRing(revision: number): boolean {
    return revision > this.#options.ring.floor && revision > this.#options.compactRevision();
  }

  #advanceFromRing(watcher: Watcher): void {
    const { ring, stepBytes } = this.#options;
    const scan = ring.collect(watcher.spec.range, watcher.nextRevision, this.#ringBudget, stepBytes);
    this.#ringBudget -= 1 + scan.scanned;
    const whole = this.#deliver(watcher, scan.events, scan.throughRevision);
    if (whole && scan.complete) this.#options.joined(watcher);
    else this.#ready.add(watcher);
  }

  /** Delivers events that cover up to `throughRevision`; false when the stream became full before the end. */
  #deliver(watcher: Watcher, events: readonly WatchEvent[], throughRevision: number): boolean {
    const pieces = renderPieces(events, watcher.spec, this.#options.stepBytes);
    const missed = deliver(watcher, pieces, throughRevision);
    watcher.advanceTo(missed > 0 ? missed : Math.max(watcher.nextRevision, throughRevision + 1));
    return missed === 0;
  }

  #startReplays(): void {
    for (const watcher of this.#waiting) {
      if (this.#replaying >= this.#options.replaysMax) return;
      this.#waiting.delete(watcher);
      this.#replay(watcher);
    }
  }

  #replay(watcher: Watcher): void {
    const { key, rangeEnd, prevKv } = watcher.spec;
    const fromRevision = watcher.nextRevision;
    const compactRevision = this.#options.compactRevision();
    this.#replaying += 1;
    void this.#options.source
      .replay({ key, rangeEnd, fromRevision, maxBytes: this.#options.stepBytes, prevKv, compactRevision })
      .then(
        (result) => this.#replayed(watcher, result),
        (error: unknown) => this.#failed(watcher, error),
      );
  }

  #replayed(watcher: Watcher, result: ReplayResult): void {
    this.#replaying -= 1;
    if (this.#stopped) return;
    if (watcher.state === 'unsynced') this.#take(watcher, result);
    this.#pump();
  }

  #take(watcher: Watcher, result: ReplayResult): void {
    if (result.kind === 'compacted') {
      watcher.stream.writeCompacted(watcher, result.compactRevision);
    } else if (result.coveredRevision < watcher.nextRevision) {
      this.#retryLater(watcher);
    } else {
      assertCovered(watcher, result.events, result.coveredRevision);
      this.#deliver(watcher, result.events, result.coveredRevision);
      this.#ready.add(watcher);
    }
  }

  #failed(watcher: Watcher, error: unknown): void {
    this.#replaying -= 1;
    if (this.#stopped) return;
    this.#options.log.warn('watch replay failed', {
      fromRevision: watcher.nextRevision,
      error: String(error),
    });
    this.#retryLater(watcher);
    this.#pump();
  }

  #retryLater(watcher: Watcher): void {
    this.#options.clock.after(REPLAY_RETRY_MS, () => {
      if (watcher.state === 'unsynced' && !this.#stopped) this.add([watcher]);
    });
  }
}

/** Asserts that a replay's events lie in what it says it covered, in order. */
function assertCovered(watcher: Watcher, events: readonly WatchEvent[], coveredRevision: number): void {
  let previous = watcher.nextRevision;
  for (const event of events) {
    assert(event.revision >= previous, `replayed revision ${event.revision} follows ${previous}`);
    previous = event.revision;
  }
  assert(previous <= coveredRevision, `replayed revision ${previous} is past the covered ${coveredRevision}`);
}
