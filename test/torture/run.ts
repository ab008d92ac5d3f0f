import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { reportLines, torture } from './torture.ts';

/** `npm run torture`. Exit code 1 when a round failed, 2 for a wrong flag. */

const HELP = `npm run torture -- [options]: kills, stops and cuts off processes and their store under load

  --rounds N        so many rounds of about 12 s (200)
  --seed S          of the first round (random; printed)
  --store s3|file   versitygw behind a bad network, or a directory (s3)`;

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '200' },
    seed: { type: 'string' },
    store: { type: 'string', default: 's3' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  say(HELP);
  process.exit();
}
const rounds = Number(values.rounds);
const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed);
const { store } = values;
const ending = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    // What runs must end with this process: its exit handlers kill it.
    if (ending.signal.aborted) process.exit(130);
    say('ending after this round; once more ends at once');
    ending.abort();
  });
}

if (!(rounds >= 1) || !Number.isSafeInteger(seed) || (store !== 's3' && store !== 'file')) {
  say('--rounds must be 1 or more, --seed a whole number, --store s3 or file');
  process.exit(2);
}
say(`seed ${seed}, ${rounds} rounds on ${store}`);
try {
  for (const line of reportLines(await torture({ rounds, seed, store, say, signal: ending.signal })))
    say(line);
  say(`passed: nothing acknowledged was lost (seed ${seed})`);
} catch (error) {
  say(`FAILED: ${(error as Error).message}`);
  process.exitCode = 1;
}
