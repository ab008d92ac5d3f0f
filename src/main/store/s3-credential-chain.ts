import type { Readable } from 'node:stream';
import type { fromNodeProviderChain } from '@aws-sdk/credential-providers';
import type { Dispatcher } from 'undici';
import { errorCode, errorMessage } from '../../shared/base/errors.ts';
import { withDeadline } from './deadline.ts';
import { StoreError, type StoreErrorKind } from './errors.ts';
import type { CredentialOptions, Credentials } from './s3-credentials.ts';
import { dispatcherForAll } from './s3-dispatcher.ts';
import { profileName, sharedFiles } from './s3-profile.ts';
import type { FetchedCredentials } from './s3-renewing-credentials.ts';

/** A role to take on with the credentials that are there. */
export interface Role {
  readonly arn: string;
  readonly externalId: string | undefined;
}

type ChainOptions = NonNullable<Parameters<typeof fromNodeProviderChain>[0]>;
type ClientConfig = NonNullable<ChainOptions['clientConfig']>;
type Fetch = () => Promise<Credentials & { readonly expiration?: Date }>;

const FETCH_TIMEOUT_MS = 30_000;
const REQUEST_TIMEOUT_MS = 5_000;
const SESSION_NAME = 'netsy';
const CONTAINER_VARIABLES = ['AWS_CONTAINER_CREDENTIALS_RELATIVE_URI', 'AWS_CONTAINER_CREDENTIALS_FULL_URI'];

/**
 * How to get credentials the way AWS's own programs do (environment, profile, web identity, container, instance),
 * each time anew, and from them those of a role. AWS's packages do it; they are loaded at the first call, because most
 * starts don't need them. Of web identity, container and instance they ask the process's own environment.
 */
export function credentialChain(
  options: CredentialOptions,
  fixed: Credentials | undefined,
): () => Promise<FetchedCredentials> {
  let chain: Promise<Fetch> | undefined;
  return async () => {
    try {
      chain ??= loadChain(options, fixed);
      const fetch = await chain;
      const { expiration, ...found } = await withDeadline(options.clock, FETCH_TIMEOUT_MS, undefined, fetch);
      return { credentials: onlyKeys(found), expiresMs: expiration?.getTime() };
    } catch (error) {
      throw chainError(error, options);
    }
  };
}

function onlyKeys({ accessKeyId, secretAccessKey, sessionToken }: Credentials): Credentials {
  return sessionToken === undefined
    ? { accessKeyId, secretAccessKey }
    : { accessKeyId, secretAccessKey, sessionToken };
}

async function loadChain(options: CredentialOptions, fixed: Credentials | undefined): Promise<Fetch> {
  // It would be told on standard error, between the lines of the log, to people who can do nothing about it.
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';
  const { fromNodeProviderChain, fromTemporaryCredentials } = await import('@aws-sdk/credential-providers');
  const { environment, trust, role } = options;
  const dispatchers = dispatcherForAll({
    environment,
    timeoutMs: REQUEST_TIMEOUT_MS,
    connections: 2,
    trust,
  });
  const region = environment['AWS_REGION'] || environment['AWS_DEFAULT_REGION'] || options.region;
  const clientConfig: ClientConfig = { region, requestHandler: requestHandler(dispatchers) };
  const files = sharedFiles(environment);
  const chainOptions: ChainOptions = {
    profile: profileName(environment),
    configFilepath: files.config,
    filepath: files.credentials,
    clientConfig,
    parentClientConfig: clientConfig,
    ignoreCache: true,
    maxRetries: 2,
    timeout: 1_000,
  };
  // A chain of its own for each call: one chain has its calls wait for one another, also for a source that hangs.
  const chain: Fetch = () => fromNodeProviderChain(chainOptions)({ forceRefresh: true });
  const find: Fetch = fixed === undefined ? chain : async () => fixed;
  if (role === undefined) return find;
  return () =>
    fromTemporaryCredentials({
      masterCredentials: find,
      clientConfig,
      params: { RoleArn: role.arn, RoleSessionName: SESSION_NAME, ...externalId(role) },
    })();
}

