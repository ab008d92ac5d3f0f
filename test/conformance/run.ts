import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { Sequences } from './sequences.ts';

/** `npm run differential`: as many random operations as wanted, to netsy and to etcd. */

const USAGE = `npm run differential -- [options]: the same random operations to netsy and to a real etcd

  --operations N        about how many (default 10000)
  --seed S              of the first sequences (default random; printed)
  --shrink-seconds N    for how long a difference is made smaller (default 120)`;

const SEQUENCES_PER_SEED = 20;

function number(text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 0) throw new Error(`${text} is not a whole number`);
  return value;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      operations: { type: 'string' },
      seed: { type: 'string' },
      'shrink-seconds': { type: 'string' },
      help: { type: 'boolean' },
    },
  });
  if (values.help) {
    process.stdout.write(`${USAGE}\n`);
    return 0;
  }
  const wanted = number(values.operations, 10_000);
  const first = number(values.seed, randomInt(2 ** 31));
  const shrinkMs = number(values['shrink-seconds'], 120) * 1000;
  return run(wanted, first, shrinkMs);
}

/** Runs seed after seed until there were enough operations; the exit code. */
async function run(wanted: number, first: number, shrinkMs: number): Promise<number> {
  const started = Date.now();
  const sequences = new Sequences();
  const seconds = (): string => `${((Date.now() - started) / 1000).toFixed(0)} s`;
  let seed = first;
  let failure: Error | undefined;
  process.stdout.write(`${wanted} operations from seed ${first} on\n`);
  try {
    for (; sequences.operations < wanted; seed++) {
      await sequences.runSeed({ seed, sequences: SEQUENCES_PER_SEED, shrinkMs });
      process.stdout.write(`${sequences.operations} operations, up to seed ${seed}, ${seconds()}\n`);
    }
    await sequences.checkEverything();
  } catch (error) {
    failure = error as Error;
    process.stdout.write(`${failure.message}\n`);
  } finally {
    await sequences.stop();
  }
  const differences = failure === undefined ? 'no difference' : `A DIFFERENCE with seed ${seed}`;
  process.stdout.write(`${sequences.operations} operations in ${seconds()}: ${differences}\n`);
  return failure === undefined ? 0 : 1;
}

process.exitCode = await main();
