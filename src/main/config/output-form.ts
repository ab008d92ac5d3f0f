import type { Environment } from './command-line.ts';
import { environmentName, FLAGS } from './flags.ts';

/** How what is wrong is to be said, which must be known also of words that can't be understood. */

const JSON_FLAG = '--json';
const LOG_FORMAT = `--${FLAGS.logFormat.name}`;

/**
 * Whether whoever typed these words reads JSON: by `--json`, or by asking for that format of the log, whose default does not
 * count: without a word of it a person is assumed.
 */
export function asksForJson(argv: readonly string[], environment: Environment): boolean {
  if (argv.includes(JSON_FLAG)) return true;
  const given = argv.flatMap((word, index) => {
    if (word === LOG_FORMAT) return argv[index + 1] ?? [];
    return word.startsWith(`${LOG_FORMAT}=`) ? word.slice(LOG_FORMAT.length + 1) : [];
  });
  return (given.at(-1) ?? environment[environmentName(FLAGS.logFormat.name)]) === 'json';
}