function externalId({ externalId: id }: Role): { ExternalId?: string } {
  return id === undefined ? {} : { ExternalId: id };
}

/** A request as AWS's packages hand it over. */
interface TokenRequest {
  readonly protocol: string;
  readonly hostname: string;
  readonly port?: number;
  readonly path: string;
  readonly method: string;
  readonly headers: Record<string, string>;
  readonly query?: Readonly<Record<string, string | string[] | null>>;
  readonly body?: string | Uint8Array | Readable;
}

/** Sends the token service's requests the way the store's go: with the same authorities and proxy. */
function requestHandler(dispatchers: (origin: string) => Dispatcher): ClientConfig['requestHandler'] {
  return {
    metadata: { handlerProtocol: 'http/1.1' },
    handle: async (request: TokenRequest, options?: { readonly abortSignal?: AbortSignal }) => {
      const { protocol, hostname, port } = request;
      const origin = `${protocol}//${hostname}${port === undefined ? '' : `:${port}`}`;
      const response = await dispatchers(origin).request({
        origin,
        path: request.path + queryOf(request),
        method: request.method as Dispatcher.HttpMethod,
        headers: request.headers,
        body: request.body ?? null,
        signal: options?.abortSignal ?? null,
      });
      const headers = Object.entries(response.headers).map(([name, value]) => [name, String(value)]);
      return {
        response: {
          statusCode: response.statusCode,
          headers: Object.fromEntries(headers) as Record<string, string>,
          body: response.body,
        },
      };
    },
    updateHttpClientConfig: () => undefined,
    httpHandlerConfigs: () => ({}),
  };
}

function queryOf({ query }: TokenRequest): string {
  const pairs = Object.entries(query ?? {}).flatMap(([name, value]) =>
    [value ?? ''].flat().map((one) => `${encodeURIComponent(name)}=${encodeURIComponent(one)}`),
  );
  return pairs.length === 0 ? '' : `?${pairs.join('&')}`;
}

function chainError(error: unknown, { environment, role }: CredentialOptions): StoreError {
  const why = errorMessage(error).replace(/\s+/g, ' ').trim();
  const details = { cause: error, code: errorCode(error) };
  if (error instanceof StoreError && error.code === 'ETIMEDOUT') {
    const message = `no S3 credentials: their source did not answer within ${FETCH_TIMEOUT_MS} ms`;
    return new StoreError('transient', message, details);
  }
  const container = CONTAINER_VARIABLES.find((name) => environment[name] !== undefined);
  // The chain goes on to the next source, of which there is none, and tells of that.
  if (container !== undefined && role === undefined && statusOf(error) === undefined) {
    const message = `no S3 credentials: the container's endpoint, of ${container}, gives none: ${why}`;
    return new StoreError('transient', message, details);
  }
  const kind = kindOf(error, why);
  const of = role === undefined ? '' : ` of role ${role.arn}`;
  const advice =
    kind === 'transient'
      ? ''
      : `; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or mend profile '${profileName(environment)}' of the shared files, the web identity, or the role of the container or instance`;
  return new StoreError(kind, `no S3 credentials${of}: ${why}${advice}`, details);
}

/** What the network did may pass; what the token service said, or that nothing is set up, does not. */
function kindOf(error: unknown, why: string): StoreErrorKind {
  const status = statusOf(error);
  if (status !== undefined) return status >= 500 || status === 429 ? 'transient' : 'denied';
  if (errorCode(error) !== undefined && errorCode(error) !== 'ENOENT') return 'transient';
  return /ECONN|EAI_AGAIN|ENOTFOUND|ENETUNREACH|EHOSTUNREACH|time(d )?-?out|socket hang up/i.test(why)
    ? 'transient'
    : 'denied';
}

function statusOf(error: unknown): number | undefined {
  if (typeof error !== 'object' || error === null || !('$metadata' in error)) return undefined;
  const { $metadata } = error as { readonly $metadata?: { readonly httpStatusCode?: number } };
  return $metadata?.httpStatusCode;
}
