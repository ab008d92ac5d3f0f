import { constants } from 'node:fs';
import { errorCode, errorMessage } from '../../shared/base/errors.ts';
import type { FileAnswer, FileRequest } from '../contract/file.ts';
import type { FileCalls } from './calls.ts';
import { DirectorySyncs } from './directory-syncs.ts';

/**
 * Creates files:
 *
 * 1. A body is written to its temporary name, and the file is synced.
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
  readonly #syncs: DirectorySyncs;

  /** `reply` gets the answers, those of one sync together. */
  constructor(calls: FileCalls, reply: (answers: FileAnswer[]) => void) {
    this.#calls = calls;
    this.#reply = reply;
    this.#syncs = new DirectorySyncs(calls, reply);
  }

  create(request: Create): void {
    const { temporary, body, isAlone } = request;
    let file: number | undefined;
    try {
      file = this.#calls.openSync(temporary, OPEN_TEMPORARY, 0o600);
      this.#writeFully(file, body);
    } catch (error) {
      this.#fail(request, file, error);
      return;
    }
    const written = file;
    const synced = (error: unknown): void => {
      if (error) this.#fail(request, written, error);
      else this.#publish(request, written);
    };
    this.#calls.fdatasync(written, synced, isAlone);
  }

  sync({ id, directory }: Sync): void {
    this.#syncs.sync(directory, { answer: { type: 'synced', id } });
  }

  /** Closes the directories. Nothing may be under way. */
  close(): void {
    this.#syncs.close();
  }

  #writeFully(file: number, body: Uint8Array): void {
    for (let written = 0; written < body.length; ) {
      written += this.#calls.writeSync(file, body, written, body.length - written);
    }
  }

  #publish(request: Create, file: number): void {
    const { id, temporary, path, isAlone } = request;
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
    this.#syncs.sync(directory, { answer: { type, id }, after, here: isAlone });
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
