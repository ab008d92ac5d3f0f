import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { simulate } from './simulation.ts';
import { Tally } from './tally.ts';
import { VARIANTS } from './variants.ts';

/** `npm run sim -- --seeds N [--seed S] [--minutes M] [--break VARIANT] [--trace]`: see docs/simulation.md. */

const PROGRESS_MS = 10_000;

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

const { values } = parseArgs({
  options: {
    seeds: { type: 'string' },
    seed: { type: 'string' },
    minutes: { type: 'string' },
    break: { type: 'string' },
    trace: { type: 'boolean', default: false },
  },
});
const variant = VARIANTS.find(({ name }) => name === values.break);
if (values.break !== undefined && variant === undefined) {
  say(`--break: one of ${VARIANTS.map(({ name }) => name).join(', ')}`);
  process.exit(1);
}
const first = values.seed === undefined ? randomInt(2 ** 31 - 2 ** 24) : Number(values.seed);
const minutes = values.minutes === undefined ? Number.POSITIVE_INFINITY : Number(values.minutes);
const one = values.seed !== undefined && values.seeds === undefined && values.minutes === undefined;
const seeds = one
  ? 1
  : Number(values.seeds ?? (values.minutes === undefined ? 100 : Number.MAX_SAFE_INTEGER));
const endMs = performance.now() + minutes * 60_000;
const tally = new Tally();
let progressMs = performance.now();
say(`seeds from ${first}`);
for (let seed = first; seed < first + seeds && performance.now() < endMs; seed++) {
  const result = await simulate(seed, { variant, tell: one || values.trace ? say : undefined });
  tally.add(result);
  if (result.violations.length > 0) {
    const asVariant = variant === undefined ? '' : ` --break ${variant.name}`;
    say(`FAILED: seed ${seed}: ${result.violations[0]}`);
    say(`replay: npm run sim -- --seed ${seed}${asVariant}`);
    process.exitCode = 1;
    break;
  }
  if (performance.now() - progressMs < PROGRESS_MS) continue;
  progressMs = performance.now();
  say(tally.line);
}
for (const line of tally.lines) say(line);
say(tally.line);
