import { S3_STANDARD_DOLLARS } from '../store/billing.ts';
import { type Settings, SettingsError } from './settings.ts';
import { STORE_FLAGS, type Subcommand, settingsOfStore } from './subcommand.ts';

/** What `netsy status` is to do. */
export interface StatusOrder {
  readonly command: 'status';
  readonly json: boolean;
  /** In US dollars, or whatever the user counts in. */
  readonly pricePerGbMonth: number;
  readonly pricePer1000Puts: number;
  /** Of which the store counts. */
  readonly settings: Settings;
}

const PRICE_PER_GB_MONTH = String(S3_STANDARD_DOLLARS.perGbMonth);
const PRICE_PER_1000_PUTS = String(S3_STANDARD_DOLLARS.per1000Puts);

const EXAMPLES = `
STORE is file:///DIR, s3://BUCKET/PREFIX or a directory. The store is listed,
and the headers of a few objects are read; whether the rest is whole is what
netsy verify says. Nothing in the store is changed; servers may run on it.

The cost of storage is the bytes that are listed times --price-per-gb-month; a
GB is 2^30 bytes, as S3 bills it. The cost of writing is that of the last
hour's chunks, snapshots and lease renewals, if each hour were like it. The
default prices are S3 Standard's in us-east-1 as AWS published them in 2025:
${PRICE_PER_GB_MONTH} USD per GB and month, ${PRICE_PER_1000_PUTS} USD per
1,000 PUTs. What the list does not show is not in it: GETs, PUTs that were sent
twice (--hedge-after), other storage classes, old versions that the bucket
keeps, unfinished multipart uploads.

Examples:
  netsy status data/store
  netsy status s3://bucket/prefix --s3-region eu-central-1
  netsy status s3://bucket/prefix --price-per-gb-month 0.0125 --json
`;

export const STATUS: Subcommand<StatusOrder> = {
  name: 'status',
  usage: 'STORE [flags]',
  flags: STORE_FLAGS,
  missingOperand: 'name the store',
  describe: (command) => {
    command
      .description('say what is in a store, and what it costs')
      .argument('[store]', 'the store, instead of --store')
      .option('--json', 'print it as JSON')
      .option('--price-per-gb-month <price>', 'what a GB costs per month', PRICE_PER_GB_MONTH)
      .option('--price-per-1000-puts <price>', 'what 1,000 PUTs cost', PRICE_PER_1000_PUTS)
      .addHelpText('after', EXAMPLES);
  },
  order: (words) => ({
    command: 'status',
    json: words.options['json'] === true,
    pricePerGbMonth: price('--price-per-gb-month', words.options['pricePerGbMonth']),
    pricePer1000Puts: price('--price-per-1000-puts', words.options['pricePer1000Puts']),
    settings: settingsOfStore(words),
  }),
};

function price(flag: string, given: unknown): number {
  const text = String(given);
  if (/^\d+(?:\.\d+)?$/.test(text)) return Number(text);
  throw new SettingsError(`${flag}: "${text}" is not a price; use e.g. 0.023`);
}
