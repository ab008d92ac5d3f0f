import type { Settings } from './settings.ts';
import { STORE_FLAGS, type Subcommand } from './subcommand.ts';

/** What `netsy import` is to do. */
export interface ImportOrder {
  readonly command: 'import';
  /** The path of an etcd database, or the place of a bucket of Netsy for Go. */
  readonly source: string;
  readonly json: boolean;
  /** Of which the store and the threads count. */
  readonly settings: Settings;
}

const EXAMPLES = `
SOURCE is one of these:
  - what "etcdctl snapshot save FILE" wrote, or member/snap/db of a data
    directory whose etcd was stopped
  - a bucket of Netsy for Go, or a copy of one: s3://BUCKET/PREFIX,
    file:///DIR or a directory, with its chunks/ and snapshots/

The store must be empty: an import makes a new one, with the same revisions,
versions, history from the compaction revision on, leases (each with its whole
TTL), users and roles. Netsy for Go keeps no leases but their ids on keys, and
no users. What is imported is checked before anything is written, and never
changed; nothing may write to it meanwhile.

When it is interrupted, run the same command again: it goes on. Until it has
ended, servers refuse the store.

Progress goes to standard error. The exit code is 0 when the store holds
everything, else 1.

Examples:
  etcdctl --endpoints=http://old:2379 snapshot save snapshot.db
  netsy import snapshot.db --store s3://bucket/prefix --s3-region eu-central-1
  netsy --store s3://bucket/prefix --s3-region eu-central-1

  netsy import s3://old-bucket/prefix --store s3://bucket/prefix \\
               --s3-region eu-central-1
  netsy import "s3://old-bucket?endpoint=http://127.0.0.1:9000" \\
               --store file:///var/lib/netsy/store
  netsy import ./copy-of-the-bucket --store s3://bucket/prefix

And the way back to an etcd:
  etcdctl --endpoints=http://127.0.0.1:2379 snapshot save snapshot.db
  etcdutl snapshot restore snapshot.db --data-dir default.etcd
`;

export const IMPORT: Subcommand<ImportOrder> = {
  name: 'import',
  usage: 'SOURCE [flags]',
  flags: STORE_FLAGS,
  missingOperand: 'name the snapshot file, or the bucket',
  describe: (command) => {
    command
      .description('move an etcd database (a snapshot), or a bucket of Netsy for Go, into an empty store')
      .argument('<source>', 'path of the snapshot or of member/snap/db, or the bucket')
      .option('--json', 'print what was imported as JSON')
      .addHelpText('after', EXAMPLES);
  },
  order: ({ operands: [source = ''], options, settings }) => ({
    command: 'import',
    source,
    json: options['json'] === true,
    settings: settings(),
  }),
};
