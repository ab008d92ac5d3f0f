import { FLAGS, type FlagKey } from './flags.ts';
import type { Settings } from './settings.ts';
import { SettingsError } from './settings.ts';
import type { ShownValue } from './shown-values.ts';
import type { Subcommand } from './subcommand.ts';

/** What `netsy config check` is to do. */
export interface ConfigOrder {
  readonly command: 'config';
  readonly json: boolean;
  /** Every flag, in the order of the help. */
  readonly values: readonly ShownValue[];
  readonly warnings: readonly string[];
  readonly settings: Settings;
}

const EXAMPLES = `
Takes the flags and the environment of the server, checks them as a start
would, reads the files that they name, and says what each flag would be and
where that came from. Secrets are not shown. Nothing is opened, bound or
written: whether the store can be reached is what netsy doctor says.

The exit code is 0 when a server would start with these settings, else 1, with
one line that says what to change.

Examples:
  netsy config check
  NETSY_STORE=s3://bucket/prefix netsy config check --batch-window 10ms
  netsy config check --json |
    jq -r '.values[] | select(.source != "default") | .flag'
`;

export const CONFIG: Subcommand<ConfigOrder> = {
  name: 'config',
  usage: 'check [flags]',
  flags: Object.keys(FLAGS) as FlagKey[],
  missingOperand: 'say what to do: netsy config check',
  describe: (command) => {
    command
      .description('check flags and environment, and say what would be used')
      .argument('<what>', 'check')
      .option('--json', 'print it as JSON')
      .addHelpText('after', EXAMPLES);
  },
  order: ({ operands: [what], options, effective }) => {
    if (what !== 'check') throw new SettingsError(`config: "${what}" is not known; use netsy config check`);
    return { command: 'config', json: options['json'] === true, ...effective() };
  },
};
