import { systemClock } from '../../src/shared/base/clock.ts';

const PROGRESS_EVERY_MS = 10_000;

/** Prints each step of the scenarios as it ends, and counts. */
export class Report {
  #passed = 0;
  #failed = 0;
  readonly #startMs = systemClock.monotonicMs();

  get failed(): number {
    return this.#failed;
  }

  heading(text: string): void {
    console.log(`\n== ${text}`);
  }

  /**
   * Runs one step and prints how it ended, with the figures that it returns. While it runs, `progress` is
   * printed every ten seconds. Rethrows what the step throws, once it is printed and counted.
   */
  async step(name: string, run: () => Promise<string>, progress?: () => string): Promise<void> {
    await this.#run(name, run, (figures) => figures, progress);
  }

  /** The same for a step that starts something, which it returns. */
  start<T extends { readonly description: string }>(name: string, run: () => Promise<T>): Promise<T> {
    return this.#run(name, run, (started) => started.description);
  }

  async #run<T>(
    name: string,
    run: () => Promise<T>,
    figuresOf: (value: T) => string,
    progress?: () => string,
  ): Promise<T> {
    const startMs = systemClock.monotonicMs();
    const printed = new AbortController();
    if (progress !== undefined) void this.#printProgress(progress, startMs, printed.signal);
    try {
      const value = await run();
      this.#passed += 1;
      const figures = figuresOf(value);
      console.log(`ok    ${secondsSince(startMs)}  ${name}${figures === '' ? '' : `: ${figures}`}`);
      return value;
    } catch (error) {
      this.fail(name, error, startMs);
      throw error;
    } finally {
      printed.abort();
    }
  }

  /** Counts and prints a failure that is no step's own. */
  fail(name: string, error: unknown, startMs = this.#startMs): void {
    this.#failed += 1;
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    console.log(`FAIL  ${secondsSince(startMs)}  ${name}\n${text.replaceAll(/^/gm, '      ')}`);
  }

  async #printProgress(progress: () => string, startMs: number, signal: AbortSignal): Promise<void> {
    for (;;) {
      await systemClock.sleep(PROGRESS_EVERY_MS, signal);
      if (signal.aborted) return;
      console.log(`  …   ${secondsSince(startMs)}  ${progress()}`);
    }
  }

  /** The last line: what all of it came to. */
  summary(): string {
    const verdict = this.#failed === 0 ? 'PASSED' : 'FAILED';
    return `${verdict}: ${this.#passed} steps passed, ${this.#failed} failed, ${secondsSince(this.#startMs).trim()}`;
  }
}

function secondsSince(startMs: number): string {
  return `${((systemClock.monotonicMs() - startMs) / 1000).toFixed(1).padStart(6)} s`;
}

/** `count` per second since `startMs` of the monotonic clock, for a report. */
export function rate(count: number, startMs: number): string {
  const seconds = (systemClock.monotonicMs() - startMs) / 1000;
  return `${Math.round(count / Math.max(seconds, 0.001))}/s`;
}

/** Median and 99th percentile of durations in milliseconds, for a report. */
export function percentiles(durationsMs: readonly number[]): string {
  if (durationsMs.length === 0) return 'none';
  const sorted = durationsMs.toSorted((a, b) => a - b);
  const at = (part: number): string => {
    const value = sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
    return `${value.toFixed(1)} ms`;
  };
  return `median ${at(0.5)}, p99 ${at(0.99)}`;
}
