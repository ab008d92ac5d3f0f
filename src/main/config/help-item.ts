import type { Help } from 'commander';

/** How wide a help is: a terminal's usual width, whatever the terminal. */
export const HELP_COLUMNS = 80;
/** Where what a flag or command does begins. */
const TEXT_COLUMN = 30;

/** A flag or command and what it does: beside it, below it where its name is too long, within the help's width. */
export function helpItem(term: string, _width: number, description: string, helper: Help): string {
  const margin = ' '.repeat(TEXT_COLUMN);
  const name = `  ${term}`;
  const text = helper.boxWrap(description, HELP_COLUMNS - TEXT_COLUMN).replaceAll('\n', `\n${margin}`);
  return name.length + 2 > TEXT_COLUMN ? `${name}\n${margin}${text}` : name.padEnd(TEXT_COLUMN) + text;
}
