import type { EvaluatedMessage, WriteKind } from '../../workers/contract/writer.ts';

/**
 * Where a batch stands. `gather` takes requests, `evaluate` is with the writer, `upload` is on its way to the
 * store (compressed first if that pays), `wait turn` is stored and waits for the batches before it, `reply` is being
 * answered.
 */
export type Stage = 'gather' | 'evaluate' | 'upload' | 'wait turn' | 'reply' | 'done';

/** Called once: with the response, or with the error to answer. */
export type WriteCallback = (error: Error | undefined, response: Uint8Array) => void;

/** One request on its way through the pipeline. */
export interface PendingWrite {
  readonly kind: WriteKind;
  readonly request: Uint8Array;
  /** Undefined once it was answered: timed out, cancelled by its client, or done. */
  callback: WriteCallback | undefined;
  readonly arrivedMs: number;
}

/** Requests that share one chunk. */
export interface Batch {
  readonly id: number;
  stage: Stage;
  requests: PendingWrite[];
  /** Of the requests, in bytes. */
  bytes: number;
  /** When the current stage began, on the monotonic clock. */
  stageSinceMs: number;
  evaluated: EvaluatedMessage | undefined;
}
