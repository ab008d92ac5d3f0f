import { type Command, Option } from 'commander';
import { integer, nonNegative } from '../flags.ts';
import { defaultDelay } from './delay.ts';
import { PUT_EFFECTS } from './slow-store.ts';

const { medianMs, sigma, tailShare, tailMinMs, tailMaxMs } = defaultDelay;

/** How the slow store delays: flags of the bench, which hands them on, and of the store's own process. */
export function addDelayFlags(command: Command): Command {
  return command
    .option('--put-median-ms <ms>', 'median delay of a PUT, 0 for none', nonNegative, medianMs)
    .option('--read-median-ms <ms>', 'median delay of all other requests', nonNegative, medianMs)
    .option('--sigma <number>', 'spread of the log-normal delay', nonNegative, sigma)
    .option('--tail-share <share>', 'share of requests that are stragglers', nonNegative, tailShare)
    .option('--tail-min-ms <ms>', 'a straggler takes at least', nonNegative, tailMinMs)
    .option('--tail-max-ms <ms>', 'a straggler takes at most', nonNegative, tailMaxMs)
    .addOption(
      new Option(
        '--put-effect <when>',
        'whether a PUT makes its object at the end of its delay or at the start',
      )
        .choices(PUT_EFFECTS)
        .default('end'),
    )
    .option('--seed <number>', 'of delays, values and the choice of keys', integer, 1);
}
