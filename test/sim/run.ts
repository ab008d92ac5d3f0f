import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { simulate } from './simulation.ts';
import { Tally } from './tally.ts';
import { VARIANTS } from './variants.ts';

/** `npm run sim -- --seeds N [--seed S] [--minutes M] [--break VARIANT] [--trace]`: see docs/simulation.md. */

const PROGRESS_MS = 10_000;
const SEEDS = 100;

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

const HELP = `npm run sim -- [options]: runs netsy's processes, clients and store in virtual time (docs/simulation.md).
  --seeds N        so many seeds (100)
  --seed S         from this one, and without --seeds or --minutes this one alone, with its trace
  --minutes M      for so long
  --trace          shows the trace of every seed
  --break VARIANT  breaks netsy on purpose:
${VARIANTS.map(({ name, breaks }) => `      ${name.padEnd(22)} ${breaks}`).join('\n')}`;

function refuse(why: string): never {
  say(why);
  process.exit(1);
}

function numberOf(name: string, text: string | undefined): number | undefined {
  const value = Number(text);
  if (text !== undefined && !(value > 0)) refuse(`--${name}: ${text} is not a number above 0`);
  return text === undefined ? undefined : value;
}

function options() {
  try {
    return parseArgs({
      options: {
        seeds: { type: 'string' },
        seed: { type: 'string' },
        minutes: { type: 'string' },
        break: { type: 'string' },
        trace: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    }).values;
  } catch (error) {
    return refuse((error as Error).message.split('\n', 1)[0]!);
  }
}

const values = options();
if (values.help) {
  say(HELP);
  process.exit(0);
}
const variant = VARIANTS.find(({ name }) => name === values.break);
if (values.break !== undefined && variant === undefined) {
  refuse(`--break: one of ${VARIANTS.map(({ name }) => name).join(', ')}`);
}
const seed = numberOf('seed', values.seed);
const minutes = numberOf('minutes', values.minutes) ?? Number.POSITIVE_INFINITY;
const seedsAsked = numberOf('seeds', values.seeds);
const one = seed !== undefined && seedsAsked === undefined && minutes === Number.POSITIVE_INFINITY;
const seeds = one
  ? 1
  : (seedsAsked ?? (minutes === Number.POSITIVE_INFINITY ? SEEDS : Number.MAX_SAFE_INTEGER));
const first = seed ?? randomInt(2 ** 31 - 2 ** 24);
const endMs = performance.now() + minutes * 60_000;
const tally = new Tally();
let progressMs = performance.now();
say(`seeds from ${first}`);
for (let next = first; next < first + seeds && performance.now() < endMs; next++) {
  const result = await simulate(next, { variant, tell: one || values.trace ? say : undefined });
  tally.add(result);
  if (result.violations.length > 0) {
    const asVariant = variant === undefined ? '' : ` --break ${variant.name}`;
    say(`FAILED: seed ${next}: ${result.violations[0]}`);
    say(`replay: npm run sim -- --seed ${next}${asVariant}`);
    process.exitCode = 1;
    break;
  }
  if (performance.now() - progressMs < PROGRESS_MS) continue;
  progressMs = performance.now();
  say(tally.line);
}
for (const line of tally.lines) say(line);
say(tally.line);
