import { samplesIn } from './server-metrics.ts';

/**
 * Where netsy says that the time of its slow writes went (`--slow-write-log`; by default those slower than p99), from
 * its metrics.
 */

const SECONDS = 'netsy_slow_write_seconds_total';
const REQUESTS = 'netsy_slow_write_store_requests_total';
const WRITES = 'netsy_slow_writes_total';

/** Counters since the server's start. */
export interface SlowWriteTotals {
  readonly writes: number;
  readonly seconds: Readonly<Record<string, number>>;
  readonly requests: Readonly<Record<string, number>>;
}

/** The slow writes of one phase. */
export interface SlowWrites {
  readonly writes: number;
  /** On the mean, in milliseconds, in their order; together they are the mean latency. */
  readonly stagesMs: Readonly<Record<string, number>>;
  /** Requests to the store per upload, on the mean over the writes: put, hedge, readback. */
  readonly requests: Readonly<Record<string, number>>;
}

/** Of what `/metrics` says; undefined when it isn't netsy's. */
export function totalsIn(text: string): SlowWriteTotals | undefined {
  const [writes] = samplesIn(text, WRITES);
  if (writes === undefined) return undefined;
  const byLabel = (name: string, label: string): Record<string, number> =>
    Object.fromEntries(samplesIn(text, name).map(({ labels, value }) => [labels[label]!, value]));
  return { writes: writes.value, seconds: byLabel(SECONDS, 'stage'), requests: byLabel(REQUESTS, 'request') };
}

/** Of the writes between two looks; undefined when none was slow. */
export function slowWritesBetween(
  before: SlowWriteTotals | undefined,
  after: SlowWriteTotals | undefined,
): SlowWrites | undefined {
  if (before === undefined || after === undefined || after.writes <= before.writes) return undefined;
  const writes = after.writes - before.writes;
  const means = (
    all: Readonly<Record<string, number>>,
    had: Readonly<Record<string, number>>,
    times: number,
  ): Record<string, number> =>
    Object.fromEntries(
      Object.entries(all).map(([name, total]) => [name, (times * (total - (had[name] ?? 0))) / writes]),
    );
  return {
    writes,
    stagesMs: means(after.seconds, before.seconds, 1000),
    requests: means(after.requests, before.requests, 1),
  };
}
