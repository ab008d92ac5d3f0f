import { isIP } from 'node:net';
import { getCiphers } from 'node:tls';
import { ValueError } from './values.ts';

/** Readers of the TLS flags' text, as those in `values.ts`. */

/** Go's names of how keys are exchanged and of ciphers, and OpenSSL's parts of a suite's name for them. */
const KEY_EXCHANGES = { ECDHE_ECDSA: 'ECDHE-ECDSA-', ECDHE_RSA: 'ECDHE-RSA-', RSA: '' };
const CIPHERS = {
  AES_128_GCM_SHA256: 'AES128-GCM-SHA256',
  AES_256_GCM_SHA384: 'AES256-GCM-SHA384',
  CHACHA20_POLY1305_SHA256: 'CHACHA20-POLY1305',
  CHACHA20_POLY1305: 'CHACHA20-POLY1305',
  AES_128_CBC_SHA256: 'AES128-SHA256',
  AES_128_CBC_SHA: 'AES128-SHA',
  AES_256_CBC_SHA: 'AES256-SHA',
};
/** Always offered where TLS 1.3 is, in OpenSSL's order; as in Go, nobody chooses among them. */
const TLS13_SUITES = ['TLS_AES_256_GCM_SHA384', 'TLS_CHACHA20_POLY1305_SHA256', 'TLS_AES_128_GCM_SHA256'];

/** OpenSSL's name of each suite of TLS 1.2 that Go has and that is not broken, by Go's (and IANA's) name. */
const TLS12_SUITES = new Map<string, string>(
  Object.entries(KEY_EXCHANGES).flatMap(([exchange, prefix]) =>
    Object.entries(CIPHERS)
      .map(([cipher, name]) => [`TLS_${exchange}_WITH_${cipher}`, prefix + name] as const)
      .filter(([, name]) => getCiphers().includes(name.toLowerCase())),
  ),
);

/** What node's `ciphers` option takes for Go's names of cipher suites, in their order. */
export function cipherSuites(text: string): string {
  const chosen = names(text).filter((name) => !TLS13_SUITES.includes(name));
  for (const name of chosen) {
    if (!TLS12_SUITES.has(name)) {
      throw new ValueError(`"${name}" is not known; use of ${[...TLS12_SUITES.keys()].join(', ')}`);
    }
  }
  if (chosen.length === 0) {
    throw new ValueError(
      `"${text}" has none for TLS 1.2; add one or use --tls-min-version TLS1.3 without this flag`,
    );
  }
  return [...TLS13_SUITES, ...chosen.map((name) => TLS12_SUITES.get(name) as string)].join(':');
}

/** Common names, which are compared as they are. */
export function commonNames(text: string): readonly string[] {
  return names(text);
}

/** Host names without a wildcard, and IP addresses. */
export function hostNames(text: string): readonly string[] {
  for (const name of names(text)) {
    if (isIP(name) === 0 && !/^[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_-]+)*$/i.test(name)) {
      throw new ValueError(`"${name}" is not a host name or IP address; write it without * or scheme`);
    }
  }
  return names(text);
}

function names(text: string): string[] {
  const parts = text.split(',').map((part) => part.trim());
  if (parts.includes('')) throw new ValueError(`"${text}" has an empty name; separate names by one comma`);
  return [...new Set(parts)];
}
