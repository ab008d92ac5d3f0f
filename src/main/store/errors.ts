/**
 * What a caller can do about a failed store call:
 * - `transient`: try again. For a write, the outcome is unknown: it may have happened.
 * - `denied`: the store refuses these credentials or permissions.
 * - `no-bucket`: the bucket, or the store's directory, does not exist.
 * - `unsupported`: the store lacks something that netsy's safety rests on.
 * - `fatal`: trying again cannot help.
 */
export type StoreErrorKind = 'transient' | 'denied' | 'no-bucket' | 'unsupported' | 'fatal';

interface StoreErrorDetails {
  /** HTTP status, where there was one. */
  readonly status?: number | undefined;
  /** S3's error code ('SlowDown') or the system's ('ENOSPC'). */
  readonly code?: string | undefined;
  /** How long the store asked to wait, in milliseconds. */
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
}

/** Why a store call failed, in one line that holds no secrets. */
export class StoreError extends Error {
  override name = 'StoreError';
  readonly kind: StoreErrorKind;
  readonly status: number | undefined;
  readonly code: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(kind: StoreErrorKind, message: string, details: StoreErrorDetails = {}) {
    super(message, details.cause === undefined ? {} : { cause: details.cause });
    this.kind = kind;
    this.status = details.status;
    this.code = details.code;
    this.retryAfterMs = details.retryAfterMs;
  }
}

/** The `code` of a system or library error ('ECONNREFUSED'), or undefined. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** The message of whatever was thrown. */
export function errorMessage(error: unknown): string {
  if (error instanceof AggregateError && error.message === '')
    return error.errors.map(errorMessage).join('; ');
  return error instanceof Error ? error.message : String(error);
}
