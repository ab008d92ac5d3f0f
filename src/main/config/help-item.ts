/** How wide a help is: a terminal's usual width, whatever the terminal. */
export const HELP_COLUMNS = 80;
/** Where what a flag or command does begins. */
const TEXT_COLUMN = 30;

/** A flag or command and what it does: beside it, below it where its name is too long, within the help's width. */
export function helpItem(term: string, _width: number, description: string): string {
  const margin = ' '.repeat(TEXT_COLUMN);
  const name = `  ${term}`;
  const text = linesOf(description, HELP_COLUMNS - TEXT_COLUMN).join(`\n${margin}`);
  return name.length + 2 > TEXT_COLUMN ? `${name}\n${margin}${text}` : name.padEnd(TEXT_COLUMN) + text;
}

function linesOf(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}
