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

/** Undefined when the server doesn't tell. */
export async function slowWriteTotals(host: string, port: number): Promise<SlowWriteTotals | undefined> {
  try {
    const answer = await fetch(`http://${host}:${port}/metrics`, { signal: AbortSignal.timeout(5000) });
    return totalsIn(await answer.text());
  } catch {
    // No HTTP page there.
    return undefined;
  }
}

/** Of what `/metrics` says; undefined when it isn't netsy's. */
export function totalsIn(text: string): SlowWriteTotals | undefined {
  const writes = new RegExp(`^${WRITES} (\\S+)$`, 'm').exec(text)?.[1];
  if (writes === undefined) return undefined;
  const byLabel = (name: string): Record<string, number> =>
    Object.fromEntries(
      [...text.matchAll(new RegExp(`^${name}\\{\\w+="(\\w+)"\\} (\\S+)$`, 'gm'))].map(([, label, value]) => [
        label!,
        Number(value),
      ]),
    );
  return { writes: Number(writes), seconds: byLabel(SECONDS), requests: byLabel(REQUESTS) };
}

/** Of the writes between two looks; undefined when none was slow. */
export function slowWritesBetween(
  before: SlowWriteTotals,
  after: SlowWriteTotals | undefined,
): SlowWrites | undefined {
  if (after === undefined || after.writes <= before.writes) return undefined;
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
