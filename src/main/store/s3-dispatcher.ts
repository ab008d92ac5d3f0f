import { readFile } from 'node:fs/promises';
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls';
import { type Dispatcher, Pool, ProxyAgent } from 'undici';
import { certificatesTrouble } from '../../shared/base/certificates.ts';
import { errorMessage } from '../../shared/base/errors.ts';
import type { Environment } from './s3-credentials.ts';
import { profileName, readableProfile } from './s3-profile.ts';
import { Proxies } from './s3-proxy.ts';

export interface DispatcherOptions {
  /** For a connection, for the beginning of an answer, and between two pieces of it. */
  readonly timeoutMs: number;
  readonly connections: number;
  readonly environment: Environment;
  /** Authorities, beside those that Node brings. */
  readonly trust?: SecureContext | undefined;
}

/**
 * Authorities (PEM) that are to be trusted beside those that Node brings: of `caFile` (--s3-ca-file), AWS_CA_BUNDLE or
 * the profile's `ca_bundle`; undefined when none is named. Made once: reading them for each connection would take
 * longer than the handshake. Rejects with an Error of one line.
 */
export async function readTrust(
  caFile: string | undefined,
  environment: Environment,
): Promise<SecureContext | undefined> {
  const [label, file] = await trustFile(caFile, environment);
  if (!file) return undefined;
  let pem: string;
  try {
    pem = await readFile(file, 'utf8');
  } catch (error) {
    throw new Error(`${label}: ${file} is not a file that can be read: ${errorMessage(error)}`);
  }
  const trouble = certificatesTrouble(pem);
  if (trouble !== undefined) throw new Error(`${label}: ${file} ${trouble}`);
  return createSecureContext({ ca: [...rootCertificates, pem] });
}

async function trustFile(
  caFile: string | undefined,
  environment: Environment,
): Promise<readonly [label: string, file: string | undefined]> {
  if (caFile !== undefined) return ['--s3-ca-file', caFile];
  const bundle = environment['AWS_CA_BUNDLE'];
  if (bundle) return ['AWS_CA_BUNDLE', bundle];
  const profile = await readableProfile(environment);
  return [`ca_bundle of profile '${profileName(environment)}'`, profile.get('ca_bundle')];
}

/**
 * Kept-alive connections to `origin`, one request on each at a time; through the proxy that HTTPS_PROXY or HTTP_PROXY
 * names, unless NO_PROXY names the origin's host. Throws an Error of one line when a proxy is named that is none.
 */
export function dispatcherFor(origin: string, options: DispatcherOptions): Dispatcher {
  const proxy = new Proxies(options.environment).to(origin);
  return proxy === undefined ? new Pool(origin, connectionOptions(options)) : proxyAgent(proxy, options);
}

/** The same for any origin: one for each, made when it is first asked for. */
export function dispatcherForAll(options: DispatcherOptions): (origin: string) => Dispatcher {
  const dispatchers = new Map<string, Dispatcher>();
  return (origin) => {
    const dispatcher = dispatchers.get(origin) ?? dispatcherFor(origin, options);
    dispatchers.set(origin, dispatcher);
    return dispatcher;
  };
}

function connectionOptions({ timeoutMs, connections, trust }: DispatcherOptions): Pool.Options {
  return {
    connections,
    pipelining: 1,
    connectTimeout: timeoutMs,
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    ...(trust === undefined ? {} : { connect: { secureContext: trust, timeout: timeoutMs } }),
  };
}

function proxyAgent(uri: string, options: DispatcherOptions): ProxyAgent {
  const { trust, timeoutMs } = options;
  const tls = { timeout: timeoutMs, ...(trust === undefined ? {} : { secureContext: trust }) };
  return new ProxyAgent({ ...connectionOptions(options), uri, requestTls: tls, proxyTls: tls });
}
