import { FLAGS, type FlagKey } from './flags.ts';
import type { Settings } from './settings.ts';
import type { Subcommand } from './subcommand.ts';

/** What `netsy doctor` is to do. */
export interface DoctorOrder {
  readonly command: 'doctor';
  readonly json: boolean;
  readonly warnings: readonly string[];
  readonly settings: Settings;
}

const EXAMPLES = `
Takes the flags and the environment of the server, and tries what a server
needs: the store (that it may be written, read, listed and deleted from, that
it honours conditional creates, and how long one takes), this machine's clock
against the store's, the disk under --data-dir and --cache-dir (room, and how
long it takes to sync), limits of the process, TLS files and when they end, and
whether the ports are free. A few small objects are written under probe/ in the
store, and deleted. Servers may run on the store meanwhile.

Each finding is "ok", "warn" (a server would start, but look at it) or "fail"
(it would not, or would not be safe). The exit code is 0 without a "fail", else
1.

Examples:
  netsy doctor --store s3://bucket/prefix --s3-region eu-central-1
  netsy doctor --json | jq '.findings[] | select(.result != "ok")'
`;

export const DOCTOR: Subcommand<DoctorOrder> = {
  name: 'doctor',
  usage: '[flags]',
  flags: Object.keys(FLAGS) as FlagKey[],
  missingOperand: '',
  describe: (command) => {
    command
      .description('try the store, the clock, the disk, limits, TLS files and ports, and say what is wrong')
      .option('--json', 'print it as JSON')
      .addHelpText('after', EXAMPLES);
  },
  order: ({ options, effective }) => {
    const { settings, warnings } = effective();
    return { command: 'doctor', json: options['json'] === true, settings, warnings };
  },
};
