import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';

/** What backs the API server in one run of the scenarios. */
export type BackingKind = 'etcd' | 'netsy-file' | 'netsy-s3';

export interface KubeOptions {
  readonly backings: readonly BackingKind[];
  /** Those of our server's whose API server shows a client certificate and talks TLS with it. */
  readonly secured: readonly BackingKind[];
  /** The compiled entry of our server, or undefined for the one beside this script. */
  readonly netsyPath: string | undefined;
  readonly seed: number;
  readonly configMaps: number;
  readonly leases: number;
  readonly leaseSeconds: number;
  readonly eventTtlSeconds: number;
  readonly compactionSeconds: number;
  readonly kills: number;
  /** Off makes the API server read and watch our server for each client. */
  readonly watchCache: boolean;
  /** Keep the directory of logs and data also when everything passed. */
  readonly keep: boolean;
}

export const USAGE = `npm run kube -- [options]: an unchanged kube-apiserver on our server, or on etcd as the control

  --server netsy|etcd       what backs the API server (default netsy)
  --store file|s3|both      the object store of netsy (default both)
  --tls s3|file|both|none   on which of them netsy serves TLS and demands client certificates (default s3)
  --netsy PATH              another main.js of netsy
  --seed N                  of contents and kill moments (default random; printed)
  --config-maps N           (default 500)
  --leases N                (default 50)
  --lease-seconds N         for how long Leases are renewed (default 60)
  --event-ttl N             seconds (default 15)
  --compaction-interval N   seconds (default 10)
  --kills N                 kill -9 under load, so many times (default 4)
  --watch-cache on|off      the API server's own cache (default on)
  --keep                    keep logs and data when all passed`;

const ARGUMENTS = {
  server: { type: 'string', default: 'netsy' },
  store: { type: 'string', default: 'both' },
  tls: { type: 'string', default: 's3' },
  netsy: { type: 'string' },
  seed: { type: 'string' },
  'config-maps': { type: 'string', default: '500' },
  leases: { type: 'string', default: '50' },
  'lease-seconds': { type: 'string', default: '60' },
  'event-ttl': { type: 'string', default: '15' },
  'compaction-interval': { type: 'string', default: '10' },
  kills: { type: 'string', default: '4' },
  'watch-cache': { type: 'string', default: 'on' },
  keep: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const;

/** The options of a command line, or undefined when it asks for help. Throws on what it does not know. */
export function parseOptions(words: readonly string[]): KubeOptions | undefined {
  const { values } = parseArgs({ args: [...words], options: ARGUMENTS, strict: true });
  if (values.help) return undefined;
  return {
    backings: backingsOf(oneOf('server', values.server, ['netsy', 'etcd']), values.store),
    secured: oneOf('tls', values.tls, ['s3', 'file', 'both', 'none']) === 'none' ? [] : storesOf(values.tls),
    netsyPath: values.netsy,
    seed: values.seed === undefined ? randomInt(2 ** 32) : count('seed', values.seed, 0),
    configMaps: count('config-maps', values['config-maps'], 1),
    leases: count('leases', values.leases, 1),
    leaseSeconds: count('lease-seconds', values['lease-seconds'], 0),
    eventTtlSeconds: count('event-ttl', values['event-ttl'], 5),
    compactionSeconds: count('compaction-interval', values['compaction-interval'], 1),
    kills: count('kills', values.kills, 0),
    watchCache: oneOf('watch-cache', values['watch-cache'], ['on', 'off']) === 'on',
    keep: values.keep,
  };
}

function backingsOf(server: string, store: string): BackingKind[] {
  if (server === 'etcd') return ['etcd'];
  return storesOf(oneOf('store', store, ['file', 's3', 'both']));
}

function storesOf(chosen: string): BackingKind[] {
  if (chosen === 'both') return ['netsy-file', 'netsy-s3'];
  return [chosen === 'file' ? 'netsy-file' : 'netsy-s3'];
}

function oneOf(name: string, value: string, allowed: readonly string[]): string {
  if (!allowed.includes(value)) throw new Error(`--${name} ${value}: must be one of ${allowed.join(', ')}`);
  return value;
}

function count(name: string, text: string, least: number): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < least) {
    throw new Error(`--${name} ${text}: must be an integer of at least ${least}`);
  }
  return value;
}
