import type { Subcommand } from './subcommand.ts';

/** What `netsy inspect` is to do. */
export interface InspectOrder {
  readonly command: 'inspect';
  readonly files: readonly string[];
}

export const INSPECT: Subcommand<InspectOrder> = {
  name: 'inspect',
  usage: 'FILE...',
  flags: [],
  missingOperand: 'name at least one .netsy file',
  describe: (command) => {
    command
      .description('print header, records and footer of .netsy files as JSON lines, and check their CRCs')
      .argument('<files...>', 'paths of .netsy files')
      .option('--json', 'as it does anyhow');
  },
  order: ({ operands }) => ({ command: 'inspect', files: operands }),
};
