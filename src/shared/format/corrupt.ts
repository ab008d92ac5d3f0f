import { MalformedMessageError } from '../etcd/wire.ts';

export type FilePart = 'header' | 'record' | 'records' | 'footer' | 'compression';

/** Where in a file something was found. */
export interface FilePlace {
  object: string;
  part: FilePart;
  /** Which record, from 0; undefined for the other parts. */
  index: number | undefined;
  /**
   * Bytes from the start of the file; past the header, of the file as it is without compression. In a snapshot
   * that is read in pieces: where the piece's zstd frame begins.
   */
  offset: number;
}

/** A file is damaged, or holds what this version can't read. Never skipped: the log ends there. */
export class CorruptFileError extends Error {
  override name = 'CorruptFileError';
  readonly object: string;
  readonly part: FilePart;
  readonly index: number | undefined;
  readonly offset: number;
  /** What was checked: `CRC64`, `length`, a field's name … */
  readonly check: string;
  /** What should be there; for a CRC64, what the file says of itself. */
  readonly expected: string;
  /** What is there; for a CRC64, what its bytes give. */
  readonly found: string;

  constructor(place: FilePlace, check: string, expected: string, found: string) {
    const part = place.index === undefined ? place.part : `${place.part} ${place.index}`;
    super(`${place.object}: ${part} at byte ${place.offset}: ${check}: expected ${expected}, found ${found}`);
    this.object = place.object;
    this.part = place.part;
    this.index = place.index;
    this.offset = place.offset;
    this.check = check;
    this.expected = expected;
    this.found = found;
  }
}

/** What is wrong with a message, thrown where its place is not known. Does not leave this room. */
export class Fault extends Error {
  override name = 'Fault';
  readonly check: string;
  readonly expected: string;
  readonly found: string;

  constructor(check: string, expected: string, found: string) {
    super(`${check}: expected ${expected}, found ${found}`);
    this.check = check;
    this.expected = expected;
    this.found = found;
  }
}

/** `error` as a `CorruptFileError` at `place` if it says that bytes are wrong; any other is given back. */
export function locate(error: unknown, place: FilePlace): unknown {
  if (error instanceof Fault) return new CorruptFileError(place, error.check, error.expected, error.found);
  if (error instanceof MalformedMessageError) {
    return new CorruptFileError(place, 'message', 'a well-formed one', error.message);
  }
  return error;
}

/** A 64-bit value as `0x` and 16 hexadecimal digits. */
export function hex64(value: bigint): string {
  return `0x${value.toString(16).padStart(16, '0')}`;
}
