import { samplesIn } from './server-metrics.ts';

/** What held a thread of netsy up during a phase. */
export interface ThreadPauses {
  readonly thread: string;
  /** How late the event loop began what was due. */
  readonly delayMeanMs: number;
  /** At most this; undefined beyond the last bucket. */
  readonly delayP99Ms: number | undefined;
  /** Time of garbage collections per second, in milliseconds, and how many. */
  readonly gcMsPerSecond: number;
  readonly gcPerSecond: number;
}

const DELAY = 'netsy_event_loop_delay_seconds';
const COLLECTION = 'netsy_gc_pause_seconds';

/** Of each thread between two looks at `/metrics`, `seconds` apart; empty when the server isn't netsy. */
export function pausesBetween(before: string, after: string, seconds: number): ThreadPauses[] {
  const threads = samplesIn(after, `${DELAY}_count`).map(({ labels }) => labels['thread']!);
  return threads.map((thread) => {
    const growth = (name: string): number => sumOf(after, name, thread) - sumOf(before, name, thread);
    const looks = growth(`${DELAY}_count`);
    return {
      thread,
      delayMeanMs: (1000 * growth(`${DELAY}_sum`)) / Math.max(1, looks),
      delayP99Ms: delayP99Ms(before, after, thread, looks),
      gcMsPerSecond: (1000 * growth(`${COLLECTION}_sum`)) / seconds,
      gcPerSecond: growth(`${COLLECTION}_count`) / seconds,
    };
  });
}

function ofThread(text: string, name: string, thread: string): ReturnType<typeof samplesIn> {
  return samplesIn(text, name).filter(({ labels }) => labels['thread'] === thread);
}

/** Over all kinds. */
function sumOf(text: string, name: string, thread: string): number {
  return ofThread(text, name, thread).reduce((sum, { value }) => sum + value, 0);
}

function delayP99Ms(before: string, after: string, thread: string, looks: number): number | undefined {
  const had = new Map(
    ofThread(before, `${DELAY}_bucket`, thread).map(({ labels, value }) => [labels['le'], value]),
  );
  const bound = ofThread(after, `${DELAY}_bucket`, thread).find(
    ({ labels, value }) => value - (had.get(labels['le']) ?? 0) >= 0.99 * looks,
  )?.labels['le'];
  return bound === undefined || bound === '+Inf' ? undefined : 1000 * Number(bound);
}
