import type { Batch } from './batch.ts';

/**
 * Where a write's time goes, from its arrival at the pipeline to the moment when the last reply of its batch was
 * handed over. In milliseconds; together they are the latency.
 */
export interface WriteTime {
  /** In the open batch, for its window. */
  gather: number;
  /** In the open batch, which could not close: as many as may be were in flight, or `--put-budget` had no PUT for it. */
  slot: number;
  /** On the way to the writer's thread and back, and for that thread while it did something else. */
  writer: number;
  evaluate: number;
  /** The chunk is encoded, and compressed if that pays. */
  seal: number;
  /** Until this process may send, or speak for the store: the primary's lease had run out. */
  lease: number;
  /** From the first request to the store to the last answer that was needed. */
  put: number;
  /** For the batches before its own. */
  turn: number;
  reply: number;
}

export const WRITE_STAGES = [
  'gather',
  'slot',
  'writer',
  'evaluate',
  'seal',
  'lease',
  'put',
  'turn',
  'reply',
] as const satisfies readonly (keyof WriteTime)[];

/** Of the write that arrived at `arrivedMs` in a batch that is done. */
export function writeTime(batch: Batch, arrivedMs: number): WriteTime {
  const { held, closed, evaluated, stored, turn, answered } = batch.times;
  const sealed = batch.attempts.length > 0 ? batch.times.sealed : evaluated;
  const heldSince = Math.max(Math.min(held, closed), arrivedMs);
  // The thread's clock and ours may differ by a hair.
  const withWriter = evaluated - closed;
  const evaluate = Math.min(batch.evaluated?.evaluateMs ?? 0, withWriter);
  const encode = Math.min(batch.evaluated?.sealMs ?? 0, withWriter - evaluate);
  const sent = batch.attempts[0]?.sentMs ?? stored;
  return {
    gather: heldSince - arrivedMs,
    slot: closed - heldSince,
    writer: withWriter - evaluate - encode,
    evaluate,
    seal: encode + (sealed - evaluated),
    lease: sent - sealed,
    put: stored - sent,
    turn: turn - stored,
    reply: answered - turn,
  };
}
