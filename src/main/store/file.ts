import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Clock } from '../../shared/base/clock.ts';
import { makeDirectory, syncDirectory } from '../../shared/base/directory.ts';
import type { Random } from '../../shared/base/random.ts';
import { StoreError } from './errors.ts';
import { readFully, writeDurably } from './file-bytes.ts';
import { isAbsent, isMissing, storeErrorOf } from './file-errors.ts';
import { listFiles } from './file-list.ts';
import { type FilePort, FileThread, startFileThread } from './file-thread.ts';
import { checkKey } from './keys.ts';
import type { ObjectInfo, ObjectStore, ReadableStore } from './store.ts';

/**
 * Objects as files of a directory. What makes a name in it as good as an answer of S3:
 *
 * 1. A name appears whole or not at all: bodies are written to `.tmp/` and made durable there before they are
 *    linked (create: link(2) fails when the name exists, atomically among all processes) or renamed (replace).
 * 2. A name is reported, as created or as existing, only after its directory was synced, and so is what is read
 *    under one that may be so young; at open every directory is synced, for names that a killed process left. So
 *    whatever was seen survives a power cut.
 * 3. After a directory failed to sync nothing is known of its names, so all later writes to it fail.
 *
 * Creates, and the syncs of directories, are done by a thread of their own, all that wait there together: see
 * `workers/file/creates.ts`, and docs/decisions/file-store.md for what was measured. What may take long (large files,
 * lists, deletes) is done elsewhere, so that no create waits for it.
 */

const TEMPORARY = '.tmp';
/** Another process may still be writing younger ones. */
const TEMPORARY_AGE_MS_MAX = 3_600_000;

export interface FileStoreOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** Instead of the thread that creates files and syncs directories, so that tests can see, hold and fail that. */
  readonly startThread?: () => FilePort;
}

/** Opens the store in `directory`, creating it (mode 0700) when it is missing. */
export async function openFileStore(directory: string, options: FileStoreOptions): Promise<ObjectStore> {
  const temporary = join(directory, TEMPORARY);
  try {
    makeDirectory(temporary);
    await syncTree(directory);
    await removeLeftovers(temporary, options.clock.wallMs() - TEMPORARY_AGE_MS_MAX);
  } catch (error) {
    throw storeErrorOf(error, `open the store directory ${directory}`);
  }
  return new FileStore(directory, options, true);
}

/** Opens the store in `directory`, which must be there, to read it. Nothing in it is changed. */
export async function openFileStoreToRead(
  directory: string,
  options: FileStoreOptions,
): Promise<ReadableStore> {
  try {
    await readdir(directory);
  } catch (error) {
    if (isMissing(error)) throw new StoreError('no-bucket', `there is no directory ${directory}`);
    throw storeErrorOf(error, `open the store directory ${directory}`);
  }
  return new FileStore(directory, options, false);
}

async function removeLeftovers(temporary: string, olderThanMs: number): Promise<void> {
  for (const name of await readdir(temporary)) {
    const path = join(temporary, name);
    const info = await stat(path).catch(undefinedIfAbsent);
    if (info !== undefined && info.mtimeMs < olderThanMs) await unlink(path).catch(undefinedIfAbsent);
  }
}

async function syncTree(directory: string): Promise<void> {
  await syncDirectory(directory);
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    if (entry.isDirectory()) await syncTree(join(directory, entry.name));
  }
}

function undefinedIfAbsent(error: unknown): undefined {
  if (!isAbsent(error)) throw error;
}

class FileStore implements ObjectStore {
  readonly url: string;
  readonly #directory: string;
  readonly #writer: string;
  readonly #isWriter: boolean;
  readonly #thread: FileThread;
  readonly #unlinks = new Set<Promise<void>>();
  #temporaries = 0;

  constructor(directory: string, options: FileStoreOptions, isWriter: boolean) {
    this.url = pathToFileURL(directory).href;
    this.#directory = directory;
    this.#writer = Buffer.from(options.random.bytes(8)).toString('hex');
    this.#isWriter = isWriter;
    this.#thread = new FileThread(options.startThread ?? startFileThread);
  }

  get(key: string, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    return this.#read(key, signal, (handle, size) => readFully(handle, 0, size));
  }

