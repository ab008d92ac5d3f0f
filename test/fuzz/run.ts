import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { startNetsy } from '../support/netsy.ts';
import { assertKept, assertServes } from './aftermath.ts';
import { Fuzzer, residentBytes } from './fuzzer.ts';

/** `npm run fuzz -- --seconds N --seed S`: bad input to a server of its own, for so long. */

const PROGRESS_MS = 5_000;

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

function summary(fuzzer: Fuzzer, pid: number): string {
  const outcomes = [...fuzzer.outcomes]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, count]) => `${name}: ${count}`);
  return `${fuzzer.tries} tries (${outcomes.join(', ')}), ${Math.round(residentBytes(pid) / 2 ** 20)} MiB`;
}

const { values } = parseArgs({
  options: { seconds: { type: 'string', default: '60' }, seed: { type: 'string' } },
});
const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed);
const endMs = performance.now() + Number(values.seconds) * 1_000;
say(`seed ${seed}, ${values.seconds} s`);

let netsy = await startNetsy({ environment: { NODE_OPTIONS: '--max-old-space-size=256' } });
const fuzzer = new Fuzzer(netsy, seed);
try {
  let progressMs = performance.now();
  while (performance.now() < endMs) {
    await fuzzer.once();
    if (performance.now() - progressMs < PROGRESS_MS) continue;
    progressMs = performance.now();
    await assertServes(netsy);
    say(summary(fuzzer, netsy.pid));
  }
  await assertServes(netsy);
  const told = summary(fuzzer, netsy.pid);
  netsy = await assertKept(netsy);
  say(`passed: seed ${seed}: ${told}`);
} catch (error) {
  say(`FAILED: seed ${seed}: ${summary(fuzzer, netsy.pid)}: ${(error as Error).message}`);
  say(netsy.log().split('\n').slice(-20).join('\n'));
  process.exitCode = 1;
} finally {
  fuzzer.close();
  await netsy.stop();
}
