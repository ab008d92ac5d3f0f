import { parentPort, workerData } from 'node:worker_threads';
import { InputError, Inputs, type Outcome } from './inputs.ts';

/** A thread that tries its share of the inputs: every `step`th from `from` on, below `to`. */

export interface WorkerTask {
  readonly seed: number;
  readonly from: number;
  readonly to: number;
  readonly step: number;
  /** Shared: the number of the input under way, plus one; and whether to end. */
  readonly shared: Int32Array;
}

/** Counts of what became of inputs, by mutation and verdict, and by what refused them. */
export interface Counts {
  readonly verdicts: Record<string, number>;
  readonly checks: Record<string, number>;
  inputs: number;
  inspected: number;
  slowestMs: number;
  slowest: number;
}

export type WorkerMessage =
  | { readonly type: 'counts'; readonly counts: Counts }
  | { readonly type: 'done' }
  | {
      readonly type: 'failed';
      readonly number: number;
      readonly message: string;
      readonly input: Uint8Array | undefined;
    };

const TELL_EVERY = 1_000;

export function noCounts(): Counts {
  return { verdicts: {}, checks: {}, inputs: 0, inspected: 0, slowestMs: 0, slowest: 0 };
}

function tell(message: WorkerMessage): void {
  parentPort!.postMessage(message);
}

async function work({ seed, from, to, step, shared }: WorkerTask): Promise<void> {
  const inputs = await Inputs.of(seed);
  let counts = noCounts();
  for (let number = from; number < to && Atomics.load(shared, 1) === 0; number += step) {
    Atomics.store(shared, 0, number + 1);
    const begunMs = performance.now();
    try {
      count(counts, await inputs.try(number));
    } catch (error) {
      const input = error instanceof InputError ? error.input : undefined;
      tell({ type: 'failed', number, message: (error as Error).message, input });
    }
    const ms = performance.now() - begunMs;
    if (ms > counts.slowestMs) [counts.slowestMs, counts.slowest] = [ms, number];
    if (counts.inputs < TELL_EVERY) continue;
    tell({ type: 'counts', counts });
    counts = noCounts();
  }
  Atomics.store(shared, 0, 0);
  tell({ type: 'counts', counts });
  inputs.end();
  tell({ type: 'done' });
}

function count(counts: Counts, { mutation, verdict, check, inspected }: Outcome): void {
  counts.inputs++;
  if (inspected) counts.inspected++;
  const name = `${mutation}\t${verdict}`;
  counts.verdicts[name] = (counts.verdicts[name] ?? 0) + 1;
  if (check !== undefined) counts.checks[check] = (counts.checks[check] ?? 0) + 1;
}

if (parentPort !== null) await work(workerData as WorkerTask);
