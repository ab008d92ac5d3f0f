import { asBuffer } from '../../shared/base/bytes.ts';
import type { Clock } from '../../shared/base/clock.ts';
import { errorMessage } from '../../shared/base/errors.ts';
import type { Log } from '../../shared/base/log.ts';
import type { Random } from '../../shared/base/random.ts';
import { LEASE_RENEWALS_PER_TTL } from '../../shared/model/limits.ts';
import { retryTransient } from '../store/retry.ts';
import type { ObjectStore } from '../store/store.ts';
import { type Creation, LeaseChain, type SeenLease } from './lease-chain.ts';
import type { LeaseRecord } from './lease-record.ts';

/** What the holder gives up of its TTL, and a taker waits beyond it, for clocks that run at different speeds. */
const MARGIN_OF_TTL = 0.1;
/** After a trouble with the store, a holder gets this part of its TTL to show that it lives. */
const GRACE_OF_TTL = 0.5;
const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 1_000;
const ATTEMPT_MS_MIN = 500;
const ATTEMPT_MS_MAX = 5_000;
/** Ending does not wait longer than this for the store. */
const RELEASE_MS = 3_000;

export interface PrimaryLeaseParts {
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Of the leases that this process writes. */
  readonly ttlMs: number;
  readonly nodeId: string;
  /** What a lease says of its holder now. */
  describe(): Pick<LeaseRecord, 'name' | 'clientUrls' | 'sequence'>;
  /** Another process has taken it; told once. */
  lost(holder: string): void;
  /** Held again after it had run out. */
  resumed(): void;
}

/**
 * Which process is the primary, by the lease in the store.
 *
 * The log's safety does not rest on it: who appends is decided by the epoch chunk and the conditional creates. It
 * decides when it is polite to take over, and when linearizable reads must stop. Those rest on this: a lease is the
 * holder's until its TTL after the holder *began* to write it, and nobody takes over before the same TTL after having
 * *seen* it. What is seen was begun before; the takeover writes the name that a renewal would have written, and only
 * one of the two is there. Each side counts on its own monotonic clock, so clocks need not agree.
 */
export class PrimaryLease {
  readonly #parts: PrimaryLeaseParts;
  readonly #chain: LeaseChain;
  readonly #process: string;
  #heldUntilMs = Number.NEGATIVE_INFINITY;
  #lapsed = false;
  #trouble: string | undefined;
  #renewing: Promise<void> | undefined;
  /** No look succeeded since the last one failed; and the first good one after that. */
  #blind = false;
  #seesSinceMs = Number.NEGATIVE_INFINITY;
  #acquiring: Creation | undefined;
  readonly #stop = new AbortController();

  constructor(parts: PrimaryLeaseParts) {
    const { store, clock, random, ttlMs } = parts;
    this.#parts = parts;
    const attemptTimeoutMs = Math.max(
      ATTEMPT_MS_MIN,
      Math.min(ATTEMPT_MS_MAX, ttlMs / LEASE_RENEWALS_PER_TTL),
    );
    this.#chain = new LeaseChain({ store, clock, random, attemptTimeoutMs });
    this.#process = asBuffer(random.bytes(8)).toString('hex');
  }

  /** Whether this process is the primary at this moment: nobody else has answered anything as one yet. */
  held(): boolean {
    return this.#parts.clock.monotonicMs() < this.#heldUntilMs;
  }

  /** Why it can't be renewed, while it can't be. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** Who holds it, as far as this process sees; undefined when nobody does, or nobody was seen for that long. */
  get holder(): LeaseRecord | undefined {
    const { end } = this.#chain;
    if (end?.record === undefined || end.record.released) return undefined;
    return this.#parts.clock.monotonicMs() < this.#overMs(end) ? end.record : undefined;
  }

