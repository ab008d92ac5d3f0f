import { errorCode, errorMessage } from '../../shared/base/errors.ts';
import { StoreError, type StoreErrorKind } from './errors.ts';

interface Meaning {
  readonly kind: StoreErrorKind;
  readonly advice: string;
}

const DENIED: Meaning = { kind: 'denied', advice: 'give this process read and write permission there' };
const FULL: Meaning = { kind: 'transient', advice: 'free some space' };
const BUSY: Meaning = { kind: 'transient', advice: 'raise the limit of open files' };
const NO_LINKS: Meaning = {
  kind: 'unsupported',
  advice: 'this file system has no hard links, which conditional creates need: use another one',
};
const IN_THE_WAY: Meaning = { kind: 'fatal', advice: 'a file is where a directory must be, or the reverse' };

const MEANINGS: Readonly<Record<string, Meaning>> = {
  EACCES: DENIED,
  EPERM: { kind: 'denied', advice: 'allow it, or use a file system that has hard links' },
  EROFS: { kind: 'denied', advice: 'mount the file system writable' },
  ENOSPC: FULL,
  EDQUOT: FULL,
  EIO: { kind: 'transient', advice: 'check the disk' },
  EMFILE: BUSY,
  ENFILE: BUSY,
  EMLINK: NO_LINKS,
  ENOTSUP: NO_LINKS,
  EOPNOTSUPP: NO_LINKS,
  EXDEV: NO_LINKS,
  ENOENT: { kind: 'no-bucket', advice: 'the directory is gone: restore it, or restart to begin a new one' },
  ENOTDIR: IN_THE_WAY,
  EEXIST: IN_THE_WAY,
  EISDIR: IN_THE_WAY,
};

/** What a failed system call means for the store. `deed` completes "cannot …". */
export function storeErrorOf(error: unknown, deed: string): StoreError {
  if (error instanceof StoreError) return error;
  const code = errorCode(error);
  const meaning = code === undefined ? undefined : MEANINGS[code];
  const why = code ?? errorMessage(error);
  const advice = meaning === undefined ? '' : `; ${meaning.advice}`;
  return new StoreError(meaning?.kind ?? 'fatal', `cannot ${deed}: ${why}${advice}`, { code, cause: error });
}

/** Whether the error says that no such file exists, in any of the ways that a path can fail to name one. */
export function isAbsent(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR';
}

/** Whether the error says that a directory of the path does not exist. */
export function isMissing(error: unknown): boolean {
  return errorCode(error) === 'ENOENT';
}
