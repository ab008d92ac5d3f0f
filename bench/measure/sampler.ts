import { usageOf } from './resources.ts';

/** CPU and memory of one part (server, store, load) over time, one entry per sample. */
export interface Series {
  readonly name: string;
  /** Seconds since the start of the run. */
  readonly atSeconds: number[];
  /** CPU seconds per second since the sample before. */
  readonly cores: number[];
  readonly residentMiB: number[];
}

interface Part {
  readonly series: Series;
  readonly pids: readonly number[];
  lastCpuSeconds: number;
  lastAtMs: number;
}

/** Looks at the processes of a run once a second. */
export class Sampler {
  private readonly startMs = performance.now();
  private readonly timer: NodeJS.Timeout;
  private parts: Part[] = [];

  constructor(everyMs: number) {
    this.timer = setInterval(() => this.sample(), everyMs);
  }

  /** From now on these processes belong to the run too. */
  add(name: string, pids: readonly number[]): void {
    const series = { name, atSeconds: [], cores: [], residentMiB: [] };
    const part = { series, pids, lastCpuSeconds: cpuOf(pids), lastAtMs: performance.now() };
    this.parts = [...this.parts, part];
  }

  seconds(): number {
    return (performance.now() - this.startMs) / 1000;
  }

  /** What each part last used, for those who wait: `server 0.85 cores 210 MiB, load …`. */
  latest(): string {
    return this.parts
      .filter(({ series }) => series.cores.length > 0)
      .map(
        ({ series: { name, cores, residentMiB } }) =>
          `${name} ${cores.at(-1)!.toFixed(2)} cores ${residentMiB.at(-1)!.toFixed(0)} MiB`,
      )
      .join(', ');
  }

  stop(): readonly Series[] {
    clearInterval(this.timer);
    return this.parts.map(({ series }) => series);
  }

  private sample(): void {
    for (const part of this.parts) {
      const nowMs = performance.now();
      const usages = part.pids.map(usageOf).filter((usage) => usage !== undefined);
      if (usages.length < part.pids.length) continue;
      const cpuSeconds = usages.reduce((sum, usage) => sum + usage.cpuSeconds, 0);
      part.series.atSeconds.push(this.seconds());
      part.series.cores.push((cpuSeconds - part.lastCpuSeconds) / ((nowMs - part.lastAtMs) / 1000));
      part.series.residentMiB.push(usages.reduce((sum, usage) => sum + (usage.residentMiB ?? 0), 0));
      part.lastCpuSeconds = cpuSeconds;
      part.lastAtMs = nowMs;
    }
  }
}

function cpuOf(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + (usageOf(pid)?.cpuSeconds ?? 0), 0);
}
