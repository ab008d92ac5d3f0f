import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Command } from 'commander';
import type { FlagKey } from './flags.ts';
import { S3_FLAGS } from './s3-flags.ts';
import { type Settings, SettingsError } from './settings.ts';
import type { ShownValue } from './shown-values.ts';

/** The words that follow a subcommand's name. */
export interface Words {
  readonly operands: readonly string[];
  /** By commander's names: what `--price-per-gb-month 1` gives is `pricePerGbMonth`. */
  readonly options: Readonly<Record<string, unknown>>;
  /** The settings by flag and environment; the texts in `over` win. Throws `SettingsError`. */
  settings(over?: Readonly<Partial<Record<FlagKey, string>>>): Settings;
  /** The settings, what is odd about them, and each flag's value with where it came from. Throws `SettingsError`. */
  effective(): {
    readonly settings: Settings;
    readonly warnings: readonly string[];
    readonly values: readonly ShownValue[];
  };
}

/** One of netsy's commands besides serving. Each has a file of its own, `command-NAME.ts`. */
export interface Subcommand<Order> {
  readonly name: string;
  /** How it is written, for the help of netsy itself: `FILE [flags]`. */
  readonly usage: string;
  /** Which of the server's flags it takes. */
  readonly flags: readonly FlagKey[];
  /** What is said, after the command's name, when an operand is missing. */
  readonly missingOperand: string;
  /** Adds description, operands, options of its own and help. */
  describe(command: Command): void;
  /** What the words ask for. Throws `SettingsError`. */
  order(words: Words): Order;
}

/** What every command needs that opens a store. */
export const STORE_FLAGS: readonly FlagKey[] = [
  'store',
  'dataDir',
  ...(Object.keys(S3_FLAGS) as FlagKey[]),
  'poolThreads',
];

/** The settings of a command whose first operand may name the store: a URL, or a directory's path. */
export function settingsOfStore({ operands: [store], options, settings }: Words): Settings {
  if (store === undefined) return settings();
  if (options['store'] !== undefined) {
    throw new SettingsError(`--store: the store is named already, ${store}; leave one of the two out`);
  }
  if (/^(?:file|s3):|:\/\//.test(store)) return settings({ store });
  const directory = resolve(store);
  // Whoever only looks has no cache; where the default one would be must not be in the way of a store named `data`.
  return settings({ store: pathToFileURL(directory).href, cacheDir: `${directory}.cache` });
}
