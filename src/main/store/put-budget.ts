import { assert } from '../../shared/base/assert.ts';
import type { Clock } from '../../shared/base/clock.ts';

const MS_PER_SECOND = 1000;
/**
 * What is not used is for what the savings let through at once, and for whoever counts between other moments: so no
 * twenty seconds see more than they may, the first ones of a burst included.
 */
const USED_PART = 0.95;
/** Unused PUTs of so many seconds are saved for a burst; never less than two, so that there is something to pace by. */
const SAVED_SECONDS_MAX = 1;
const SAVED_PUTS_MIN = 2;
/** What is owed beyond this is let go: the tries of a long outage must not slow the server down for as long again. */
const OWED_SECONDS_MAX = 60;
/** Chunks that wait are sent at this part of the rate at least, however much is owed. */
const SLOWEST_PART = 0.5;
/** Less is no wait: what is left of one by rounding. */
const WAIT_MS_MIN = 0.001;

/**
 * `--put-budget`: when a batch may close, so that all PUTs of this process stay within so many per second.
 *
 * PUTs are saved up for a second. The gap between two batches widens as the savings shrink: none while they are full, so
 * that a server with little to do sends at once; the rate's own gap when half is left, where a loaded server settles;
 * twice that when nothing is left, and no more than that when something is owed. So a hedge or a lease's renewal makes
 * the next few gaps a little wider, instead of one of them twice as wide.
 *
 * Whatever is sent is paid for. Batches wait and hedges do without; lease renewals, retries, snapshots and packs are never
 * refused, and what they owe is paid by the batches after them.
 *
 * Invariant: batches and their hedges alone never owe anything, so that in T seconds they are at most T · N and one
 * second's savings.
 */
export class PutBudget {
  readonly #clock: Clock;
  readonly #perMs: number;
  readonly #savedMax: number;
  readonly #owedMax: number;
  /** Negative when PUTs are owed. As of `#atMs`. */
  #saved: number;
  #atMs: number;
  /** When the last batch closed that is sent, and the one before. */
  #closedMs = Number.NEGATIVE_INFINITY;
  #closedBeforeMs = Number.NEGATIVE_INFINITY;
  /** Taken by batches whose PUTs were not sent yet. */
  #ahead = 0;

  constructor(perSecond: number, clock: Clock) {
    assert(perSecond > 0, 'a budget of no PUTs lets nothing be written');
    this.#clock = clock;
    this.#perMs = (perSecond * USED_PART) / MS_PER_SECOND;
    this.#savedMax = Math.max(SAVED_PUTS_MIN, perSecond * SAVED_SECONDS_MAX);
    this.#owedMax = perSecond * OWED_SECONDS_MAX;
    this.#saved = this.#savedMax;
    this.#atMs = clock.monotonicMs();
  }

  /** PUTs that may be sent at once; negative when so many are owed. */
  get saved(): number {
    const now = this.#clock.monotonicMs();
    this.#saved = Math.min(this.#savedMax, this.#saved + (now - this.#atMs) * this.#perMs);
    this.#atMs = now;
    return this.#saved;
  }

  /** How long a batch has to wait before it may close, in milliseconds; 0 when it may now. */
  waitMs(): number {
    const missing = this.#savedMax - this.saved;
    const sinceMs = this.#clock.monotonicMs() - this.#closedMs;
    const widestMs = 1 / (this.#perMs * SLOWEST_PART);
    // The gap is `missing` × this, and `missing` shrinks while the batch waits.
    const msPerMissing = widestMs / (this.#savedMax - 1);
    const waitMs = (missing * msPerMissing - sinceMs) / (1 + msPerMissing * this.#perMs);
    const least = Math.min(waitMs, widestMs - sinceMs);
    return least < WAIT_MS_MIN ? 0 : least;
  }

  /** A batch closes; its PUT is paid for now, though it is sent later. */
  take(): void {
    this.#pay(1);
    this.#ahead++;
    this.#closedBeforeMs = this.#closedMs;
    this.#closedMs = this.#atMs;
  }

  /** A batch that had closed has nothing to send. */
  giveBack(): void {
    // Else another request was sent in its place, which is paid for thus.
    if (this.#ahead > 0) this.#pay(-1);
    if (this.#ahead === 1) this.#closedMs = this.#closedBeforeMs;
    this.#ahead = Math.max(0, this.#ahead - 1);
  }

  /** PUTs are sent, whoever's. */
  sent(puts: number): void {
    const paid = Math.min(puts, this.#ahead);
    this.#ahead -= paid;
    if (puts > paid) this.#pay(puts - paid);
  }

  /** Whether a slow upload may be sent a second time: then there is still one for the next batch. */
  hasOneToSpare(): boolean {
    return this.saved >= 2;
  }

  /** Whether an upload may be sent more than once at once: a loaded server, whose batches wait, has no use for that. */
  hasPlenty(): boolean {
    return this.saved >= Math.max(2, (this.#savedMax + 1) / 2);
  }

  #pay(puts: number): void {
    this.#saved = Math.max(-this.#owedMax, Math.min(this.#savedMax, this.saved - puts));
  }
}
