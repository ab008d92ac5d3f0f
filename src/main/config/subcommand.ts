import type { Command } from 'commander';
import type { FlagKey } from './flags.ts';
import type { Settings } from './settings.ts';

/** The words that follow a subcommand's name. */
export interface Words {
  readonly operands: readonly string[];
  /** By commander's names: what `--price-per-gb-month 1` gives is `pricePerGbMonth`. */
  readonly options: Readonly<Record<string, unknown>>;
  /** The settings by flag and environment; the texts in `over` win. Throws `SettingsError`. */
  settings(over?: Readonly<Partial<Record<FlagKey, string>>>): Settings;
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
  's3Endpoint',
  's3Region',
  's3Addressing',
  'poolThreads',
];
