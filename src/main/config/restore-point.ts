import type { Command } from 'commander';
import type { Wanted } from '../restore/wanted.ts';
import { SettingsError } from './settings.ts';
import { shownValue } from './shown-values.ts';
import { storeUrl, timestamp, ValueError, wholeNumber } from './values.ts';

/** What the commands that make a new store of an old one's log have in common. */

type Options = Readonly<Record<string, unknown>>;

export const POINT_TEXT = `
  --to-revision N   the last moment at which the store was at revision N
  --to-time T       the last chunk of the log that was made no later than T,
                    by the clock of the server that made it

An S3 URL may say where its bucket is:
  s3://bucket/prefix?endpoint=https://s3.example.com&region=eu-central-1
(and &addressing=path or virtual). What it does not say comes from the flags
and the environment, for both stores alike; the credentials always do.`;

/** Adds the options that say from where and to where. */
export function addPointOptions(command: Command): Command {
  return command
    .option('--into <url>', 'the new store: file:///DIR or s3://BUCKET/PREFIX, empty or not there yet')
    .option('--to-revision <number>', 'go back to this revision (default: the end of the log)')
    .option('--to-time <time>', 'go back to this time, in the form of RFC 3339: 2026-03-01T12:00:00Z');
}

/** The new store. Throws `SettingsError`. */
export function intoOf(options: Options, command: string): string {
  const into = options['into'];
  if (typeof into !== 'string') {
    const forms = '--into file:///DIR or --into s3://BUCKET/PREFIX';
    throw new SettingsError(`${command}: name the new store with ${forms}`);
  }
  return read('--into', into, storeUrl);
}

/** The point. Throws `SettingsError`. */
export function wantedOf(options: Options): Wanted {
  const revision = numberOf(options, 'toRevision', '--to-revision');
  const time = options['toTime'];
  if (revision !== undefined && time !== undefined) {
    throw new SettingsError('--to-time: give it or --to-revision, not both');
  }
  if (typeof time === 'string') return { kind: 'time', timeMs: read('--to-time', time, timestamp) };
  return revision === undefined ? { kind: 'end' } : { kind: 'revision', revision };
}

/** The option's whole number, from `min` on; undefined if it is not given. Throws `SettingsError`. */
export function numberOf(options: Options, key: string, label: string, min = 1): number | undefined {
  const text = options[key];
  return typeof text === 'string' ? read(label, text, wholeNumber(min)) : undefined;
}

function read<T>(label: string, text: string, parse: (text: string) => T): T {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof ValueError)) throw error;
    throw new SettingsError(`${label}: ${error.message.replaceAll(text, shownValue(label, text))}`);
  }
}
