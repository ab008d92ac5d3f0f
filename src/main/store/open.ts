import { realpath } from 'node:fs/promises';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openFileStore, openFileStoreToRead } from './file.ts';
import { openS3Store } from './s3.ts';
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
  return parsed.protocol === 'file:'
    ? openFileStore(directoryOf(parsed), options)
    : openS3Store(parsed, options);
}

/**
 * As `openStore`, to look at what is there: nothing is created, changed or deleted, not even the directory. Rejects
 * when that does not exist.
 */
export async function openStoreToRead(url: string, options: OpenStoreOptions): Promise<ReadableStore> {
  const parsed = parse(url);
  return parsed.protocol === 'file:'
    ? openFileStoreToRead(directoryOf(parsed), options)
    : openS3Store(parsed, options);
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
