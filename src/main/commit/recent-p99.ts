/** A span is over when it has lasted so long and has so many latencies. */
const SPAN_MS = 5_000;
const SPAN_COUNT_MIN = 1_000;
const SHARE = 0.99;

/** Buckets per doubling: what is read is at most 1 / 32 above what was recorded. */
const STEPS = 32;
const STEP_BITS = 5;
const MICROSECONDS_MAX = 2 ** 31 - 1;
const BUCKETS = STEPS * (31 - STEP_BITS + 1);

/**
 * The 99th percentile of the latencies of the span before this one, five seconds or a thousand latencies, whichever is
 * longer. It forgets what was before that, so that it follows a load or a store that changes.
 */
export class RecentP99 {
  readonly #counts = new Uint32Array(BUCKETS);
  #count = 0;
  #sinceMs: number | undefined;
  #p99: number | undefined;

  /** In milliseconds; undefined until the first span is over. */
  get value(): number | undefined {
    return this.#p99;
  }

  /** Adds a latency in milliseconds. A few nanoseconds: the writes of a batch are all added. */
  record(latencyMs: number): void {
    const bucket = bucketOf(latencyMs);
    this.#counts[bucket] = this.#counts[bucket]! + 1;
    this.#count++;
  }

  /** Begins a new span if this one is over, and says so. `nowMs` is the monotonic clock's time. */
  turn(nowMs: number): boolean {
    this.#sinceMs ??= nowMs;
    if (this.#count < SPAN_COUNT_MIN || nowMs - this.#sinceMs < SPAN_MS) return false;
    this.#p99 = this.#percentile();
    this.#counts.fill(0);
    this.#count = 0;
    this.#sinceMs = nowMs;
    return true;
  }

  #percentile(): number {
    let above = this.#count * (1 - SHARE);
    let bucket = BUCKETS - 1;
    for (; bucket > 0; bucket--) {
      above -= this.#counts[bucket]!;
      if (above < 0) break;
    }
    return upperMs(bucket);
  }
}

/** Up to 64 µs a bucket each; from there on 32 to a doubling. */
function bucketOf(latencyMs: number): number {
  const microseconds = Math.min(MICROSECONDS_MAX, Math.max(0, latencyMs * 1000)) | 0;
  if (microseconds < STEPS) return microseconds;
  const shift = 31 - STEP_BITS - Math.clz32(microseconds);
  return STEPS * shift + (microseconds >>> shift);
}

function upperMs(bucket: number): number {
  if (bucket < STEPS) return (bucket + 1) / 1000;
  const shift = Math.floor(bucket / STEPS) - 1;
  return ((bucket - STEPS * shift + 1) * 2 ** shift) / 1000;
}
