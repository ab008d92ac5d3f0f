import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import { startNetsy } from '../support/netsy.ts';
import { assertKept, assertServes } from './aftermath.ts';
import { fuzzFiles, fuzzOneFile } from './files/run-files.ts';
import { Fuzzer, residentBytes } from './fuzzer.ts';

const HELP = `npm run fuzz -- [options]: bad input to a server of its own, or damaged files to what reads files

  --target server|files   (server)
  --seconds N             for so long, of the server (60)
  --inputs N              so many damaged files (1000000)
  --only N                that one alone, of a seed
  --seed S                (random; printed)`;

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

async function fuzzServer(seed: number, seconds: number): Promise<number> {
  const endMs = performance.now() + seconds * 1_000;
  say(`seed ${seed}, ${seconds} s`);
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
    return 0;
  } catch (error) {
    say(`FAILED: seed ${seed}: ${summary(fuzzer, netsy.pid)}: ${(error as Error).message}`);
    say(netsy.log().split('\n').slice(-20).join('\n'));
    return 1;
  } finally {
    fuzzer.close();
    await netsy.stop();
  }
}

const { values } = parseArgs({
  options: {
    target: { type: 'string', default: 'server' },
    seconds: { type: 'string', default: '60' },
    inputs: { type: 'string', default: '1000000' },
    only: { type: 'string' },
    seed: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
if (values.help) {
  say(HELP);
  process.exit();
}
const seed = values.seed === undefined ? randomInt(2 ** 31) : Number(values.seed);
if (values.target === 'server') process.exitCode = await fuzzServer(seed, Number(values.seconds));
else if (values.target !== 'files') {
  say(`--target ${values.target}: must be server or files`);
  process.exitCode = 2;
} else if (values.only === undefined) process.exitCode = await fuzzFiles(seed, Number(values.inputs), say);
else process.exitCode = await fuzzOneFile(seed, Number(values.only), say);