  /** Looks who holds it; by a list the first time. Rejects with a StoreError. */
  async look(): Promise<void> {
    const before = this.#chain.end;
    try {
      await this.#chain.look();
    } catch (error) {
      this.#blind = true;
      throw error;
    }
    const { end } = this.#chain;
    if (end !== undefined && end !== before && end.record === undefined) {
      this.#parts.log.warn('a lease in the store can not be read; waiting as for a holder', {
        number: end.number,
      });
    }
    if (!this.#blind) return;
    this.#blind = false;
    this.#seesSinceMs = this.#parts.clock.monotonicMs();
  }

  /**
   * Takes the lease if, as far as `look` has seen, it is free: there was none, it was released, it was this
   * node's (whose earlier process is dead, since its data directory's lock is ours), or it was unchanged for its
   * TTL and more. From then on it is renewed. Rejects with a StoreError when that is not known yet.
   */
  async tryAcquire(): Promise<boolean> {
    if (this.#acquiring === undefined) {
      if (!this.#isFree() && this.#chain.end?.record?.holder !== this.#parts.nodeId) return false;
      this.#acquiring = this.#chain.next(this.#record(false));
    }
    const creation = this.#acquiring;
    const outcome = await this.#chain.create(creation);
    this.#acquiring = undefined;
    if (outcome === 'taken') return false;
    if (this.#stop.signal.aborted) {
      await this.#release();
      return false;
    }
    this.#hold(creation);
    this.#renewing = this.#keepRenewing(creation);
    return true;
  }

  /** Holds it no longer and, if the store answers soon, says so there, so that a standby takes over at once. */
  async release(): Promise<void> {
    const wasHolder = this.#renewing !== undefined;
    this.#heldUntilMs = Number.NEGATIVE_INFINITY;
    const { clock, random, log } = this.#parts;
    const over = clock.monotonicMs() + RELEASE_MS;
    this.#stop.abort();
    if (!wasHolder) return;
    const retry = { clock, random, retryForMs: RELEASE_MS };
    const released = this.#renewing!.then(() => retryTransient(retry, undefined, () => this.#release()));
    const failed = (error: unknown): void => log.warn('lease not released', { error: errorMessage(error) });
    await Promise.race([released.catch(failed), clock.sleep(over - clock.monotonicMs())]);
  }

  async #release(): Promise<void> {
    // Which one is the last is unclear when the renewal under way failed.
    await this.#chain.list();
    if (this.#chain.end?.record?.process !== this.#process) return;
    await this.#chain.create(this.#chain.next(this.#record(true)));
  }

  #record(released: boolean): LeaseRecord {
    const { ttlMs, nodeId, describe } = this.#parts;
    return { holder: nodeId, process: this.#process, ttlMs, released, ...describe() };
  }

  /** Whether the last lease that was seen keeps nobody from taking over. */
  #isFree(): boolean {
    const { end } = this.#chain;
    if (end === undefined || end.record?.released === true) return true;
    const graceMs = this.#seesSinceMs + (end.record?.ttlMs ?? this.#parts.ttlMs) * GRACE_OF_TTL;
    return !this.#blind && this.#parts.clock.monotonicMs() >= Math.max(this.#overMs(end), graceMs);
  }

  /** When a lease that nobody renews has ended for everybody. */
  #overMs({ record, seenMs }: SeenLease): number {
    return seenMs + (record?.ttlMs ?? this.#parts.ttlMs) * (1 + MARGIN_OF_TTL);
  }

  #hold({ begunMs }: Creation): void {
    this.#heldUntilMs = begunMs + this.#parts.ttlMs * (1 - MARGIN_OF_TTL);
    this.#chain.prune();
  }

  /** Renews until it is lost or released; while the store is away, as often as it makes sense. Never rejects. */
  async #keepRenewing(acquired: Creation): Promise<void> {
    const { clock, ttlMs, lost, resumed } = this.#parts;
    const { signal } = this.#stop;
    let last = acquired;
    while (!signal.aborted) {
      const dueMs = last.begunMs + ttlMs / LEASE_RENEWALS_PER_TTL;
      await clock.sleep(Math.max(0, dueMs - clock.monotonicMs()), signal);
      if (signal.aborted) return;
      last = this.#chain.next(this.#record(false));
      const outcome = await this.#renew(last, signal);
      if (signal.aborted) return;
      if (outcome === 'taken') {
        this.#heldUntilMs = Number.NEGATIVE_INFINITY;
        lost(this.#chain.end?.record?.holder ?? 'unknown');
        return;
      }
      if (!this.held()) this.#lapsed = true;
      this.#hold(last);
      if (this.#lapsed && this.held()) {
        this.#lapsed = false;
        resumed();
      }
    }
  }

  /** Tries one renewal until its outcome is known. */
  async #renew(next: Creation, signal: AbortSignal): Promise<'created' | 'taken' | undefined> {
    const { clock, random, log } = this.#parts;
    for (let failures = 0; !signal.aborted; failures++) {
      try {
        const outcome = await this.#chain.create(next);
        if (failures > 0) log.info('lease renewed again', { number: next.number });
        this.#trouble = undefined;
        return outcome;
      } catch (error) {
        this.#trouble = errorMessage(error);
        const fields = { number: next.number, error: this.#trouble };
        if (failures === 0) log.warn('lease not renewed yet', fields);
        else log.debug('lease not renewed yet', fields);
      }
      if (!this.held() && !this.#lapsed) {
        this.#lapsed = true;
        log.warn('lease ran out; linearizable reads wait until it is renewed', { number: next.number });
      }
      const backoff = Math.min(RETRY_MS_MAX, RETRY_MS_MIN * 2 ** Math.min(failures, 10));
      await clock.sleep(backoff * (0.5 + random.fraction() / 2), signal);
    }
    return undefined;
  }
}
