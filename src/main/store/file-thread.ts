import { Worker } from 'node:worker_threads';
import { assert } from '../../shared/base/assert.ts';
import { WORKER_LIMITS } from '../../shared/model/limits.ts';
import { threadEntry } from '../../workers/contract/entry.ts';
import type { FileAnswer, FileReply, FileRequest } from '../../workers/contract/file.ts';
import { StoreError } from './errors.ts';

/**
 * How much the thread is given at a time, in bytes of bodies and in requests: what it holds copies of while the disk
 * hangs. The rest waits here, where it costs nothing and can be given up.
 */
const POSTED_BYTES_MAX = 32 * 1024 * 1024;
const POSTED_MAX = 64;

/** The thread's end of the messages, as its client sees it. */
export interface FilePort {
  postMessage(request: FileRequest, transfer?: ArrayBuffer[]): void;
  on(event: 'message', heard: (reply: FileReply) => void): void;
  on(event: 'error', heard: (error: Error) => void): void;
  on(event: 'exit', heard: () => void): void;
  /** Whether the process may end while the thread runs. */
  ref(): void;
  unref(): void;
}

/** Starts the thread. */
export function startFileThread(): FilePort {
  return new Worker(threadEntry('file'), { resourceLimits: WORKER_LIMITS });
}

type Done = Exclude<FileAnswer['type'], 'failed' | 'unsynced'>;

/** A request that the thread has not answered. */
interface Asked {
  /** Of its body. */
  readonly bytes: number;
  readonly signal: AbortSignal | undefined;
  request(id: number, isAlone: boolean): FileRequest;
  resolve(done: Done): void;
  reject(error: unknown): void;
}

/**
 * The typed client of the thread that makes files and names durable: what waits there together shares its syncs.
 * It starts with the first request, and the process may end whenever none is under way.
 */
export class FileThread {
  readonly #start: () => FilePort;
  #port: FilePort | undefined;
  #exited: Promise<void> | undefined;
  #isClosing = false;
  #failure: StoreError | undefined;
  readonly #held: Asked[] = [];
  readonly #posted = new Map<number, Asked>();
  #postedBytes = 0;
  #requests = 0;

  constructor(start: () => FilePort) {
    this.#start = start;
  }

  /**
   * Makes the file `path` of `body`, by way of the name `temporary`; both are durable when it resolves. 'exists': a
   * file of that name was there, which is durable. Rejects with the system's error, which has a `code`, or with a
   * 'fatal' `StoreError` when the directory could not be synced or the thread ended; with the signal's reason when
   * that was aborted before the thread was told, and then nothing is done.
   */
  async create(
    temporary: string,
    path: string,
    body: Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<'created' | 'exists'> {
    const request: Asked['request'] = (id, isAlone) => ({
      type: 'create',
      id,
      temporary,
      path,
      // The caller's own stays with it, for another try.
      body: new Uint8Array(body),
      isAlone,
    });
    const done = await this.#ask(body.length, signal, request);
    assert(done !== 'synced', 'a create is created or finds what exists');
    return done;
  }

  /** Resolves after an fsync of `directory` that began no earlier than this call. Rejects as `create` does. */
  async sync(directory: string): Promise<void> {
    await this.#ask(0, undefined, (id) => ({ type: 'sync', id, directory }));
  }

  /** Waits for what was asked before, then for the thread's end. */
  async close(): Promise<void> {
    this.#isClosing = true;
    this.#port?.ref();
    this.#endWhenIdle();
    await this.#exited;
  }

  #ask(bytes: number, signal: AbortSignal | undefined, request: Asked['request']): Promise<Done> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) {
        reject(this.#failure);
        return;
      }
      this.#held.push({ bytes, signal, request, resolve, reject });
      this.#post();
    });
  }

  #post(): void {
    for (let next = this.#held[0]; next !== undefined && this.#hasRoom(next.bytes); next = this.#held[0]) {
      this.#held.shift();
      if (next.signal?.aborted) {
        next.reject(next.signal.reason);
        continue;
      }
      const port = this.#running();
      const isAlone = this.#posted.size === 0;
      if (isAlone) port.ref();
      const id = this.#requests++;
      this.#posted.set(id, next);
      this.#postedBytes += next.bytes;
      const request = next.request(id, isAlone);
      port.postMessage(request, request.type === 'create' ? [request.body.buffer as ArrayBuffer] : []);
    }
  }

  #hasRoom(bytes: number): boolean {
    if (this.#posted.size === 0) return true;
    return this.#posted.size < POSTED_MAX && this.#postedBytes + bytes <= POSTED_BYTES_MAX;
  }

  #running(): FilePort {
    if (this.#port !== undefined) return this.#port;
    const port = this.#start();
    this.#port = port;
    port.on('message', ({ answers }) => this.#receive(answers));
    port.on('error', (error) => this.#fail(error));
    this.#exited = new Promise((resolve) => {
      port.on('exit', () => {
        this.#fail(new Error('it ended'));
        resolve();
      });
    });
    return port;
  }

  #receive(answers: readonly FileAnswer[]): void {
    if (this.#failure !== undefined) return;
    for (const answer of answers) {
      const asked = this.#posted.get(answer.id);
      assert(asked !== undefined, 'the thread answers what it was asked');
      this.#posted.delete(answer.id);
      this.#postedBytes -= asked.bytes;
      if (answer.type === 'failed' || answer.type === 'unsynced') asked.reject(errorOf(answer));
      else asked.resolve(answer.type);
    }
    this.#post();
    if (this.#posted.size === 0 && !this.#isClosing) this.#port?.unref();
    this.#endWhenIdle();
  }

  #endWhenIdle(): void {
    if (this.#isClosing && this.#posted.size === 0 && this.#held.length === 0)
      this.#port?.postMessage({ type: 'close' });
  }

  /** The files that it was asked for may be there or not. */
  #fail(error: Error): void {
    this.#failure ??= new StoreError(
      'fatal',
      `the thread that writes the store's files failed: ${error.message}`,
      {
        cause: error,
      },
    );
    for (const { reject } of [...this.#posted.values(), ...this.#held]) reject(this.#failure);
    this.#posted.clear();
    this.#held.length = 0;
  }
}

function errorOf(answer: Extract<FileAnswer, { type: 'failed' | 'unsynced' }>): Error {
  const { code, message } = answer;
  const cause = Object.assign(new Error(message), { code });
  if (answer.type === 'failed') return cause;
  return new StoreError(
    'fatal',
    `the directory ${answer.directory} could not be synced (${message}), so what was just written may be lost: check the disk, then restart`,
    { cause },
  );
}
