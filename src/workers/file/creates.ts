import { constants } from 'node:fs';
import { errorCode, errorMessage } from '../../shared/base/errors.ts';
import { SYNCED_BYTES_MAX } from '../../shared/model/limits.ts';
import type { FileAnswer, FileRequest } from '../contract/file.ts';
import type { FileCalls } from './calls.ts';
import { DirectorySyncs } from './directory-syncs.ts';

/**
 * Creates files:
 *
 * 1. A body is written to its temporary name, and the file is synced, a large one piece by piece.
 * 2. Only then does it get its own name, by link(2), which fails when the name exists, atomically among all
 *    processes. So whatever has a name is whole and stays so, whenever the power is cut.
 * 3. Only after its directory was synced is anything answered: neither 'created' nor 'exists' outruns a power cut.
 *    The temporary name goes after that, so that a reader can tell a name that is not durable yet.
 *
 * What waits for the disk is handed to libuv's threads, all that came at once, so that the file system commits its
 * journal for many at a time; what only changes the page cache is done here and now. A create that is alone waits here too,
 * which spares it four wake-ups. See docs/decisions/file-store.md for what else was tried.
 */

const OPEN_TEMPORARY = constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY;

type Create = Extract<FileRequest, { type: 'create' }>;
type Sync = Extract<FileRequest, { type: 'sync' }>;

export class Creates {
  readonly #calls: FileCalls;
  readonly #reply: (answers: FileAnswer[]) => void;
  readonly #syncedBytesMax: number;
  readonly #syncs: DirectorySyncs;

  /** `reply` gets the answers, those of one sync together. Of each body so many bytes are written and synced at a time. */
  constructor(
    calls: FileCalls,
    reply: (answers: FileAnswer[]) => void,
    syncedBytesMax: number = SYNCED_BYTES_MAX,
  ) {
    this.#calls = calls;
    this.#reply = reply;
    this.#syncedBytesMax = syncedBytesMax;
    this.#syncs = new DirectorySyncs(calls, reply);
  }

  create(request: Create): void {
    let file: number | undefined;
    try {
      file = this.#calls.openSync(request.temporary, OPEN_TEMPORARY, 0o600);
    } catch (error) {
      this.#fail(request, undefined, error);
      return;
    }
    this.#write(request, file, 0);
  }

  sync({ id, directory }: Sync): void {
    this.#syncs.sync(directory, { answer: { type: 'synced', id } });
  }

  /** Closes the directories. Nothing may be under way. */
  close(): void {
    this.#syncs.close();
  }

  /** Writes and syncs the body from `begin` on, a piece at a time, then gives the file its name. */
  #write(request: Create, file: number, begin: number): void {
    const { body } = request;
    const end = Math.min(body.length, begin + this.#syncedBytesMax);
    try {
      for (let written = begin; written < end; ) {
        written += this.#calls.writeSync(file, body, written, end - written);
      }
    } catch (error) {
      this.#fail(request, file, error);
      return;
    }
    const synced = (error: unknown): void => {
      if (error) this.#fail(request, file, error);
      else if (end < body.length) this.#write(request, file, end);
      else this.#publish(request, file);
    };
    this.#calls.fdatasync(file, synced, this.#waitsHere(request));
  }

  /** Others may come between the pieces of a large one. */
  #waitsHere({ body, isAlone }: Create): boolean {
    return isAlone && body.length <= this.#syncedBytesMax;
  }

  #publish(request: Create, file: number): void {
    const { id, temporary, path } = request;
    let type: 'created' | 'exists' = 'created';
    try {
      this.#calls.linkSync(temporary, path);
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') {
        this.#fail(request, file, error);
        return;
      }
      type = 'exists';
    }
    const after = (isSynced: boolean): void => {
      this.#close(file);
      // While a file has two names, whoever reads it syncs the directory first.
      if (isSynced) this.#unlink(temporary);
    };
    const directory = path.slice(0, path.lastIndexOf('/'));
    this.#syncs.sync(directory, { answer: { type, id }, after, here: this.#waitsHere(request) });
  }

  #fail({ id, temporary }: Create, file: number | undefined, error: unknown): void {
    this.#reply([{ type: 'failed', id, code: errorCode(error), message: errorMessage(error) }]);
    if (file === undefined) return;
    this.#close(file);
    this.#unlink(temporary);
  }

  #close(file: number): void {
    try {
      this.#calls.closeSync(file);
    } catch {
      // It was synced, or that failed: closing has nothing left to tell.
    }
  }

  /** Nobody waits for this, and what it leaves is removed at a later open of the store. */
  #unlink(temporary: string): void {
    try {
      this.#calls.unlinkSync(temporary);
    } catch {}
  }
}
