import { asBuffer } from '../../shared/base/bytes.ts';
import type { Clock } from '../../shared/base/clock.ts';
import type { Random } from '../../shared/base/random.ts';
import { LEASES_PREFIX, leaseKey, parseLeaseKey } from '../../shared/format/names.ts';
import { LEASE_KEEP_MS, LEASE_TRUST_MS } from '../../shared/model/limits.ts';
import { withDeadline } from '../store/deadline.ts';
import { retryTransient } from '../store/retry.ts';
import type { ObjectStore } from '../store/store.ts';
import { decodeLease, encodeLease, type LeaseRecord } from './lease-record.ts';

/** One object of the chain, as this process came to see it. */
export interface SeenLease {
  readonly number: number;
  /** Undefined when the object can't be read. */
  readonly record: LeaseRecord | undefined;
  /** When it was first seen, on this process's monotonic clock. It was written before. */
  readonly seenMs: number;
}

/**
 * How long one request is sent again before its caller hears of it, in milliseconds: looking and then creating from the
 * beginning would never come to an end with a store that refuses, say, every second request.
 */
const RETRY_MS = 200;

export interface LeaseChainParts {
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly random: Random;
  /** For one request; its outcome is unknown when it takes longer. */
  readonly attemptTimeoutMs: number;
}

/**
 * The lease in the store: `lease/1.json`, `lease/2.json` …, of which the last one counts. Each is made by a
 * conditional create, so of two processes that want to write the next one only one does: a renewal and a takeover
 * exclude each other in every store, also in those that can't replace an object conditionally.
 *
 * Old ones are deleted, which frees their names. So that nobody takes a freed name for the next one:
 * 1. a name is deleted no sooner than LEASE_KEEP_MS after it was seen, and never the last one;
 * 2. that `create` succeeded counts only within LEASE_TRUST_MS of the moment at which it was known (by a list, or
 *    by a create before it) that the one before is the last one; later the list decides.
 */
export class LeaseChain {
  readonly #parts: LeaseChainParts;
  /** Numbers that exist, and since when this process knows. In ascending order. */
  #existing: { number: number; seenMs: number }[] = [];
  #end: SeenLease | undefined;
  /** At this moment `#end` was the last one. */
  #knownMs = Number.NEGATIVE_INFINITY;
  #deleting = false;

  constructor(parts: LeaseChainParts) {
    this.#parts = parts;
  }

  /** The last one that was seen; undefined when there was none. */
  get end(): SeenLease | undefined {
    return this.#end;
  }

