import type { Settings } from './settings.ts';
import { STORE_FLAGS, type Subcommand, settingsOfStore } from './subcommand.ts';

/** What `netsy verify` is to do. */
export interface VerifyOrder {
  readonly command: 'verify';
  readonly json: boolean;
  /** Of which the store and the threads count. */
  readonly settings: Settings;
}

const EXAMPLES = `
STORE is file:///DIR, s3://BUCKET/PREFIX or a directory. Everything in it is
read: every CRC of every chunk and snapshot, the chain and the sequence of the
log, and that each snapshot holds what the chunks before it give, row for row.
All damage that is found is listed. Nothing in the store is changed; servers
may run on it, and write.

Needs read and list permission only, and room for two copies of the state in
the system's temporary directory (TMPDIR). Progress goes to standard error. The
exit code is 0 when the store is whole, 1 when it is damaged, and 2 when it
can't be read, or holds no log.

Examples:
  netsy verify data/store
  netsy verify s3://bucket/prefix --s3-region eu-central-1
  netsy verify --store s3://bucket --json | jq '.damages[].object'
`;

export const VERIFY: Subcommand<VerifyOrder> = {
  name: 'verify',
  usage: 'STORE [flags]',
  flags: STORE_FLAGS,
  missingOperand: 'name the store',
  describe: (command) => {
    command
      .description('read all of a store, and say whether it is whole')
      .argument('[store]', 'the store, instead of --store')
      .option('--json', 'print the result as JSON')
      .addHelpText('after', EXAMPLES);
  },
  order: (words) => ({
    command: 'verify',
    json: words.options['json'] === true,
    settings: settingsOfStore(words),
  }),
};
