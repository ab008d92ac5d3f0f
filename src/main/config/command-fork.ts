import type { Wanted } from '../restore/wanted.ts';
import { addPointOptions, intoOf, POINT_TEXT, wantedOf } from './restore-point.ts';
import type { Settings } from './settings.ts';
import { STORE_FLAGS, type Subcommand } from './subcommand.ts';

/** What `netsy fork` is to do. */
export interface ForkOrder {
  readonly command: 'fork';
  /** The new store's URL. */
  readonly into: string;
  readonly wanted: Wanted;
  /** Whether the new store is to need the old one no more. */
  readonly copy: boolean;
  readonly json: boolean;
  /** Of which the old store and the threads count. */
  readonly settings: Settings;
}

const TEXT = `
Makes a new store that goes on where --store was at a point of its log, as a
cluster of its own. The newest snapshot before the point and the chunks from
there up to it are taken over as they are; the state is not put together, so
this is quicker than netsy restore. Between two directories of one file system
the snapshot is not copied but shared, by a hard link. From S3 to S3 it is
referred to where it is, until the new store's own snapshots have replaced it:
so long servers of the new store read it there, with their credentials, and a
pin (below pins/) keeps retention of the old store, if its servers know pins,
from deleting it. Elsewhere, and with --copy, it is copied, and nothing is
written to --store. A server may go on running on --store. Where there is no
snapshot before the point, the point is restored.
${POINT_TEXT}

Until the fork has ended, servers refuse the new store. When it was
interrupted, run it again: it goes on.

Progress goes to standard error. The exit code is 0 when all of it is there,
else 1.

Examples:
  netsy fork --store file:///var/lib/netsy/store \\
             --into file:///var/lib/netsy/try
  netsy fork --store s3://bucket/prod --to-time 2026-03-01T11:55:00Z \\
             --into s3://bucket/try
  netsy --store s3://bucket/try --data-dir /tmp/try
`;

export const FORK: Subcommand<ForkOrder> = {
  name: 'fork',
  usage: '--into NEW [--to-revision N | --to-time T] [flags]',
  flags: STORE_FLAGS,
  missingOperand: '',
  describe: (command) => {
    addPointOptions(command.description("make a new store that goes on from a point of another one's log"))
      .option('--copy', 'copy the snapshot, so that the new store needs the old one no more')
      .option('--json', 'print what was made as JSON')
      .addHelpText('after', TEXT);
  },
  order: ({ options, settings }) => ({
    command: 'fork',
    into: intoOf(options, 'fork'),
    wanted: wantedOf(options),
    copy: options['copy'] === true,
    json: options['json'] === true,
    settings: settings(),
  }),
};
