import type { EvaluatedMessage, WriteKind } from '../../workers/contract/writer.ts';
import type { AppendAttempt } from '../store/append.ts';

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
  /** How many of them the writer was given; some may be while the batch gathers. */
  ahead: number;
  /** When the current stage began, on the monotonic clock. */
  stageSinceMs: number;
  evaluated: EvaluatedMessage | undefined;
  readonly times: BatchTimes;
  /** Its requests to the store. The slower one of a pair may still be under way when the batch is done. */
  readonly attempts: AppendAttempt[];
  /** The sequence of the batch before it, or 0 if that has none, that it waited for last; undefined: for none. */
  waitedFor: number | undefined;
}

/** When what happened to a batch, on the monotonic clock, in this order; `Infinity`: it did not, or not yet. */
export interface BatchTimes {
  /** It would have closed, but `pipelineDepth` batches were in flight, or its PUT had to wait for `--put-budget`. */
  held: number;
  closed: number;
  evaluated: number;
  /** Its object is as it will be stored; for a batch without one, `evaluated`. */
  sealed: number;
  stored: number;
  turn: number;
  answered: number;
}

export function newTimes(): BatchTimes {
  const never = Number.POSITIVE_INFINITY;
  return {
    held: never,
    closed: never,
    evaluated: never,
    sealed: never,
    stored: never,
    turn: never,
    answered: never,
  };
}

/** What the end of the stage before it is the time of. */
export const ENTERED = {
  evaluate: 'closed',
  upload: 'evaluated',
  'wait turn': 'stored',
  reply: 'turn',
  done: 'answered',
} as const satisfies Record<Exclude<Stage, 'gather'>, keyof BatchTimes>;
