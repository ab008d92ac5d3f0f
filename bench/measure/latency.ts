import {
  build,
  decodeFromCompressedBase64,
  encodeIntoCompressedBase64,
  type Histogram,
} from 'hdr-histogram-js';

/** What a histogram says, in milliseconds. */
export interface LatencySummary {
  readonly count: number;
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
}

/** Latencies in microseconds, from 1 µs to an hour, to three significant digits. */
export class Latencies {
  private readonly histogram: Histogram;

  constructor(histogram?: Histogram) {
    this.histogram =
      histogram ??
      build({
        bitBucketSize: 32,
        lowestDiscernibleValue: 1,
        highestTrackableValue: 3_600_000_000,
        numberOfSignificantValueDigits: 3,
      });
  }

  /** The reverse of `encode`. */
  static decode(text: string): Latencies {
    return new Latencies(decodeFromCompressedBase64(text, 32, false));
  }

  record(milliseconds: number): void {
    this.histogram.recordValue(Math.min(3_600_000_000, Math.max(1, Math.round(milliseconds * 1000))));
  }

  /** Adds all of `other`'s values. */
  merge(other: Latencies): void {
    this.histogram.add(other.histogram);
  }

  reset(): void {
    this.histogram.reset();
  }

  /** HdrHistogram's own compressed form, which other tools read. */
  encode(): string {
    return encodeIntoCompressedBase64(this.histogram);
  }

  get count(): number {
    return this.histogram.totalCount;
  }

  /** Milliseconds at a share from 0 to 1. */
  at(share: number): number {
    return this.histogram.getValueAtPercentile(share * 100) / 1000;
  }

  summary(): LatencySummary {
    const at = (percentile: number): number => this.histogram.getValueAtPercentile(percentile) / 1000;
    return {
      count: this.histogram.totalCount,
      p50Ms: at(50),
      p90Ms: at(90),
      p99Ms: at(99),
      p999Ms: at(99.9),
      maxMs: this.histogram.totalCount === 0 ? 0 : this.histogram.maxValue / 1000,
    };
  }
}
