type Done = (error: unknown) => void;

/** The system calls that files are created with, as `node:fs` has them. */
export interface FileCalls {
  openSync(path: string, flags: number, mode?: number): number;
  writeSync(file: number, bytes: Uint8Array, offset: number, length: number): number;
  fdatasync(file: number, done: Done): void;
  fsync(file: number, done: Done): void;
  closeSync(file: number): void;
  linkSync(existing: string, path: string): void;
  unlinkSync(path: string): void;
}
