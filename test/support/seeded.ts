import type { Random } from '../../src/shared/base/random.ts';

/** A small seeded generator (xorshift32): the same for the same seed, everywhere. */
export class Seeded implements Random {
  #state: number;

  constructor(seed: number) {
    // Zero would stay zero for ever; the multiplication spreads neighbouring seeds.
    this.#state = Math.imul(seed, 0x9e3779b1) >>> 0 || 0x6d2b79f5;
  }

  /** A number in [0, 1). */
  fraction(): number {
    let next = this.#state;
    next ^= next << 13;
    next ^= next >>> 17;
    next ^= next << 5;
    this.#state = next >>> 0;
    return this.#state / 2 ** 32;
  }

  /** An integer in [from, to). */
  integer(from: number, to: number): number {
    return from + Math.floor(this.fraction() * (to - from));
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.integer(0, 256));
  }

  /** One of `values`, which must not be empty. */
  pick<T>(values: readonly T[]): T {
    return values[this.integer(0, values.length)]!;
  }

  /** `length` letters and digits, that hardly compress. */
  text(length: number): string {
    let text = '';
    while (text.length < length) text += Math.floor(this.fraction() * 2 ** 31).toString(36);
    return text.slice(0, length);
  }
}
