import * as fs from 'node:fs';

type Done = (error: unknown) => void;

/** The system calls that files are created with, as `node:fs` has them. */
export interface FileCalls {
  openSync(path: string, flags: number, mode?: number): number;
  writeSync(file: number, bytes: Uint8Array, offset: number, length: number): number;
  /** With `here` it is done in this thread, and is over when the call returns. */
  fdatasync(file: number, done: Done, here?: boolean): void;
  fsync(file: number, done: Done, here?: boolean): void;
  closeSync(file: number): void;
  linkSync(existing: string, path: string): void;
  unlinkSync(path: string): void;
}

/** Those of the system. */
export const systemCalls: FileCalls = {
  ...fs,
  fdatasync(file, done, here = false) {
    if (here) callHere(() => fs.fdatasyncSync(file), done);
    else fs.fdatasync(file, done);
  },
  fsync(file, done, here = false) {
    if (here) callHere(() => fs.fsyncSync(file), done);
    else fs.fsync(file, done);
  },
};

function callHere(call: () => void, done: Done): void {
  let failure: unknown = null;
  try {
    call();
  } catch (error) {
    failure = error;
  }
  done(failure);
}
