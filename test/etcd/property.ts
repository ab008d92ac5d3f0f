import { test } from 'node:test';
import fc from 'fast-check';

/** Registers a test of a property; the seed is printed, and the variable `SEED` runs it again. */
export function property<T>(
  name: string,
  input: fc.Arbitrary<T>,
  holds: (input: T) => void,
  numRuns = 1000,
): void {
  test(name, (context) => {
    const seed = Number(process.env['SEED'] ?? Date.now() % 2 ** 31);
    context.diagnostic(`seed ${seed}`);
    fc.assert(fc.property(input, holds), { seed, numRuns });
  });
}
