import { readFile } from 'node:fs/promises';
import { createSecureContext, rootCertificates, type SecureContext } from 'node:tls';
import { Agent, type Dispatcher, EnvHttpProxyAgent, Pool } from 'undici';
import { certificatesTrouble } from '../../shared/base/certificates.ts';
import { errorMessage } from '../../shared/base/errors.ts';
import type { Environment } from './s3-credentials.ts';

export interface DispatcherOptions {
  /** For a connection, for the beginning of an answer, and between two pieces of it. */
  readonly timeoutMs: number;
  readonly connections: number;
  readonly environment: Environment;
  /** Authorities, beside those that Node brings. */
  readonly trust?: SecureContext | undefined;
}

/**
 * Reads authorities (PEM) that are to be trusted beside those that Node brings. Made once: reading them for each
 * connection would take longer than the handshake. Rejects with an Error of one line.
 */
export async function readTrust(caFile: string): Promise<SecureContext> {
  let pem: string;
  try {
    pem = await readFile(caFile, 'utf8');
  } catch (error) {
    throw new Error(`--s3-ca-file: ${caFile} is not a file that can be read: ${errorMessage(error)}`);
  }
  const trouble = certificatesTrouble(pem);
  if (trouble !== undefined) throw new Error(`--s3-ca-file: ${caFile} ${trouble}`);
  return createSecureContext({ ca: [...rootCertificates, pem] });
}

/**
 * Kept-alive connections to `origin`, one request on each at a time; through the proxy that HTTPS_PROXY or HTTP_PROXY
 * names, unless NO_PROXY names the origin's host.
 */
export function dispatcherFor(origin: string, options: DispatcherOptions): Dispatcher {
  const proxied = proxyDispatcher(options);
  return proxied ?? new Pool(origin, connectionOptions(options));
}

/** The same for any origin. */
export function dispatcherForAll(options: DispatcherOptions): Dispatcher {
  return proxyDispatcher(options) ?? new Agent(connectionOptions(options));
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

/** As Go does: no proxy leads back to this machine. */
const LOOPBACK = ['localhost', '127.0.0.1', '[::1]'];

function proxyDispatcher(options: DispatcherOptions): Dispatcher | undefined {
  const { environment, trust, timeoutMs } = options;
  const read = (name: string): string => environment[name.toLowerCase()] || environment[name] || '';
  const httpProxy = proxyUrl(read('HTTP_PROXY'), 'HTTP_PROXY');
  const httpsProxy = proxyUrl(read('HTTPS_PROXY'), 'HTTPS_PROXY');
  const noProxy = read('NO_PROXY').split(/[,\s]+/);
  if ((httpProxy === '' && httpsProxy === '') || noProxy.includes('*')) return undefined;
  const tls = { timeout: timeoutMs, ...(trust === undefined ? {} : { secureContext: trust }) };
  return new EnvHttpProxyAgent({
    ...connectionOptions(options),
    httpProxy,
    httpsProxy,
    noProxy: [...noProxy, ...LOOPBACK].join(),
    requestTls: tls,
    proxyTls: tls,
  });
}

/** curl takes `proxy:3128`, so it is in many environments. */
function proxyUrl(text: string, name: string): string {
  if (text === '') return '';
  const url = /^[a-z0-9+.-]+:\/\//i.test(text) ? text : `http://${text}`;
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    throw new Error(`${name} is not the URL of a proxy: write http://host:port`);
  }
  return url;
}
