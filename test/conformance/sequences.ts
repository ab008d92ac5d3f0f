import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { Difference, Differential } from './differential.ts';
import { operation } from './generate.ts';
import { type Operation, show } from './operations.ts';

const SEQUENCE_LENGTH_MAX = 60;

export interface SeedRun {
  readonly seed: number;
  readonly sequences: number;
  /** For how long a failure may be made smaller; 0: not at all. */
  readonly shrinkMs: number;
  /** Called after each sequence that agreed. */
  agreed?(operations: number): void;
}

/** Runs random sequences of operations on a pair of servers that is kept for as long as the two agree. */
export class Sequences {
  #pair: Differential | undefined;
  /** Operations that were sent, other than while making a failure smaller. */
  operations = 0;

  async stop(): Promise<void> {
    await this.#pair?.stop();
    this.#pair = undefined;
  }

  /** Runs one given sequence. */
  async run(operations: readonly Operation[]): Promise<void> {
    this.#pair ??= await Differential.start();
    await this.#pair.run(operations);
    this.operations += operations.length;
  }

  /** Compares everything that the servers hold. */
  async checkEverything(): Promise<void> {
    await this.#pair?.checkEverything();
  }

  /** Runs the sequences that `seed` stands for. Rejects with a report of the first difference. */
  async runSeed({ seed, sequences, shrinkMs, agreed }: SeedRun): Promise<void> {
    let failedAt: number | undefined;
    const property = fc.asyncProperty(
      fc.array(operation, { minLength: 1, maxLength: SEQUENCE_LENGTH_MAX, size: 'max' }),
      async (operations) => {
        if (failedAt !== undefined) return Date.now() - failedAt > shrinkMs || this.#retry(operations);
        try {
          await this.run(operations);
          agreed?.(operations.length);
        } catch (error) {
          failedAt = Date.now();
          await this.#mend();
          throw error;
        }
        return true;
      },
    );
    const details = await fc.check(property, { seed, numRuns: sequences, endOnFailure: shrinkMs === 0 });
    if (details.failed) throw new Error(report(seed, details));
  }

  async #retry(operations: readonly Operation[]): Promise<true> {
    this.#pair ??= await Differential.start();
    try {
      await this.#pair.run(operations);
    } catch (error) {
      await this.#mend();
      throw error;
    }
    return true;
  }

  /** After a difference: takes new servers unless these still hold the same. */
  async #mend(): Promise<void> {
    // What is still under way would be taken for the next sequence's.
    await sleep(50);
    if (await this.#pair!.recover()) return;
    await this.stop();
  }
}

function report(seed: number, details: fc.RunDetails<[Operation[]]>): string {
  const { errorInstance } = details;
  const cause = errorInstance instanceof Error ? errorInstance.message : 'no reason';
  const failing = errorInstance instanceof Difference ? errorInstance.operations : undefined;
  const operations = (details.counterexample?.[0] ?? []).slice(0, failing);
  const size = `${operations.length} operations after ${details.numShrinks} steps of shrinking`;
  return [
    `netsy and etcd differ (seed ${seed}, sequence ${details.numRuns}); the smallest sequence, ${size}:`,
    ...operations.map((one, index) => `  ${index + 1}. ${show(one)}`),
    cause,
  ].join('\n');
}
