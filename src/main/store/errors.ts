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

// biome-ignore lint/performance/noBarrelFile: for upkeep/snapshotter.ts alone, which is being rewritten
export { errorMessage } from '../../shared/base/errors.ts';
