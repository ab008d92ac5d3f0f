import { constants } from 'node:fs';
import { errorCode, errorMessage } from '../../shared/base/errors.ts';
import type { FileAnswer } from '../contract/file.ts';
import type { FileCalls } from './calls.ts';

/** A log has a handful of directories; more than this many are not kept open. */
const DIRECTORIES_MAX = 32;

type Answered = Extract<FileAnswer, { type: 'created' | 'exists' | 'synced' }>;
type Calls = Pick<FileCalls, 'openSync' | 'fsync' | 'closeSync'>;

/** Something to be said once a directory is synced, and to be done when it was said. */
interface Waiting {
  readonly answer: Answered;
  readonly after?: (isSynced: boolean) => void;
  /** Nothing else is under way: the sync may be waited for in this thread. */
  readonly here?: boolean;
}

/** Makes names durable: fsync of directories, one for all who ask while another is running. */
export class DirectorySyncs {
  readonly #calls: Calls;
  readonly #reply: (answers: FileAnswer[]) => void;
  /** By path, the longest unused first. */
  readonly #directories = new Map<string, Directory>();

  constructor(calls: Calls, reply: (answers: FileAnswer[]) => void) {
    this.#calls = calls;
    this.#reply = reply;
  }

  /** Says `answer` after an fsync of `path` that began no earlier than this call, or what failed; then calls `after`. */
  sync(path: string, waiting: Waiting): void {
    let directory = this.#directories.get(path);
    if (directory === undefined) {
      try {
        directory = new Directory(path, this.#calls, this.#reply);
      } catch (error) {
        this.#reply([
          { type: 'failed', id: waiting.answer.id, code: errorCode(error), message: errorMessage(error) },
        ]);
        waiting.after?.(false);
        return;
      }
    }
    this.#directories.delete(path);
    this.#directories.set(path, directory);
    directory.sync(waiting);
    if (this.#directories.size > DIRECTORIES_MAX) this.#dropOne();
  }

  /** Closes all. Nothing may be under way. */
  close(): void {
    for (const directory of this.#directories.values()) directory.close();
    this.#directories.clear();
  }

  #dropOne(): void {
    for (const [path, directory] of this.#directories) {
      if (!directory.isIdle) continue;
      this.#directories.delete(path);
      directory.close();
      return;
    }
  }
}

class Directory {
  readonly #path: string;
  readonly #calls: Calls;
  readonly #reply: (answers: FileAnswer[]) => void;
  readonly #file: number;
  #isSyncing = false;
  #waiting: Waiting[] = [];
  /**
   * The first failure, for good. The kernel reports a failed write-back once and then forgets it, so a later
   * fsync that succeeds says nothing about the names before it.
   */
  #failure: { readonly error: unknown } | undefined;

  constructor(path: string, calls: Calls, reply: (answers: FileAnswer[]) => void) {
    this.#path = path;
    this.#calls = calls;
    this.#reply = reply;
    this.#file = calls.openSync(path, constants.O_RDONLY);
  }

  /** Whether it may be closed and forgotten. */
  get isIdle(): boolean {
    return !this.#isSyncing && this.#waiting.length === 0 && this.#failure === undefined;
  }

  /** The running fsync may have begun before the caller's name was there; the next one covers it. */
  sync(waiting: Waiting): void {
    this.#waiting.push(waiting);
    if (!this.#isSyncing) this.#start();
  }

  close(): void {
    this.#calls.closeSync(this.#file);
  }

  #start(): void {
    const covered = this.#waiting;
    this.#waiting = [];
    if (this.#failure !== undefined) {
      this.#end(covered);
      return;
    }
    this.#isSyncing = true;
    const synced = (error: unknown): void => {
      if (error) this.#failure = { error };
      this.#isSyncing = false;
      // The next is on its way before the answers are.
      if (this.#waiting.length > 0) this.#start();
      this.#end(covered);
    };
    this.#calls.fsync(
      this.#file,
      synced,
      covered.every(({ here }) => here),
    );
  }

  #end(covered: readonly Waiting[]): void {
    this.#reply(covered.map(({ answer }) => this.#failed(answer.id) ?? answer));
    for (const { after } of covered) after?.(this.#failure === undefined);
  }

  #failed(id: number): FileAnswer | undefined {
    if (this.#failure === undefined) return undefined;
    const { error } = this.#failure;
    return {
      type: 'unsynced',
      id,
      directory: this.#path,
      code: errorCode(error),
      message: errorMessage(error),
    };
  }
}
