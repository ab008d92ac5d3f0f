import type { Stage } from '../../src/main/commit/batch.ts';

/** Where a victim kills itself. `count` counts from 1; the first chunk of a process is its epoch chunk. */
export type CrashPoint =
  /** At the `count`-th end of a stage of the pipeline. */
  | { readonly at: 'end of stage'; readonly stage: Exclude<Stage, 'done'>; readonly count: number }
  /** When the `count`-th chunk is put: it never reaches the store. */
  | { readonly at: 'before put'; readonly count: number }
  /** When the `count`-th chunk is in the store, before the store's answer is heard. */
  | { readonly at: 'after put'; readonly count: number }
  /** The `count`-th chunk never reaches the store, but `later` chunks after it do: they overtook it. */
  | { readonly at: 'overtaken'; readonly count: number; readonly later: number }
  /** The `count`-th chunk and `later` more are still on their way: written to `directory` instead of the store. */
  | {
      readonly at: 'on the way';
      readonly count: number;
      readonly later: number;
      readonly directory: string;
    };

/** Where a victim that keeps its log bounded kills itself. */
export type UpkeepCrashPoint =
  /** When the store has taken the `count`-th piece of a snapshot. */
  | { readonly at: 'snapshot piece'; readonly count: number }
  /** When a snapshot is in the store, before the store's answer is heard. */
  | { readonly at: 'after snapshot'; readonly count: 1 }
  /** When the `count`-th pack is put, before it reaches the store, or before the store's answer is heard. */
  | { readonly at: 'before pack' | 'after pack'; readonly count: number }
  /** When the `count`-th object of the log is deleted, before the store's answer is heard. */
  | { readonly at: 'after delete'; readonly count: number };

/** The environment variable of a victim that holds its crash point as JSON. */
export const CRASH_POINT = 'VICTIM_CRASH_POINT';

/** For a test's name. */
export function describePoint(point: CrashPoint | UpkeepCrashPoint): string {
  const stage = point.at === 'end of stage' ? ` '${point.stage}'` : '';
  const later = 'later' in point ? `, ${point.later} later` : '';
  return `${point.at}${stage}, number ${point.count}${later}`;
}
