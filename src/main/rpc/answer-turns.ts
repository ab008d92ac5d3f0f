import type { Clock } from '../../shared/base/clock.ts';

/** Bytes of large answers that go out in one turn of the event loop: a copy into the kernel of some tenths of a millisecond. */
const TURN_BYTES = 512 * 1024;
/** What one connection may take of it at a time; so much is between the process and the kernel at most. */
const SHARE_BYTES = 128 * 1024;

/** A connection with answers too large to be sent at once. */
export interface TurnTaker {
  /** Sends about `bytesMax` bytes at most, if the client and the socket take them; answers how many it has sent. */
  takeTurn(bytesMax: number): number;
}

/**
 * Lets the large answers of all connections go out a piece at a time, each connection in its turn, and gives the event
 * loop back between: so no list holds up a write, a small answer or an event that is ready meanwhile.
 */
export class AnswerTurns {
  readonly #clock: Clock;
  readonly #takers = new Set<TurnTaker>();
  #scheduled = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** `taker` may have something to send. It is asked until it sends nothing; then it says so again when that changes. */
  add(taker: TurnTaker): void {
    this.#takers.add(taker);
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#clock.soon(() => this.#turn());
  }

  #turn(): void {
    this.#scheduled = false;
    let left = TURN_BYTES;
    for (const taker of this.#takers) {
      if (left <= 0) break;
      this.#takers.delete(taker);
      const bytes = taker.takeTurn(Math.min(left, SHARE_BYTES));
      left -= bytes;
      // To the end of the line, which this loop goes on to while there are bytes left.
      if (bytes > 0) this.#takers.add(taker);
    }
    const [next] = this.#takers;
    if (next !== undefined) this.add(next);
  }
}
