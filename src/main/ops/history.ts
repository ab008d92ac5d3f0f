import type { Clock, Timer } from '../../shared/base/clock.ts';

const EVERY_MS = 5_000;
/** Ten minutes. */
const SAMPLES_MAX = 120;

/** What was counted since the start, at a moment. */
export interface Totals {
  readonly writes: number;
  readonly reads: number;
  readonly puts: number;
  readonly dollars: number;
  readonly storeErrors: number;
  /** Seconds that calls which write took, by bucket: see `Distribution`. */
  readonly writeSeconds: { readonly bounds: readonly number[]; readonly counts: readonly number[] };
}

/** What happened between two moments. */
export interface Interval {
  /** Its end, by the wall clock. */
  readonly atMs: number;
  readonly writesPerSecond: number;
  readonly readsPerSecond: number;
  readonly putsPerSecond: number;
  readonly dollarsPerHour: number;
  readonly storeErrors: number;
  /** Milliseconds; undefined when there was no write. */
  readonly writeMsP50: number | undefined;
  readonly writeMsP99: number | undefined;
}

/** The last ten minutes in steps of five seconds, so that who opens the status page sees what was before. */
export class History {
  readonly #clock: Clock;
  readonly #totals: () => Totals;
  readonly #intervals: Interval[] = [];
  #last: { readonly atMs: number; readonly totals: Totals };
  #timer: Timer | undefined;

  constructor(clock: Clock, totals: () => Totals) {
    this.#clock = clock;
    this.#totals = totals;
    this.#last = { atMs: clock.monotonicMs(), totals: totals() };
    this.#schedule();
  }

  /** The oldest first. */
  get intervals(): readonly Interval[] {
    return this.#intervals;
  }

  stop(): void {
    this.#timer?.cancel();
  }

  #schedule(): void {
    this.#timer = this.#clock.after(EVERY_MS, () => {
      this.#take();
      this.#schedule();
    });
  }

  #take(): void {
    const now = { atMs: this.#clock.monotonicMs(), totals: this.#totals() };
    const seconds = (now.atMs - this.#last.atMs) / 1000;
    if (seconds <= 0) return;
    this.#intervals.push(intervalOf(this.#last.totals, now.totals, seconds, this.#clock.wallMs()));
    if (this.#intervals.length > SAMPLES_MAX) this.#intervals.shift();
    this.#last = now;
  }
}

/** What lies between two totals that are `seconds` apart. */
function intervalOf(from: Totals, to: Totals, seconds: number, atMs: number): Interval {
  const { bounds } = to.writeSeconds;
  const counts = to.writeSeconds.counts.map((count, index) => count - (from.writeSeconds.counts[index] ?? 0));
  const ms = (part: number): number | undefined => {
    const quantile = quantileOf(bounds, counts, part);
    return quantile === undefined ? undefined : quantile * 1000;
  };
  return {
    atMs,
    writesPerSecond: (to.writes - from.writes) / seconds,
    readsPerSecond: (to.reads - from.reads) / seconds,
    putsPerSecond: (to.puts - from.puts) / seconds,
    dollarsPerHour: ((to.dollars - from.dollars) / seconds) * 3600,
    storeErrors: to.storeErrors - from.storeErrors,
    writeMsP50: ms(0.5),
    writeMsP99: ms(0.99),
  };
}

/** As Prometheus' `histogram_quantile`: between a bucket's bounds values are taken to lie evenly. */
export function quantileOf(
  bounds: readonly number[],
  counts: readonly number[],
  part: number,
): number | undefined {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0) return undefined;
  let below = 0;
  for (const [index, count] of counts.entries()) {
    const bound = bounds[index];
    if (bound === undefined) return bounds[bounds.length - 1];
    if (below + count >= part * total) {
      const lower = bounds[index - 1] ?? 0;
      return lower + (bound - lower) * ((part * total - below) / count);
    }
    below += count;
  }
  return undefined;
}
