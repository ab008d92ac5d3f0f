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
 * Lets a read through when SQLite has everything that was durable when the read arrived (invariant 6). Waiters
 * leave in the order they came, since what is durable only grows. A serializable read waits too, because
 * single-node etcd shows a client its own acknowledged writes; but not for a disk that takes no more.
 */
export class ReadGate {
  readonly #clock: Clock;
  readonly #timeoutMs: number;
  #durable: number;
  #applied: number;
  #waiters: Waiter[] = [];
  #stuck = false;

  constructor(clock: Clock, timeoutMs: number, sequence: number) {
    this.#clock = clock;
    this.#timeoutMs = timeoutMs;
    this.#durable = sequence;
    this.#applied = sequence;
  }

  /** Reads that wait. */
  get waiting(): number {
    return this.#waiters.length;
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
  }
}