  getRange(
    key: string,
    offset: number,
    length: number,
    signal?: AbortSignal,
  ): Promise<Uint8Array | undefined> {
    return this.#read(key, signal, (handle, size) =>
      readFully(handle, offset, Math.max(0, Math.min(length, size - offset))),
    );
  }

  async putIfAbsent(key: string, body: Uint8Array, signal?: AbortSignal): Promise<'created' | 'exists'> {
    const path = this.#path(key);
    signal?.throwIfAborted();
    try {
      return await this.#inDirectory(key, () => this.#thread.create(this.#temporary(), path, body, signal));
    } catch (error) {
      signal?.throwIfAborted();
      throw this.#errorOf(error, `create ${key}`);
    }
  }

  async put(key: string, body: Uint8Array, signal?: AbortSignal): Promise<void> {
    await this.#write(key, [body], signal);
  }

  async putMultipart(key: string, parts: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<void> {
    let failure: { readonly error: unknown } | undefined;
    const watched = watchParts(parts, (error) => {
      failure = { error };
    });
    try {
      await this.#write(key, watched, signal);
    } catch (error) {
      throw failure === undefined ? error : failure.error;
    }
  }

  async *list(prefix: string, startAfter?: string): AsyncIterable<ObjectInfo> {
    try {
      yield* listFiles(this.#directory, TEMPORARY, prefix, startAfter);
    } catch (error) {
      throw this.#errorOf(error, `list ${prefix}`);
    }
  }

  async delete(key: string, signal?: AbortSignal): Promise<void> {
    const path = this.#path(key);
    signal?.throwIfAborted();
    try {
      await unlink(path).catch(undefinedIfAbsent);
      await this.#thread.sync(parent(path)).catch(undefinedIfAbsent);
    } catch (error) {
      throw this.#errorOf(error, `delete ${key}`);
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#unlinks);
    await this.#thread.close();
  }

  #path(key: string): string {
    checkKey(key);
    if (key === TEMPORARY || key.startsWith(`${TEMPORARY}/`)) {
      throw new StoreError('fatal', `${TEMPORARY} is where the directory store keeps unfinished files`);
    }
    return `${this.#directory}/${key}`;
  }

  #temporary(): string {
    return `${this.#directory}/${TEMPORARY}/${this.#writer}-${this.#temporaries++}`;
  }

  #errorOf(error: unknown, deed: string): StoreError {
    return storeErrorOf(error, `${deed} in ${this.#directory}`);
  }

  async #read(
    key: string,
    signal: AbortSignal | undefined,
    read: (handle: FileHandle, size: number) => Promise<Uint8Array>,
  ): Promise<Uint8Array | undefined> {
    const path = this.#path(key);
    signal?.throwIfAborted();
    let handle: FileHandle | undefined;
    try {
      handle = await open(path, constants.O_RDONLY);
      const { size, nlink } = await handle.stat();
      const bytes = await read(handle, size);
      // Its temporary name goes only after its directory was synced.
      if (nlink > 1 && this.#isWriter) await this.#thread.sync(parent(path));
      return bytes;
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw this.#errorOf(error, `read ${key}`);
    } finally {
      await handle?.close();
    }
  }

  /** Makes the body durable under a temporary name, then gives it its own, whatever had that. */
  async #write(
    key: string,
    parts: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const path = this.#path(key);
    signal?.throwIfAborted();
    const temporary = this.#temporary();
    try {
      await writeDurably(temporary, parts, signal);
      signal?.throwIfAborted();
      await this.#inDirectory(key, () => rename(temporary, path));
      await this.#thread.sync(parent(path));
    } catch (error) {
      signal?.throwIfAborted();
      throw this.#errorOf(error, `write ${key}`);
    } finally {
      this.#unlink(temporary);
    }
  }

  /** No write waits for this, and what it leaves is removed at a later open. */
  #unlink(temporary: string): void {
    const unlinked = unlink(temporary)
      .catch(() => undefined)
      .finally(() => this.#unlinks.delete(unlinked));
    this.#unlinks.add(unlinked);
  }

  /** Runs `action`, after making the directories of `key` if it turns out that they are missing. */
  async #inDirectory<T>(key: string, action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      if (!isMissing(error)) throw error;
      await this.#makeDirectories(key);
      return await action();
    }
  }

  /** Makes each directory durable in its parent. The store's own is never made again: its log would be gone. */
  async #makeDirectories(key: string): Promise<void> {
    let directory = this.#directory;
    for (const name of key.split('/').slice(0, -1)) {
      const made = join(directory, name);
      await mkdir(made, { mode: 0o700 }).catch((error: unknown) => {
        if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
      });
      await this.#thread.sync(directory);
      directory = made;
    }
  }
}

function parent(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}

/** The same parts; tells when it was they that failed, and not the store. */
async function* watchParts(
  parts: AsyncIterable<Uint8Array>,
  onFailure: (error: unknown) => void,
): AsyncIterable<Uint8Array> {
  try {
    yield* parts;
  } catch (error) {
    onFailure(error);
    throw error;
  }
}
