import { realpath } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Log } from '../../shared/base/log.ts';
import { openFileStore, openFileStoreToRead } from './file.ts';
import { withReferences, withReferencesToRead } from './references.ts';
import { type RetryOptions, retryingStore, retryTransient } from './retry.ts';
import { type S3Options, s3Target } from './s3-config.ts';
import type { ObjectStore, ReadableStore } from './store.ts';

/** What either kind of store needs; `file:` uses the clock and the random numbers only. */
export type OpenStoreOptions = S3Options;

/**
 * Opens the store that `url` names: `file:///directory` or `s3://bucket/prefix`. Rejects with an Error, or a
 * `StoreError` when the directory can't be used, whose one line says what to change.
 */
export async function openStore(url: string, options: OpenStoreOptions): Promise<ObjectStore> {
  const parsed = parse(url);
  return parsed.protocol === 'file:' ? openFileStore(directoryOf(parsed), options) : openS3(parsed, options);
}

/**
 * As `openStore`, to look at what is there: nothing is created, changed or deleted, not even the directory. Rejects
 * when that does not exist.
 */
export async function openStoreToRead(url: string, options: OpenStoreOptions): Promise<ReadableStore> {
  const parsed = parse(url);
  return parsed.protocol === 'file:'
    ? openFileStoreToRead(directoryOf(parsed), options)
    : openS3(parsed, options);
}

/** Its client is loaded when it is needed: that is a tenth of the processor time of a start. */
async function openS3(parsed: URL, options: OpenStoreOptions): Promise<ObjectStore> {
  const { openS3Store } = await import('./s3.ts');
  return openS3Store(parsed, options);
}

/** How long a store, and one that it refers to, is tried, in milliseconds. */
const REFERRED_RETRY_MS = 60_000;

/** `store`, opened, with the snapshots that it refers to. Rejects when it can't be read, also when tried again. */
export function openReferences(
  store: ObjectStore,
  options: OpenStoreOptions,
  log: Log,
): Promise<ObjectStore> {
  return retryTransient(retryOptions(options), undefined, () =>
    withReferences(store, (url) => openReferred(url, options), log),
  );
}

/** As `openReferences`, of a store that is only looked at. */
export function openReferencesToRead(
  store: ReadableStore,
  options: OpenStoreOptions,
): Promise<ReadableStore> {
  return withReferencesToRead(store, (url) => openReferred(url, options));
}

async function openReferred(url: string, options: OpenStoreOptions): Promise<ObjectStore> {
  return retryingStore(await openStore(url, options), retryOptions(options));
}

function retryOptions({ clock, random }: OpenStoreOptions): RetryOptions {
  return { clock, random, retryForMs: REFERRED_RETRY_MS };
}

/** Whether a store at `into` can refer to what is in the one at `url`. */
export function canRefer(url: string, into: string): boolean {
  return [url, into].every((one) => parse(one).protocol === 's3:');
}

/** `url`, saying itself where it is as far as the options do. */
export function selfContained(url: string, { endpoint, region, addressing }: OpenStoreOptions): string {
  const whole = parse(url);
  for (const [name, value] of Object.entries({ endpoint, region, addressing })) {
    if (value !== undefined && value !== '' && !whole.searchParams.has(name))
      whole.searchParams.set(name, value);
  }
  return whole.href;
}

function parse(url: string): URL {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed?.protocol === 'file:' || parsed?.protocol === 's3:') return parsed;
  throw new Error(`'${redact(url)}' is not a store: write file:///directory or s3://bucket/prefix`);
}

function directoryOf(url: URL): string {
  const hasHost = url.hostname !== '' && url.hostname !== 'localhost';
  if (hasHost || url.pathname === '/' || url.search !== '' || url.hash !== '') {
    throw new Error(`'${url.href}' is not a directory: write file:/// and its absolute path`);
  }
  const directory = fileURLToPath(url);
  return directory.length > 1 ? directory.replace(/\/+$/, '') : directory;
}

/** A mistyped URL may hold a password. */
function redact(url: string): string {
  return url.replace(/\/\/[^/@]*@/, '//');
}

/** Whether two URLs name the same store, however they are written. Rejects as `openStore` does. */
export async function isSameStore(one: string, other: string, options: OpenStoreOptions): Promise<boolean> {
  return (await placeOf(one, options)) === (await placeOf(other, options));
}

async function placeOf(text: string, options: OpenStoreOptions): Promise<string> {
  const url = new URL(text);
  if (url.protocol === 's3:') {
    const { origin, host, bucket, prefix } = await s3Target(url, options);
    return `${origin} ${host} ${bucket} ${prefix}`;
  }
  const directory = directoryOf(url);
  return realpath(directory).catch(() => resolve(directory));
}
