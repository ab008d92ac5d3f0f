import type { Settings } from './settings.ts';
import { STORE_FLAGS, type Subcommand } from './subcommand.ts';

/** What `netsy import` is to do. */
export interface ImportOrder {
  readonly command: 'import';
  /** The etcd database. */
  readonly file: string;
  readonly json: boolean;
  /** Of which the store and the threads count. */
  readonly settings: Settings;
}

const EXAMPLES = `
FILE is what "etcdctl snapshot save FILE" wrote, or member/snap/db of a data directory whose etcd was stopped.
The store must be empty: an import makes a new one, with the same revisions, versions, history from the compaction
revision on, leases (each with its whole TTL), users and roles. The file is checked before anything is written.

When it is interrupted, run the same command again: it goes on. Until it has ended, servers refuse the store.
Progress goes to standard error. The exit code is 0 when the store holds everything, else 1.

Examples:
  etcdctl --endpoints=http://old:2379 snapshot save snapshot.db
  netsy import snapshot.db --store s3://bucket/prefix --s3-region eu-central-1
  netsy --store s3://bucket/prefix --s3-region eu-central-1

And the way back:
  etcdctl --endpoints=http://127.0.0.1:2379 snapshot save snapshot.db
  etcdutl snapshot restore snapshot.db --data-dir default.etcd
`;

export const IMPORT: Subcommand<ImportOrder> = {
  name: 'import',
  usage: 'FILE [flags]',
  flags: STORE_FLAGS,
  missingOperand: 'name the snapshot file',
  describe: (command) => {
    command
      .description('move an etcd database (a snapshot) into an empty store')
      .argument('<file>', 'path of the snapshot, or of member/snap/db')
      .option('--json', 'print what was imported as JSON')
      .addHelpText('after', EXAMPLES);
  },
  order: ({ operands: [file = ''], options, settings }) => ({
    command: 'import',
    file,
    json: options['json'] === true,
    settings: settings(),
  }),
};
