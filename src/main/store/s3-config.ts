import type { Clock } from '../../shared/base/clock.ts';
import type { Log } from '../../shared/base/log.ts';
import type { Random } from '../../shared/base/random.ts';
import type { Role } from './s3-credential-chain.ts';
import type { CredentialProvider, Environment } from './s3-credentials.ts';
import type { DialectName, Written } from './s3-dialect.ts';
import { awsEndpoint, namedEndpoint } from './s3-endpoint.ts';
import { readProfile } from './s3-profile.ts';

/** How a bucket is named in a request: in its path, or in its host name. */
type Addressing = 'path' | 'virtual';

export interface S3Options {
  readonly clock: Clock;
  readonly random: Random;
  /** Of the process, or a test's; AWS's own variables are read from it. */
  readonly environment: Environment;
  /** Instead of AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL and the profile's `endpoint_url`. */
  readonly endpoint?: string | undefined;
  /** Instead of AWS_REGION and AWS_DEFAULT_REGION. */
  readonly region?: string | undefined;
  /** Default: 'path' with an endpoint, 'virtual' without. */
  readonly addressing?: Addressing | undefined;
  /** Default: what `defaultCredentials` finds. */
  readonly credentials?: CredentialProvider | undefined;
  /** To be taken on with the credentials that are found. */
  readonly role?: Role | undefined;
  /** A file of authorities (PEM) to trust beside Node's own. Instead of AWS_CA_BUNDLE and the profile's `ca_bundle`. */
  readonly caFile?: string | undefined;
  /** What each object is to be written with. */
  readonly written?: Written | undefined;
  /** Default: by the endpoint's host. */
  readonly dialect?: DialectName | undefined;
  /** For what happens between requests. */
  readonly log?: Log | undefined;
  /** How long to wait for a connection, for an answer, and between two pieces of it. */
  readonly attemptTimeoutMs?: number | undefined;
  /** Open at most at once: the pipeline's uploads, their hedges, and reads beside them. */
  readonly connections?: number | undefined;
}

/** Where a bucket is and how it is spoken to. */
export interface S3Target {
  readonly bucket: string;
  /** Empty, or ends with '/'. */
  readonly prefix: string;
  readonly region: string;
  /** Scheme, host and port to connect to. */
  readonly origin: string;
  /** Host and port as the Host header has them. */
  readonly host: string;
  /** What comes before the key: '/' or '/bucket/', after the endpoint's own path. */
  readonly basePath: string;
}

const REGION_DEFAULT = 'us-east-1';

/**
 * Reads `s3://bucket/prefix?endpoint=…&region=…&addressing=path|virtual`; what the URL does not say comes from
 * the options, then from the environment. Throws an Error with one line that says what to change.
 */
export async function s3Target(url: URL, options: S3Options): Promise<S3Target> {
  const { bucket, prefix } = bucketAndPrefix(url);
  const { environment } = options;
  const query = queryOf(url);
  const endpoint = await namedEndpoint([query.endpoint, options.endpoint], environment);
  const region = query.region || options.region || (await regionOf(environment));
  const base = endpoint ?? (await awsEndpoint(region, environment));
  // A certificate's wildcard covers one label, so a bucket with dots has no valid virtual host over TLS.
  const addressing =
    query.addressing ?? options.addressing ?? (endpoint || bucket.includes('.') ? 'path' : 'virtual');
  const directory = base.pathname.replace(/\/*$/, '/');
  if (addressing === 'path') {
    return {
      bucket,
      prefix,
      region,
      origin: base.origin,
      host: base.host,
      basePath: `${directory}${bucket}/`,
    };
  }
  const host = `${bucket}.${base.host}`;
  return { bucket, prefix, region, origin: `${base.protocol}//${host}`, host, basePath: directory };
}

function bucketAndPrefix(url: URL): { bucket: string; prefix: string } {
  const bucket = url.hostname;
  if (url.username !== '' || url.password !== '') {
    throw new Error(
      'credentials do not belong in the store URL: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY',
    );
  }
  if (!/^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$/i.test(bucket) || url.port !== '') {
    throw new Error(`'${url.host}' is not a bucket name: write s3://bucket/prefix`);
  }
  const prefix = decodeURIComponent(url.pathname).replace(/^\/+|\/+$/g, '');
  if (prefix.split('/').some((segment) => segment === '.' || segment === '..')) {
    throw new Error(`the prefix of ${url.href} must not have '.' or '..' in it`);
  }
  return { bucket, prefix: prefix === '' ? '' : `${prefix}/` };
}

function queryOf(url: URL): { endpoint?: string; region?: string; addressing?: Addressing } {
  const query: { endpoint?: string; region?: string; addressing?: Addressing } = {};
  for (const [name, value] of url.searchParams) {
    if (name === 'endpoint') query.endpoint = value;
    else if (name === 'region') query.region = value;
    else if (name === 'addressing' && (value === 'path' || value === 'virtual')) query.addressing = value;
    else
      throw new Error(
        `'${name}' in the store URL is not one of endpoint=URL, region=NAME, addressing=path|virtual`,
      );
  }
  return query;
}

async function regionOf(environment: Environment): Promise<string> {
  const named = environment['AWS_REGION'] || environment['AWS_DEFAULT_REGION'];
  return named || (await readProfile(environment)).get('region') || REGION_DEFAULT;
}
