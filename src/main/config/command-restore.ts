import type { Wanted } from '../restore/wanted.ts';
import { addPointOptions, intoOf, numberOf, POINT_TEXT, wantedOf } from './restore-point.ts';
import { type Settings, SettingsError } from './settings.ts';
import { STORE_FLAGS, type Subcommand } from './subcommand.ts';

/** What `netsy restore` is to do. */
export interface RestoreOrder {
  readonly command: 'restore';
  /** The new store's URL. */
  readonly into: string;
  readonly wanted: Wanted;
  readonly dryRun: boolean;
  /** 0: revisions stay as they are. Else everything up to the new revision counts as compacted. */
  readonly bumpRevision: number;
  readonly json: boolean;
  /** Where the state is put together; undefined: where the system keeps temporary files. */
  readonly workDir: string | undefined;
  /** Of which the old store and the threads count. */
  readonly settings: Settings;
}

const TEXT = `
Reads --store as it was at a point of its log and makes a new store of it: all
keys with their revisions and versions, the history that was not compacted,
leases (each with its whole TTL), users, roles and alarms. A server may go on
running on --store; nothing is written there.
${POINT_TEXT}

Clients that watched the old store saw revisions that the new one gives out
again. With --bump-revision and --mark-compacted, as with etcdutl snapshot
restore, the new store goes on from a higher revision and calls everything
before it compacted: then such clients are told so, and list anew.

Until the restore has ended, servers refuse the new store. When it was
interrupted, run it again.

Progress goes to standard error. The exit code is 0 when all of it is there,
else 1.

Examples:
  netsy restore --store s3://bucket/prod --to-time 2026-03-01T11:55:00Z \\
                --dry-run --into s3://bucket/back
  netsy restore --store s3://bucket/prod --to-time 2026-03-01T11:55:00Z \\
                --into s3://bucket/back
  netsy restore --store file:///var/lib/netsy/store --to-revision 41500 \\
                --into file:///var/lib/netsy/back
  netsy restore --store s3://bucket/prod --to-revision 41500 \\
                --bump-revision 1000000 --mark-compacted \\
                --into s3://bucket/back
  netsy --store s3://bucket/back
`;

export const RESTORE: Subcommand<RestoreOrder> = {
  name: 'restore',
  usage: '--into NEW [--to-revision N | --to-time T] [flags]',
  flags: STORE_FLAGS,
  missingOperand: '',
  describe: (command) => {
    addPointOptions(command.description('make a new store of what a store held at a revision or a time'))
      .option('--dry-run', 'read and check everything, say what would be restored, and write nothing')
      .option('--bump-revision <number>', 'how much to increase the revision after the restore')
      .option(
        '--mark-compacted',
        'call everything up to that revision compacted; required with --bump-revision',
      )
      .option(
        '--work-dir <path>',
        "where the state is put together (default: the system's temporary directory)",
      )
      .option('--json', 'print what was restored as JSON')
      .addHelpText('after', TEXT);
  },
  order: ({ options, settings }) => {
    const bumpRevision = numberOf(options, 'bumpRevision', '--bump-revision', 0) ?? 0;
    // In the words of etcdutl, whose flags these are.
    if (bumpRevision > 0 !== (options['markCompacted'] === true)) {
      throw new SettingsError('--mark-compacted: required if --bump-revision > 0, disallowed otherwise');
    }
    const workDir = options['workDir'];
    return {
      command: 'restore',
      into: intoOf(options, 'restore'),
      wanted: wantedOf(options),
      dryRun: options['dryRun'] === true,
      bumpRevision,
      json: options['json'] === true,
      workDir: typeof workDir === 'string' ? workDir : undefined,
      settings: settings(),
    };
  },
};
