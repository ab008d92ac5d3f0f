import type { Clock } from '../../src/shared/base/clock.ts';
import type { Done } from '../grpc/connection.ts';
import { Latencies } from '../measure/latency.ts';
import type { Operation, Workload } from './workload.ts';

/** Where calls go; `Connection` is one. */
export interface Target {
  unary(method: string, message: Uint8Array, done: Done): void;
}

/** `rate` requests per second whatever the server does, or `inFlight` requests at any time. */
export type Pace = { readonly rate: number } | { readonly inFlight: number };

export interface PhaseSettings {
  readonly pace: Pace;
  readonly warmupMs: number;
  readonly measureMs: number;
  /** How long to wait for answers after the last request; what is still missing is an error. */
  readonly drainMs: number;
}

export interface PhaseOutcome {
  /** Answers that came, and were right, within the measured window. */
  readonly completedInWindow: number;
  readonly windowMs: number;
  /** Wrong, failed and missing answers by what was wrong, over the whole phase. */
  readonly errors: ReadonlyMap<string, number>;
  /**
   * Open loop: from when a request was due to its answer, for each request due in the window.
   * Closed loop: from when it was sent, for each answered in the window.
   */
  readonly latencies: Latencies;
  /** How much later than due the generator sent, which is its own fault and not the server's. */
  readonly lateness: Latencies;
}

/** Waits after an error, so that a broken server is not asked again without end. */
const errorPauseMs = 10;

/**
 * Drives one phase. In the open loop a request that can't be sent yet keeps the time at which it
 * was due: a server that stalls makes every request late that it held up, not only the first.
 *
 * Invariants: a request is recorded at most once; `pending` holds those sent and not answered.
 */
export class Generator {
  private readonly clock: Clock;
  private readonly targets: readonly Target[];
  private readonly workload: Workload;
  private readonly settings: PhaseSettings;
  private readonly latencies = new Latencies();
  private readonly lateness = new Latencies();
  private readonly errors = new Map<string, number>();
  /** Due times of the requests that were sent and not answered. */
  private readonly pending = new Map<number, number>();
  private readonly windowStartMs: number;
  private readonly windowEndMs: number;
  private completedInWindow = 0;
  private sent = 0;
  private wakeDrain: () => void = () => {};

  constructor(clock: Clock, targets: readonly Target[], workload: Workload, settings: PhaseSettings) {
    this.clock = clock;
    this.targets = targets;
    this.workload = workload;
    this.settings = settings;
    this.windowStartMs = clock.monotonicMs() + settings.warmupMs;
    this.windowEndMs = this.windowStartMs + settings.measureMs;
  }

  /** Resolves when all is answered, or `drainMs` after the last request. Never rejects. */
  async run(): Promise<PhaseOutcome> {
    const { pace } = this.settings;
    if ('rate' in pace) await this.openLoop(pace.rate);
    else await this.closedLoop(pace.inFlight);
    await this.drain();
    return {
      completedInWindow: this.completedInWindow,
      windowMs: this.settings.measureMs,
      errors: this.errors,
      latencies: this.latencies,
      lateness: this.lateness,
    };
  }

  private openLoop(rate: number): Promise<void> {
    const startMs = this.clock.monotonicMs();
    const total = Math.floor(((this.windowEndMs - startMs) * rate) / 1000);
    let next = 0;
    return new Promise((resolve) => {
      const tick = (): void => {
        const nowMs = this.clock.monotonicMs();
        for (; next < total; next++) {
          const dueMs = startMs + (next * 1000) / rate;
          if (dueMs > nowMs) break;
          const operation = this.workload.next();
          if (!operation) break;
          this.send(operation, dueMs, () => {});
        }
        // A workload without a free key must not keep the phase from its end.
        const givenUp = nowMs > this.windowEndMs + this.settings.drainMs;
        for (; givenUp && next < total; next++)
          this.missing(startMs + (next * 1000) / rate, 'request never sent');
        if (next < total) this.clock.after(1, tick);
        else resolve();
      };
      tick();
    });
  }

  private async closedLoop(inFlight: number): Promise<void> {
    const again = (failed: boolean): void => {
      if (this.clock.monotonicMs() >= this.windowEndMs) return;
      const operation = failed ? undefined : this.workload.next();
      if (operation) this.send(operation, this.clock.monotonicMs(), again);
      else this.clock.after(errorPauseMs, () => again(false));
    };
    for (let started = 0; started < inFlight; started++) again(false);
    await this.clock.sleep(this.windowEndMs - this.clock.monotonicMs());
  }

  private send(operation: Operation, dueMs: number, then: (failed: boolean) => void): void {
    const id = this.sent++;
    const target = this.targets[id % this.targets.length]!;
    this.pending.set(id, dueMs);
    if (this.inWindow(dueMs)) this.lateness.record(this.clock.monotonicMs() - dueMs);
    target.unary(operation.method, operation.message, (error, message) => {
      // After the drain the request was counted as missing, and its answer is of no use; but the
      // workload must hear of it, because it may have been a write.
      const wrong = operation.settle(error, message);
      if (!this.pending.delete(id)) return;
      this.record(dueMs, wrong);
      then(wrong !== undefined);
      if (this.pending.size === 0) this.wakeDrain();
    });
  }

  private record(dueMs: number, wrong: string | undefined): void {
    const nowMs = this.clock.monotonicMs();
    if (wrong !== undefined) this.errors.set(wrong, (this.errors.get(wrong) ?? 0) + 1);
    else if (this.inWindow(nowMs)) this.completedInWindow++;
    const counted = 'rate' in this.settings.pace ? dueMs : nowMs;
    if (this.inWindow(counted)) this.latencies.record(nowMs - dueMs);
  }

  private inWindow(timeMs: number): boolean {
    return timeMs >= this.windowStartMs && timeMs < this.windowEndMs;
  }

  private async drain(): Promise<void> {
    if (this.pending.size > 0) {
      const given = new AbortController();
      this.wakeDrain = () => given.abort();
      await this.clock.sleep(this.settings.drainMs, given.signal);
    }
    for (const dueMs of this.pending.values()) this.missing(dueMs, 'no answer');
    this.pending.clear();
  }

  /** A request that was never answered is at least as slow as the time it had. */
  private missing(dueMs: number, what: string): void {
    this.errors.set(what, (this.errors.get(what) ?? 0) + 1);
    if (this.inWindow(dueMs)) this.latencies.record(this.clock.monotonicMs() - dueMs);
  }
}
