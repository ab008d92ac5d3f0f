import { constants, PerformanceObserver } from 'node:perf_hooks';
import type { Clock } from './clock.ts';

/**
 * What holds a thread up: its event loop's delay, and its garbage collections. Each thread counts its own in a
 * buffer that the main thread reads when it is asked for metrics, so no message is needed.
 */

/**
 * How often the event loop is looked at: so late, as what is looked at, is what comes at any moment. An idle thread
 * wakes for it, which costs 0.2 % of a core; 20 ms cost 0.5 %.
 */
const LOOK_EVERY_MS = 50;

/** Upper bounds of the buckets, in seconds; one more is for what is longer. */
export const PAUSE_BOUNDS_SECONDS = [
  0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5,
] as const;

/** `eventLoop`, and the garbage collector's own kinds. */
export const PAUSE_KINDS = ['eventLoop', 'minor', 'major', 'incremental', 'weakcb'] as const;
export type PauseKind = (typeof PAUSE_KINDS)[number];

const GC_KINDS: ReadonlyMap<number, PauseKind> = new Map([
  [constants.NODE_PERFORMANCE_GC_MINOR, 'minor'],
  [constants.NODE_PERFORMANCE_GC_MAJOR, 'major'],
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL, 'incremental'],
  [constants.NODE_PERFORMANCE_GC_WEAKCB, 'weakcb'],
]);

/** As node makes them, which its types do not say. */
interface GcEntry {
  readonly duration: number;
  readonly detail: { readonly kind: number };
}

/** Of one kind: a count per bucket, not added up, and the sum of all. */
const WIDTH = PAUSE_BOUNDS_SECONDS.length + 2;

/** A thread's pauses of one kind since it began. */
export interface PauseCounts {
  /** One per bound and one for what is longer; not added up. */
  readonly counts: readonly number[];
  readonly sumSeconds: number;
}

/** An empty record of one thread's pauses. */
export function newPauses(): SharedArrayBuffer {
  return new SharedArrayBuffer(PAUSE_KINDS.length * WIDTH * Float64Array.BYTES_PER_ELEMENT);
}

/** From now on this thread counts its pauses in `shared`, which no other thread may write to. Once per thread. */
export function recordPauses(shared: SharedArrayBuffer, clock: Clock): void {
  const record = recorder(shared);
  lookAtEventLoop((delayMs) => record('eventLoop', delayMs), clock);
  const observer = new PerformanceObserver((list) => {
    for (const { detail, duration } of list.getEntries() as unknown as GcEntry[]) {
      const kind = GC_KINDS.get(detail.kind);
      if (kind !== undefined) record(kind, duration);
    }
  });
  observer.observe({ entryTypes: ['gc'] });
}

/** Writes pauses into `shared`; for the thread that it belongs to. */
export function recorder(shared: SharedArrayBuffer): (kind: PauseKind, ms: number) => void {
  const values = new Float64Array(shared);
  return (kind, ms) => {
    const seconds = ms / 1000;
    const first = PAUSE_KINDS.indexOf(kind) * WIDTH;
    const bound = PAUSE_BOUNDS_SECONDS.findIndex((upper) => seconds <= upper);
    const bucket = first + (bound < 0 ? PAUSE_BOUNDS_SECONDS.length : bound);
    values[bucket] = values[bucket]! + 1;
    const sum = first + WIDTH - 1;
    values[sum] = values[sum]! + seconds;
  };
}

/** What a thread has counted so far, of any thread. */
export function readPauses(shared: SharedArrayBuffer, kind: PauseKind): PauseCounts {
  const first = PAUSE_KINDS.indexOf(kind) * WIDTH;
  const values = [...new Float64Array(shared).slice(first, first + WIDTH)];
  return { counts: values.slice(0, -1), sumSeconds: values.at(-1)! };
}

/** Not node's own `monitorEventLoopDelay`: its histogram can't be counted in buckets, only be read and thrown away. */
function lookAtEventLoop(delayed: (delayMs: number) => void, clock: Clock): void {
  let dueMs = clock.monotonicMs() + LOOK_EVERY_MS;
  const look = (): void => {
    const now = clock.monotonicMs();
    delayed(Math.max(0, now - dueMs));
    dueMs = now + LOOK_EVERY_MS;
    clock.after(LOOK_EVERY_MS, look);
  };
  clock.after(LOOK_EVERY_MS, look);
}
