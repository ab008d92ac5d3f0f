import { isIP } from 'node:net';

/**
 * Readers of one flag's text. Each returns the value, or throws `ValueError` whose message completes
 * "--flag: …" and says what to write instead.
 */
export class ValueError extends Error {
  override name = 'ValueError';
}

/** Timers can't wait longer than 2^31 - 1 ms; longer durations are refused rather than fired at once. */
export const DURATION_MS_MAX = 2 ** 31 - 1;

const DURATION_UNIT_MS: Record<string, number> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};
const DURATION_FORM = /^(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+$/;
const DURATION_PART = /(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g;

const SIZE_UNIT_BYTES: Record<string, number> = { '': 1, B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };
const SIZE_FORM = /^(\d+(?:\.\d+)?)(B|KiB|MiB|GiB)?$/;

const URL_FORM = /^(https?):\/\/(\[[0-9a-fA-F:.]+\]|[^\s:/?#@[\]]+):(\d{1,5})\/?$/;
const PORT_MAX = 65_535;

/** A duration in Go's form (`1m30s`, `100ms`, `0`), in milliseconds, between `minMs` and `maxMs`. */
export function duration(minMs: number, maxMs: number): (text: string) => number {
  return (text) => {
    const milliseconds = text === '0' ? 0 : sumOfParts(text);
    if (milliseconds < minMs) throw new ValueError(`"${text}" is too short; use ${minMs}ms or more`);
    if (milliseconds > maxMs) throw new ValueError(`"${text}" is too long; use ${maxMs}ms or less`);
    return milliseconds;
  };
}

function sumOfParts(text: string): number {
  if (!DURATION_FORM.test(text)) {
    throw new ValueError(`"${text}" is not a duration; use e.g. 2ms, 1s or 1m30s`);
  }
  let milliseconds = 0;
  for (const [, count, unit] of text.matchAll(DURATION_PART)) {
    milliseconds += Number(count) * (DURATION_UNIT_MS[unit ?? ''] ?? 0);
  }
  return milliseconds;
}

/** A size in bytes: plain digits, or with B, KiB, MiB or GiB; a whole number from `minBytes` to `maxBytes`. */
export function size(minBytes: number, maxBytes = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const [, count, unit] = SIZE_FORM.exec(text) ?? [];
    if (count === undefined) {
      throw new ValueError(`"${text}" is not a size; use e.g. 1048576, 512KiB or 4MiB`);
    }
    const bytes = Number(count) * (SIZE_UNIT_BYTES[unit ?? ''] ?? 1);
    if (!Number.isInteger(bytes)) throw new ValueError(`"${text}" is not a whole number of bytes`);
    return within(bytes, minBytes, maxBytes, text);
  };
}

/** A whole number from `min` on, such as a revision. */
export function wholeNumber(min: number): (text: string) => number {
  return integer(min, Number.MAX_SAFE_INTEGER);
}

/** A whole number from `min` to `max`. */
export function integer(min: number, max: number): (text: string) => number {
  return (text) => {
    if (!/^\d+$/.test(text)) throw new ValueError(`"${text}" is not a whole number; use ${min} to ${max}`);
    return within(Number(text), min, max, text);
  };
}

function within(value: number, min: number, max: number, text: string): number {
  if (value < min || value > max) throw new ValueError(`"${text}" is out of range; use ${min} to ${max}`);
  return value;
}

/** One of the given words. */
export function choice<T extends string>(...words: readonly T[]): (text: string) => T {
  return (text) => {
    const found = words.find((word) => word === text);
    if (found === undefined) throw new ValueError(`"${text}" is not known; use ${words.join(', ')}`);
    return found;
  };
}

/** `true` or `false`. */
export function boolean(text: string): boolean {
  return choice('true', 'false')(text) === 'true';
}

/** Any text. */
export function anyText(text: string): string {
  return text;
}

const WHOLE_NUMBER = /^\d+$/;

/** How much history is kept: etcd lets the mode decide what a number without a unit means. */
export type CompactionRetention = { readonly count: number } | { readonly periodMs: number };

/** A whole number or a duration. */
export function compactionRetention(text: string): CompactionRetention {
  if (WHOLE_NUMBER.test(text)) return { count: integer(0, Number.MAX_SAFE_INTEGER)(text) };
  return { periodMs: duration(1, Number.MAX_SAFE_INTEGER)(text) };
}

/** A size, or a negative number, which etcd takes for no limit as we take 0. */
export function quota(text: string): number {
  return /^-\d+$/.test(text) ? 0 : size(0)(text);
}

/** `forever` (undefined), or a duration in milliseconds. */
export function retention(text: string): { readonly ms: number | undefined } {
  if (text === 'forever') return { ms: undefined };
  if (text !== '0' && !DURATION_FORM.test(text)) {
    throw new ValueError(`"${text}" is not known; use forever, or a duration such as 168h`);
  }
  return { ms: duration(0, Number.MAX_SAFE_INTEGER)(text) };
}

/** How long to wait before an upload gets a second PUT. */
export type HedgeAfter =
  | { readonly kind: 'auto' | 'p95' | 'off' }
  | { readonly kind: 'fixed'; readonly delayMs: number };

/** `auto`, `p95`, `off`, or a duration. */
export function hedgeAfter(text: string): HedgeAfter {
  if (text === 'auto' || text === 'p95' || text === 'off') return { kind: text };
  if (!DURATION_FORM.test(text)) {
    throw new ValueError(`"${text}" is not known; use auto, p95, off, or a duration such as 80ms`);
  }
  return { kind: 'fixed', delayMs: duration(1, DURATION_MS_MAX)(text) };
}

/** Which writes are slow: slower than 99 % of the recent ones, or than a time; `off`: nothing is said of them. */
export type SlowWrites =
  | { readonly kind: 'p99' | 'off' }
  | { readonly kind: 'fixed'; readonly slowerThanMs: number };

/** `p99`, `off`, or a duration. */
export function slowWrites(text: string): SlowWrites {
  if (text === 'p99' || text === 'off') return { kind: text };
  if (!DURATION_FORM.test(text)) {
    throw new ValueError(`"${text}" is not known; use p99, off, or a duration such as 200ms`);
  }
  return { kind: 'fixed', slowerThanMs: duration(0, DURATION_MS_MAX)(text) };
}

/** `off` (undefined), or so many a second: `10/s`, `10`, `2.5/s`. */
export function perSecond(
  min: number,
  max: number,
): (text: string) => { readonly perSecond: number } | undefined {
  return (text) => {
    if (text === 'off') return undefined;
    const [, count] = /^(\d+(?:\.\d+)?)(?:\/s)?$/.exec(text) ?? [];
    if (count === undefined)
      throw new ValueError(`"${text}" is not a rate; use off, or so many per second such as 10/s`);
    return { perSecond: within(Number(count), min, max, text) };
  };
}

/**
 * etcd's comma-separated URLs, each `http(s)://host:port` with its port written out; duplicates are dropped.
 * Where a socket is bound the host must be an IP address or `localhost`, as in etcd.
 */
export function urls(use: 'listen' | 'advertise'): (text: string) => readonly string[] {
  return (text) => {
    const parts = text.split(',').map((part) => part.trim());
    for (const part of parts) checkUrl(part, use);
    return [...new Set(parts.map((part) => part.replace(/\/$/, '')))];
  };
}

function checkUrl(text: string, use: 'listen' | 'advertise'): void {
  const [, , host, port] = URL_FORM.exec(text) ?? [];
  if (host === undefined || port === undefined) {
    throw new ValueError(`"${text}" is not a URL of the form http://HOST:PORT or https://HOST:PORT`);
  }
  const portMin = use === 'listen' ? 0 : 1;
  if (Number(port) < portMin || Number(port) > PORT_MAX) {
    throw new ValueError(`"${text}" has no valid port; use ${portMin} to ${PORT_MAX}`);
  }
  const bare = host.startsWith('[') ? host.slice(1, -1) : host;
  const mustBeAddress = use === 'listen' || host.startsWith('[') || /^[\d.]+$/.test(host);
  if (mustBeAddress && isIP(bare) === 0 && host !== 'localhost') {
    throw new ValueError(`"${text}" must name an IP address or localhost, not "${host}"`);
  }
}

/** The store's place: `file:///DIR` or `s3://BUCKET/PREFIX`, to which `?endpoint=…` and so on may say where that is. */
export function storeUrl(text: string): string {
  if (/^file:\/\/\/[^/?#]/.test(text)) return text;
  if (text.startsWith('file:')) {
    throw new ValueError(
      `"${text}" needs three slashes and an absolute directory, as in file:///var/lib/netsy`,
    );
  }
  if (!/^s3:\/\//.test(text))
    throw new ValueError(`"${text}" is not a store; use file:///DIR or s3://BUCKET/PREFIX`);
  if (!/^s3:\/\/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:\/[^?#]*)?(?:\?|$)/.test(text)) {
    throw new ValueError(`"${text}" has no valid bucket name; use s3://BUCKET/PREFIX`);
  }
  if (!/^[^?#]*(?:\?(?:(?:endpoint|region|addressing)=[^&#]+&?)+)?$/.test(text)) {
    throw new ValueError(
      `"${text}" may say ?endpoint=URL&region=NAME&addressing=path|virtual and nothing else`,
    );
  }
  return text;
}

/** An endpoint: `http(s)://HOST[:PORT]`, without path. */
export function endpointUrl(text: string): string {
  if (!URL.canParse(text) || !/^https?:\/\/[^/?#@]+\/?$/.test(text)) {
    throw new ValueError(
      `"${text}" is not an endpoint; use e.g. https://s3.example.com or http://127.0.0.1:9000`,
    );
  }
  return text.replace(/\/$/, '');
}

const TIMESTAMP = /^(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)$/;

/** A time in the form of RFC 3339, in milliseconds since the Unix epoch; what is finer is cut off. */
export function timestamp(text: string): number {
  const [, date, time, fraction = '', zone] = TIMESTAMP.exec(text) ?? [];
  const day = Date.parse(`${date}T00:00:00Z`);
  // Date.parse takes the 30th of February for one in March.
  const isDay = !Number.isNaN(day) && new Date(day).toISOString().startsWith(date ?? '?');
  const milliseconds = isDay
    ? Date.parse(`${date}T${time}${fraction.slice(0, 4)}${zone?.toUpperCase()}`)
    : Number.NaN;
  if (Number.isNaN(milliseconds)) {
    throw new ValueError(
      `"${text}" is not a time; write it as 2026-03-01T12:00:00Z or 2026-03-01T13:00:00+01:00`,
    );
  }
  return milliseconds;
}
