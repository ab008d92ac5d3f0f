import type { Clock } from '../../shared/base/clock.ts';
import type { LeaseChange } from '../../workers/contract/writer.ts';
import { ExpiryQueue } from './expiry-queue.ts';

const MS_PER_SECOND = 1000;
/** Places in the queue that leases which ended early may still take, besides as many as there are leases. */
const STALE_PLACES_MAX = 10_000;

interface Lease {
  id: bigint;
  ttlSeconds: number;
  /** On the monotonic clock. */
  expiresAtMs: number;
  /** Resolvers of keep-alives that came after the lease had ended and wait for its revoke. */
  endWaiters: (() => void)[];
  revoking: boolean;
  /** A revoke was asked for. It may come into the log though it seemed to fail, so the lease is never brought back. */
  ending: boolean;
}

export interface LessorParts {
  clock: Clock;
  /** Writes the revoke of an expired lease to the log. Resolves when it is durable, rejects if it failed. */
  revoke(id: bigint): Promise<void>;
  /** Revokes that may be under way at the same time. */
  revokesMax: number;
}

/**
 * The clocks of the leases. Which leases there are is the log's to say: grants and revokes reach this class when
 * they are durable. That a lease has ended is this class's decision, and becomes true when its revoke is durable.
 * Keep-alives are not written; after a restart every lease has its full TTL again.
 */
export class Lessor {
  readonly #parts: LessorParts;
  readonly #leases = new Map<bigint, Lease>();
  readonly #queue = new ExpiryQueue();
  #revoking = 0;
  /** Since the start, for metrics; of those that were renewed or have expired only the primary knows. */
  readonly counts = { granted: 0, revoked: 0, renewed: 0, expired: 0 };

  constructor(parts: LessorParts, leases: LeaseChange[]) {
    this.#parts = parts;
    for (const { id, ttlSeconds } of leases) this.#grant(id, ttlSeconds);
  }

  get count(): number {
    return this.#leases.size;
  }

  /** Takes in what a durable chunk granted and revoked. */
  change(changes: LeaseChange[]): void {
    for (const { id, ttlSeconds } of changes) {
      if (ttlSeconds > 0) {
        this.counts.granted++;
        this.#grant(id, ttlSeconds);
      } else {
        this.counts.revoked++;
        this.#end(id);
      }
    }
  }

  /** As in etcd where a member becomes leader: every lease has its full TTL again. */
  promote(): void {
    for (const lease of this.#leases.values()) if (!lease.ending) this.#refresh(lease);
  }

  /**
   * Gives the lease its whole TTL again and answers it in seconds; 0 if there is no such lease. A lease that has
   * ended is not brought back: the answer waits until its revoke is in the log.
   */
  async keepAlive(id: bigint): Promise<number> {
    const lease = this.#leases.get(id);
    if (lease === undefined) return 0;
    if (this.#hasEnded(lease)) {
      await new Promise<void>((resolve) => lease.endWaiters.push(resolve));
      return 0;
    }
    this.#refresh(lease);
    this.counts.renewed++;
    return lease.ttlSeconds;
  }

  /** The granted TTL and what is left of it, in whole seconds; undefined if there is no such lease. */
  timeToLive(id: bigint): { ttl: number; grantedTtl: number } | undefined {
    const lease = this.#leases.get(id);
    if (lease === undefined) return undefined;
    const leftMs = lease.expiresAtMs - this.#parts.clock.monotonicMs();
    return { ttl: Math.trunc(leftMs / MS_PER_SECOND), grantedTtl: lease.ttlSeconds };
  }

  /** All leases, the one that ends first in front. */
  ids(): bigint[] {
    return [...this.#leases.values()].sort((a, b) => a.expiresAtMs - b.expiresAtMs).map(({ id }) => id);
  }

  /** Revokes what has ended; called several times a second. */
  sweep(): void {
    const now = this.#parts.clock.monotonicMs();
    this.#dropStalePlaces();
    while (this.#revoking < this.#parts.revokesMax) {
      const id = this.#queue.takeBefore(now);
      if (id === undefined) return;
      const lease = this.#leases.get(id);
      if (lease === undefined || lease.revoking) continue;
      if (this.#hasEnded(lease)) void this.#revoke(lease);
      else this.#queue.add(lease.expiresAtMs, id);
    }
  }

  /** A lease that is revoked early leaves its place in the queue, which may be due in years only. */
  #dropStalePlaces(): void {
    if (this.#queue.size <= 2 * this.#leases.size + STALE_PLACES_MAX) return;
    this.#queue.clear();
    for (const { id, expiresAtMs } of this.#leases.values()) this.#queue.add(expiresAtMs, id);
  }

  async #revoke(lease: Lease): Promise<void> {
    lease.revoking = true;
    lease.ending = true;
    this.#revoking++;
    try {
      await this.#parts.revoke(lease.id);
      this.counts.expired++;
    } catch {
      // It is not known whether the revoke will be in the log; ask again, which is harmless if it is.
      lease.revoking = false;
      this.#queue.add(this.#parts.clock.monotonicMs() + MS_PER_SECOND, lease.id);
    } finally {
      this.#revoking--;
    }
  }

  #hasEnded(lease: Lease): boolean {
    return lease.ending || lease.expiresAtMs <= this.#parts.clock.monotonicMs();
  }

  #grant(id: bigint, ttlSeconds: number): void {
    const lease: Lease = { id, ttlSeconds, expiresAtMs: 0, endWaiters: [], revoking: false, ending: false };
    this.#leases.set(id, lease);
    this.#refresh(lease);
    this.#queue.add(lease.expiresAtMs, id);
  }

  /** The queue keeps the earlier time; when that comes, `sweep` finds the lease alive and puts it back. */
  #refresh(lease: Lease): void {
    lease.expiresAtMs = this.#parts.clock.monotonicMs() + lease.ttlSeconds * MS_PER_SECOND;
  }

  #end(id: bigint): void {
    const lease = this.#leases.get(id);
    this.#leases.delete(id);
    for (const resolve of lease?.endWaiters ?? []) resolve();
  }
}
