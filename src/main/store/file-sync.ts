import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { errorMessage, StoreError } from './errors.ts';

/** A log has a handful of directories; more than this many handles are not kept. */
const HANDLES_MAX = 32;

/** fsync of an open directory. */
export type SyncHandle = (handle: FileHandle) => Promise<void>;

/** Makes names durable: fsync of directories, one for all who ask while another is running. */
export class DirectorySyncs {
  readonly #directories = new Map<string, DirectorySync>();
  readonly #syncHandle: SyncHandle;

  constructor(syncHandle: SyncHandle) {
    this.#syncHandle = syncHandle;
  }

  /** Resolves after an fsync of `path` that began no earlier than this call. */
  async sync(path: string): Promise<void> {
    let directory = this.#directories.get(path);
    if (directory === undefined) {
      directory = new DirectorySync(path, this.#syncHandle);
      this.#directories.set(path, directory);
      await this.#dropIdle();
    }
    await directory.sync();
  }

  /** Closes all handles. */
  async close(): Promise<void> {
    const directories = [...this.#directories.values()];
    this.#directories.clear();
    await Promise.all(directories.map((directory) => directory.close()));
  }

  async #dropIdle(): Promise<void> {
    if (this.#directories.size <= HANDLES_MAX) return;
    for (const [path, directory] of this.#directories) {
      if (!directory.idle) continue;
      this.#directories.delete(path);
      await directory.close();
      return;
    }
  }
}

class DirectorySync {
  readonly #path: string;
  readonly #syncHandle: SyncHandle;
  #handle: Promise<FileHandle> | undefined;
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  /**
   * The first failure, for good. The kernel reports a failed write-back once and then forgets it, so a later
   * fsync that succeeds says nothing about the names before it.
   */
  #failure: StoreError | undefined;

  constructor(path: string, syncHandle: SyncHandle) {
    this.#path = path;
    this.#syncHandle = syncHandle;
  }

  /** Whether its handle may be closed and forgotten. */
  get idle(): boolean {
    return this.#running === undefined && this.#handle !== undefined && this.#failure === undefined;
  }

  /** The running fsync may have begun before the caller's name was there; the next one covers it. */
  sync(): Promise<void> {
    if (this.#running === undefined) return this.#start();
    this.#next ??= this.#running.then(
      () => this.#startNext(),
      () => this.#startNext(),
    );
    return this.#next;
  }

  async close(): Promise<void> {
    await this.#running?.catch(() => undefined);
    const handle = await this.#handle?.catch(() => undefined);
    this.#handle = undefined;
    await handle?.close();
  }

  #startNext(): Promise<void> {
    this.#next = undefined;
    return this.#running ?? this.#start();
  }

  #start(): Promise<void> {
    this.#running = this.#sync().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #sync(): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const handle = await this.#open();
    try {
      await this.#syncHandle(handle);
    } catch (error) {
      this.#failure = new StoreError(
        'fatal',
        `the directory ${this.#path} could not be synced (${errorMessage(error)}), so what was just written may be lost: check the disk, then restart`,
        { cause: error },
      );
      throw this.#failure;
    }
  }

  #open(): Promise<FileHandle> {
    this.#handle ??= open(this.#path, constants.O_RDONLY).catch((error: unknown) => {
      this.#handle = undefined;
      throw error;
    });
    return this.#handle;
  }
}
