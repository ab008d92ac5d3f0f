/** How many uploads the percentile looks back on. */
const WINDOW = 256;
/** Sorting on each upload would cost more than it tells. */
const REFRESH_EVERY = 16;
/** With fewer uploads than this there is no percentile to speak of. */
const SAMPLES_MIN = 20;

/** Percentiles of the latest uploads' latencies. */
export class LatencyWindow {
  readonly #samples = new Float64Array(WINDOW);
  #recorded = 0;
  #p95: number | undefined;
  #median: number | undefined;

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

  /** In milliseconds; undefined until enough uploads were recorded. */
  get median(): number | undefined {
    return this.#median;
  }

  #refresh(): void {
    if (this.#recorded < SAMPLES_MIN) return;
    const sorted = this.#samples.slice(0, Math.min(this.#recorded, WINDOW)).sort();
    this.#p95 = sorted[Math.ceil(sorted.length * 0.95) - 1];
    this.#median = sorted[sorted.length >> 1];
  }
}
