import type { Environment } from './s3-credentials.ts';
import { profileName, readableProfile, readProfile } from './s3-profile.ts';

/** Domains of AWS's partitions whose regions begin so; the others, GovCloud's too, are in amazonaws.com. */
const DOMAINS: Readonly<Record<string, string>> = {
  'cn-': 'amazonaws.com.cn',
  'eusc-': 'amazonaws.eu',
  'us-iso-': 'c2s.ic.gov',
  'us-isob-': 'sc2s.sgov.gov',
  'us-isof-': 'csp.hci.ic.gov',
  'eu-isoe-': 'cloud.adc-e.uk',
};

/**
 * The endpoint that is named, in the order of `named` and then as AWS's own programs look for it; undefined when
 * there is none. Throws an Error of one line when it is no URL, or FIPS is asked for and it does not say that it is.
 * https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
 */
export async function namedEndpoint(
  named: readonly (string | undefined)[],
  environment: Environment,
): Promise<URL | undefined> {
  const text = named.find((one) => one) || (await configuredEndpoint(environment));
  if (!text) return undefined;
  const endpoint = parseEndpoint(text);
  const fips = variantAsked('FIPS', environment, await readableProfile(environment));
  // As in AWS's own programs: what asks for it must not be led elsewhere without a word.
  if (fips !== undefined && !/fips/i.test(endpoint.hostname)) {
    throw new Error(
      `${fips} asks for a FIPS endpoint, and the S3 endpoint '${text}' is another: drop one of the two`,
    );
  }
  return endpoint;
}

/**
 * AWS's own endpoint of a region, FIPS and dual-stack where the environment or the profile asks for it. Throws an Error
 * of one line where there is no such endpoint.
 * https://docs.aws.amazon.com/sdkref/latest/guide/feature-endpoints.html
 */
export async function awsEndpoint(region: string, environment: Environment): Promise<URL> {
  if (!/^[a-z0-9-]+$/.test(region))
    throw new Error(`'${region}' is not a region: write eu-central-1 or alike`);
  const profile = await readProfile(environment);
  const fips = variantAsked('FIPS', environment, profile);
  const dualStack = variantAsked('DUALSTACK', environment, profile);
  if (fips !== undefined && region.startsWith('cn-')) {
    throw new Error(`${fips} asks for a FIPS endpoint, and S3 has none in region ${region}`);
  }
  const service = fips === undefined ? 's3' : 's3-fips';
  const stack = dualStack === undefined ? '' : '.dualstack';
  const begin = Object.keys(DOMAINS).find((prefix) => region.startsWith(prefix)) ?? '';
  return new URL(`https://${service}${stack}.${region}.${DOMAINS[begin] ?? 'amazonaws.com'}`);
}

async function configuredEndpoint(environment: Environment): Promise<string | undefined> {
  const ignored = environment['AWS_IGNORE_CONFIGURED_ENDPOINT_URLS'];
  if (isTrue(ignored)) return undefined;
  const named = environment['AWS_ENDPOINT_URL_S3'] || environment['AWS_ENDPOINT_URL'];
  const profile = await (named ? readableProfile(environment) : readProfile(environment));
  if (!ignored && isTrue(profile.get('ignore_configured_endpoint_urls'))) return undefined;
  return named || profile.get('s3 endpoint_url') || profile.get('endpoint_url');
}

/** What asks for this variant of endpoints, for people. */
function variantAsked(
  variant: 'FIPS' | 'DUALSTACK',
  environment: Environment,
  profile: ReadonlyMap<string, string>,
): string | undefined {
  const variable = `AWS_USE_${variant}_ENDPOINT`;
  const key = `use_${variant.toLowerCase()}_endpoint`;
  const label = environment[variable] ? variable : `${key} of profile '${profileName(environment)}'`;
  const value = environment[variable] || profile.get(key) || 'false';
  if (!/^(true|false)$/i.test(value)) throw new Error(`${label} is '${value}': write true or false`);
  return isTrue(value) ? label : undefined;
}

function isTrue(value: string | undefined): boolean {
  return value?.toLowerCase() === 'true';
}

function parseEndpoint(endpoint: string): URL {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new Error(`the S3 endpoint '${endpoint}' is not a URL: write http://host:port or https://host`);
  }
  if (url.username !== '' || url.password !== '' || url.search !== '') {
    throw new Error('the S3 endpoint must be scheme, host and port only');
  }
  return url;
}
