import { assert } from '../../shared/base/assert.ts';
import type { Clock } from '../../shared/base/clock.ts';
import { EtcdError } from '../../shared/etcd/errors.ts';

interface Waiter {
  sequence: number;
  serializable: boolean;
  sinceMs: number;
  go: (error: Error | undefined) => void;
}

/**
 * What a process may say of the store as a whole: 'leading', the primary whose lease runs; 'lapsed', a primary that
 * could not renew its lease in time, so that another one may have written meanwhile; 'standby'.
 */
export type Leadership = 'leading' | 'lapsed' | 'standby';

/**
 * Lets a read through when SQLite has everything that was durable when the read arrived (invariant 6). Waiters
 * leave in the order they came, since what is durable only grows. A serializable read waits too, because
 * single-node etcd shows a client its own acknowledged writes; but not for a disk that takes no more.
 *
 * A linearizable read enters only while this process leads, by its clock at that moment, after the read arrived: what
 * another primary acknowledges later is concurrent to it. While the lease has run out it waits; on a standby it fails.
 */
export class ReadGate {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  #durable: number;
  #applied: number;
  #waiters: Waiter[] = [];
  #stuck = false;
  readonly #leads: () => Leadership;
  /** Linearizable reads that wait for the lease. */
  #unled: { sinceMs: number; go: Waiter['go']; enter: () => void }[] = [];
  #aborted: Error | undefined;

  constructor(clock: Clock, timeoutMs: number, sequence: number, leads: () => Leadership = () => 'leading') {
    this.#leads = leads;
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#durable = sequence;
    this.#applied = sequence;
  }

  /** Reads that wait. */
  get waiting(): number {
    return this.#waiters.length + this.#unled.length;
  }

  get durableSequence(): number {
    return this.#durable;
  }

  get appliedSequence(): number {
    return this.#applied;
  }

  durableTo(sequence: number): void {
    assert(sequence > this.#durable, 'durable sequences only grow');
    this.#durable = sequence;
  }

  appliedTo(sequence: number): void {
    assert(sequence <= this.#durable, 'only what is durable is applied');
    this.#applied = sequence;
    let ready = 0;
    while (ready < this.#waiters.length && this.#waiters[ready]!.sequence <= sequence) ready++;
    for (const waiter of this.#waiters.splice(0, ready)) waiter.go(undefined);
  }

  /** Calls `go` as soon as the read may be answered; with etcd's error if that takes too long. */
  enter(go: (error: Error | undefined) => void, serializable = false): void {
    if (serializable || (this.#aborted === undefined && this.#leads() === 'leading'))
      this.#pass(go, serializable);
    else this.lead((error) => (error === undefined ? this.#pass(go, false) : go(error)));
  }

  /** Calls `go` as soon as this process may speak for the store; with etcd's error if it may not. */
  lead(go: (error: Error | undefined) => void): void {
    this.#lead(go, this.#clock.monotonicMs());
  }

  #lead(go: (error: Error | undefined) => void, sinceMs: number): void {
    const leads = this.#aborted === undefined ? this.#leads() : 'standby';
    if (leads === 'leading') go(undefined);
    else if (leads === 'standby') go(this.#aborted ?? new EtcdError('NoLeader'));
    else this.#unled.push({ sinceMs, go, enter: () => this.#lead(go, sinceMs) });
  }

  /** The lease may have been renewed: whoever waits for it tries again. */
  leadershipChanged(): void {
    for (const { enter } of this.#unled.splice(0)) enter();
  }

  /** Nothing linearizable is let through any more; whatever waits is answered with `error`. */
  abort(error: Error): void {
    this.#aborted = error;
    this.leadershipChanged();
    for (const { go } of this.#waiters.splice(0)) go(error);
  }

  #pass(go: (error: Error | undefined) => void, serializable: boolean): void {
    if (this.#applied >= this.#durable || (serializable && this.#stuck)) go(undefined);
    else {
      const sinceMs = this.#clock.monotonicMs();
      this.#waiters.push({ sequence: this.#durable, serializable, sinceMs, go });
    }
  }

  /** Says whether the disk under the cache takes what is durable; while it does not, serializable reads pass. */
  setStuck(stuck: boolean): void {
    this.#stuck = stuck;
    if (!stuck) return;
    const passing = this.#waiters.filter(({ serializable }) => serializable);
    this.#waiters = this.#waiters.filter(({ serializable }) => !serializable);
    for (const waiter of passing) waiter.go(undefined);
  }

  /** Fails what has waited too long; called from time to time. */
  sweep(): void {
    const expired = this.#clock.monotonicMs() - this.#timeoutMs;
    let count = 0;
    while (count < this.#waiters.length && this.#waiters[count]!.sinceMs < expired) count++;
    for (const waiter of this.#waiters.splice(0, count)) waiter.go(new EtcdError('Timeout'));
    if (this.#unled.length === 0) return;
    const late = this.#unled.filter(({ sinceMs }) => sinceMs < expired);
    this.#unled = this.#unled.filter(({ sinceMs }) => sinceMs >= expired);
    for (const { go } of late) go(new EtcdError('Timeout'));
    this.leadershipChanged();
  }
}
