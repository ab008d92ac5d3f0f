import { BlockList, isIP } from 'node:net';
import type { Environment } from './s3-credentials.ts';

/** As Go does: no proxy leads back to this machine. */
const LOOPBACK = ['localhost', '127.0.0.0/8', '::1'];

/**
 * The proxies that an environment names, HTTPS_PROXY and HTTP_PROXY (or in small letters), each in the other's place
 * too where that is for http alone; and what NO_PROXY keeps from them. Throws an Error of one line.
 */
export class Proxies {
  readonly #http: string;
  readonly #https: string;
  readonly #past: readonly Exception[];

  constructor(environment: Environment) {
    const read = (name: string): string => environment[name.toLowerCase()] || environment[name] || '';
    this.#http = proxyUrl(read('HTTP_PROXY'), 'HTTP_PROXY');
    this.#https = proxyUrl(read('HTTPS_PROXY'), 'HTTPS_PROXY') || this.#http;
    const past = read('NO_PROXY').split(/[,\s]+/);
    this.#past = [...past, ...LOOPBACK].filter((entry) => entry !== '').map(exceptionOf);
  }

  /** The URL of the proxy that leads to `origin`; undefined: nothing is in between. */
  to(origin: string): string | undefined {
    const url = new URL(origin);
    const proxy = url.protocol === 'https:' ? this.#https : this.#http;
    const host = url.hostname.replace(/^\[|\]$/g, '');
    const port = Number(url.port) || (url.protocol === 'https:' ? 443 : 80);
    return proxy === '' || this.#past.some((exception) => exception(host, port)) ? undefined : proxy;
  }
}

/** Whether a host and port are reached without a proxy. */
type Exception = (host: string, port: number) => boolean;

/**
 * Of one entry of NO_PROXY: a host name, which means its subdomains too and may begin with '.' or '*.', an address, or a
 * range of addresses (CIDR); each may have a port, except a range. '*' is everything; what is none of these is nothing.
 */
function exceptionOf(entry: string): Exception {
  if (entry === '*') return () => true;
  const [network = '', bits] = entry.split('/');
  if (bits !== undefined) return addressesOf(network, Number(bits));
  const [, named, portText] = isIP(entry) === 0 ? (/^(.*?)(?::(\d+))?$/.exec(entry) ?? []) : [];
  const name = (named ?? entry)
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/^\*?\./, '')
    .toLowerCase();
  const isNamed = isIP(name) === 0 ? nameOf(name) : addressesOf(name, isIP(name) === 6 ? 128 : 32);
  return (host, port) => (portText === undefined || Number(portText) === port) && isNamed(host, port);
}

function nameOf(name: string): Exception {
  return (host) => host === name || (isIP(host) === 0 && host.endsWith(`.${name}`));
}

function addressesOf(network: string, bits: number): Exception {
  const family = isIP(network);
  if (family === 0 || !Number.isInteger(bits) || bits > (family === 6 ? 128 : 32)) return () => false;
  const addresses = new BlockList();
  addresses.addSubnet(network, bits, family === 6 ? 'ipv6' : 'ipv4');
  return (host) => isIP(host) === family && addresses.check(host, family === 6 ? 'ipv6' : 'ipv4');
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