  /** Lists the chain; afterwards `end` is the last one. Rejects with a StoreError. */
  async list(): Promise<void> {
    const { store, clock } = this.#parts;
    const knownMs = clock.monotonicMs();
    const numbers = await this.#attempt(async () => {
      const found: number[] = [];
      for await (const { key } of store.list(LEASES_PREFIX)) {
        const number = parseLeaseKey(key);
        if (number !== undefined) found.push(number);
      }
      return found;
    });
    const last = numbers[numbers.length - 1];
    if (last !== undefined && last > (this.#end?.number ?? 0)) {
      const object = await this.#get(last);
      // Deleted meanwhile, because there are later ones.
      if (object === undefined) return this.list();
      this.#see(last, object);
    }
    this.#knownMs = knownMs;
    const known = new Map(this.#existing.map(({ number, seenMs }) => [number, seenMs]));
    const now = clock.monotonicMs();
    this.#existing = numbers.map((number) => ({ number, seenMs: known.get(number) ?? now }));
  }

  /** Looks whether there is a next one: a GET for each that there is, and one. Rejects with a StoreError. */
  async look(): Promise<void> {
    if (this.#end === undefined) return this.list();
    for (;;) {
      const number = this.#end.number + 1;
      const object = await this.#get(number);
      if (object === undefined) return;
      this.#see(number, object);
      // The holder deletes them; whoever becomes it lists what is left.
      const before = this.#parts.clock.monotonicMs() - LEASE_KEEP_MS;
      this.#existing = this.#existing.filter(({ seenMs }) => seenMs >= before);
    }
  }

  /**
   * Writes the next one. 'created': the caller has it, from before `begunMs`. 'taken': another process was first,
   * and `end` is its. Rejects with a StoreError when that is not known yet; then the same has to be asked again.
   */
  async create(next: Creation): Promise<'created' | 'taken'> {
    if (this.#isStale()) {
      await this.list();
      if (this.#end?.number !== next.number - 1) return this.#isOurs(next) ? 'created' : 'taken';
    }
    const answer = await this.#put(next);
    if (this.#isStale()) {
      await this.list();
      return this.#isOurs(next) ? 'created' : 'taken';
    }
    if (answer === 'created') {
      this.#see(next.number, next.object);
      // Nobody had the name when the last try of this creation began, at the earliest when the first one did.
      this.#knownMs = next.begunMs;
    }
    return answer;
  }

  /** Prepares the next one; the same is given to `create` until its outcome is known. */
  next(record: LeaseRecord): Creation {
    const number = (this.#end?.number ?? 0) + 1;
    return { number, object: encodeLease(number, record), begunMs: this.#parts.clock.monotonicMs() };
  }

  /** Deletes what is old enough, in the background: what fails is tried again the next time. */
  prune(): void {
    const before = this.#parts.clock.monotonicMs() - LEASE_KEEP_MS;
    const oldest = this.#existing[0];
    const isOld = oldest !== undefined && oldest.seenMs < before && oldest.number !== this.#end?.number;
    if (this.#deleting || !isOld) return;
    this.#deleting = true;
    void this.#attempt((signal) => this.#parts.store.delete(leaseKey(oldest.number), signal)).then(
      () => {
        this.#deleting = false;
        this.#existing = this.#existing.filter(({ number }) => number !== oldest.number);
        this.prune();
      },
      () => {
        this.#deleting = false;
      },
    );
  }

  #isStale(): boolean {
    return this.#parts.clock.monotonicMs() - this.#knownMs > LEASE_TRUST_MS;
  }

  #isOurs({ number, object }: Creation): boolean {
    return this.#end?.number === number && this.#end.record?.process === decodeLease(object)?.process;
  }

  /** One try, and what an 'exists' means: an earlier try of ours may have been first. */
  async #put({ number, object }: Creation): Promise<'created' | 'taken'> {
    const { store } = this.#parts;
    const answer = await this.#attempt((signal) => store.putIfAbsent(leaseKey(number), object, signal));
    if (answer === 'created') return 'created';
    const stored = await this.#get(number);
    if (stored === undefined) {
      // It was deleted, so the chain goes on far beyond.
      await this.list();
      return 'taken';
    }
    if (asBuffer(stored).equals(object)) return 'created';
    this.#see(number, stored);
    return 'taken';
  }

  #see(number: number, object: Uint8Array): void {
    const seenMs = this.#parts.clock.monotonicMs();
    this.#end = { number, record: decodeLease(object), seenMs };
    this.#existing.push({ number, seenMs });
  }

  #get(number: number): Promise<Uint8Array | undefined> {
    return this.#attempt((signal) => this.#parts.store.get(leaseKey(number), signal));
  }

  /** `action` may be done again after it failed: a create is always of the same bytes. */
  #attempt<T>(action: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { clock, random, attemptTimeoutMs } = this.#parts;
    const retry = { clock, random, retryForMs: RETRY_MS };
    return withDeadline(clock, attemptTimeoutMs, undefined, (signal) =>
      retryTransient(retry, signal, () => action(signal)),
    );
  }
}

/** An object that is being written under the next name. */
export interface Creation {
  readonly number: number;
  readonly object: Uint8Array;
  /** Before the first try, on the monotonic clock. */
  readonly begunMs: number;
}
