/** How many uploads the percentile looks back on. */
const WINDOW = 256;
/** Sorting on each upload would cost more than it tells. */
const REFRESH_EVERY = 16;
/** With fewer uploads than this there is no percentile to speak of. */
const SAMPLES_MIN = 20;

/** The 95th percentile of the latest uploads' latencies. */
export class LatencyWindow {
  readonly #samples = new Float64Array(WINDOW);
  #recorded = 0;
  #p95: number | undefined;

  /** Adds one upload's latency in milliseconds. */
  record(latencyMs: number): void {
    this.#samples[this.#recorded % WINDOW] = latencyMs;
    this.#recorded++;
    if (this.#recorded === SAMPLES_MIN || this.#recorded % REFRESH_EVERY === 0) this.#refresh();
  }

  /** In milliseconds; undefined until enough uploads were recorded. */
  get p95(): number | undefined {
    return this.#p95;
  }

  #refresh(): void {
    if (this.#recorded < SAMPLES_MIN) return;
    const sorted = this.#samples.slice(0, Math.min(this.#recorded, WINDOW)).sort();
    this.#p95 = sorted[Math.ceil(sorted.length * 0.95) - 1];
  }
}

const HEDGES_PER_UPLOAD = 0.05;
/** Unused allowance is kept up to this, so that a burst of slow uploads can all be hedged. */
const HEDGES_SAVED_MAX = 8;

/** Keeps hedges near 5 % of the uploads, so that a store that is slow throughout is not also loaded twice. */
export class HedgeBudget {
  #saved = 1;

  /** An upload began. */
  earn(): void {
    this.#saved = Math.min(HEDGES_SAVED_MAX, this.#saved + HEDGES_PER_UPLOAD);
  }

  /** Whether a hedge may begin now; it is then counted. */
  spend(): boolean {
    if (this.#saved < 1) return false;
    this.#saved--;
    return true;
  }
}
