import { SettingsError } from './settings.ts';
import type { Subcommand } from './subcommand.ts';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
type Shell = (typeof SHELLS)[number];

/** For which shell completion is to be printed. */
export interface CompletionOrder {
  readonly command: 'completion';
  readonly shell: Shell;
}

const EXAMPLES = `
Prints a script that completes netsy's commands, flags and their words.

Examples:
  source <(netsy completion bash)          for this shell; in ~/.bashrc for all
  netsy completion zsh > "\${fpath[1]}/_netsy"
  netsy completion fish > ~/.config/fish/completions/netsy.fish
`;

export const COMPLETION: Subcommand<CompletionOrder> = {
  name: 'completion',
  usage: SHELLS.join('|'),
  flags: [],
  missingOperand: `name the shell: ${SHELLS.join(', ')}`,
  describe: (command) => {
    command
      .description('print what completes commands and flags in a shell')
      .argument('<shell>', SHELLS.join(', '))
      .addHelpText('after', EXAMPLES);
  },
  order: ({ operands: [word] }) => {
    const shell = SHELLS.find((one) => one === word);
    if (shell === undefined)
      throw new SettingsError(`completion: "${word}" is not known; use ${SHELLS.join(', ')}`);
    return { command: 'completion', shell };
  },
};
