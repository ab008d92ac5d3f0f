import { Seeded } from '../support/seeded.ts';

/** The dice of a simulation: all that a run does follows from its seed. */
export class SimRandom extends Seeded {
  /** Dice of their own for one part, so that what others throw does not move its. */
  part(): SimRandom {
    return new SimRandom(this.integer(1, 2 ** 31));
  }

  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  between(from: number, to: number): number {
    return from + this.fraction() * (to - from);
  }

  /** Mostly near `from`, now and then near `to`. */
  skewed(from: number, to: number): number {
    return from + this.fraction() ** 4 * (to - from);
  }
}
