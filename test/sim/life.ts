import type { Clock, Timer } from '../../src/shared/base/clock.ts';
import { sleepBy } from '../support/clock.ts';
import type { Scheduler } from './scheduler.ts';

/** Of timers, for rounding. */
const TOLERANCE_MS = 0.001;

/** How a process's clocks go: its monotonic clock began elsewhere and runs at its own speed. */
export interface ClockSkew {
  readonly monotonicOffsetMs: number;
  readonly wallOffsetMs: number;
  /** Of both, against the world's time. */
  readonly speed: number;
}

/**
 * One run of a process, from its start to its end. All that reaches it (timers, answers of the store and of its
 * workers, calls of clients) passes `after`: nothing happens in it while it is stopped, nor once it is dead.
 */
export class Life {
  readonly name: string;
  readonly clock: Clock;
  readonly scheduler: Scheduler;
  /** Asked before and after each event, by its kind: whether the process dies there. */
  crashesAt: (kind: string, moment: 'before' | 'after') => boolean = () => false;
  /** Why the process has ended; undefined while it lives. */
  endedBy: string | undefined;
  readonly #onEnd: (() => void)[] = [];
  /** Since when it is stopped, in the world's time. */
  #stoppedMs: number | undefined;
  /** Time that its clocks have not counted. */
  #uncountedMs = 0;
  #isFrozen = false;
  readonly #waiting: (() => void | Promise<void>)[] = [];

  constructor(name: string, scheduler: Scheduler, skew: ClockSkew) {
    this.name = name;
    this.scheduler = scheduler;
    this.clock = new LifeClock(this, skew);
  }

  get isAlive(): boolean {
    return this.endedBy === undefined;
  }

  get isStopped(): boolean {
    return this.#stoppedMs !== undefined;
  }

  /** The world's time as far as its clocks count it. */
  get countedMs(): number {
    const untilMs = this.#isFrozen ? this.#stoppedMs! : this.scheduler.nowMs;
    return untilMs - this.#uncountedMs;
  }

  /** Runs `action` in this process after `delayMs` of the world's time. */
  after(delayMs: number, kind: string, action: () => void | Promise<void>): Timer {
    return this.scheduler.after(delayMs, `${this.name} ${kind}`, () => this.#run(kind, action));
  }

  /** SIGSTOP: time goes on, the process does not. If it `freezes`, as a virtual machine does, its clocks do not either. */
  stop(freezes = false): void {
    this.#stoppedMs = this.scheduler.nowMs;
    this.#isFrozen = freezes;
  }

  /** SIGCONT: what has come meanwhile happens now, in its order. */
  continue(): void {
    if (this.#isFrozen) this.#uncountedMs += this.scheduler.nowMs - this.#stoppedMs!;
    this.#isFrozen = false;
    this.#stoppedMs = undefined;
    for (const action of this.#waiting.splice(0)) {
      this.scheduler.after(0, `${this.name} continued`, action);
    }
  }

  /** Nothing happens in it any more. What it has sent has its effect, or will have. */
  end(reason: string): void {
    if (!this.isAlive) return;
    this.endedBy = reason;
    this.#waiting.length = 0;
    for (const action of this.#onEnd.splice(0)) action();
  }

  /** Calls `action` when the process has ended, however. */
  onEnd(action: () => void): void {
    if (this.isAlive) this.#onEnd.push(action);
    else action();
  }

  #run(kind: string, action: () => void | Promise<void>): void | Promise<void> {
    if (!this.isAlive) return undefined;
    if (this.isStopped) {
      this.#waiting.push(() => this.#run(kind, action));
      return undefined;
    }
    if (this.crashesAt(kind, 'before')) {
      this.end('crash');
      return undefined;
    }
    const done = action();
    if (done === undefined) return this.#afterwards(kind);
    return done.then(() => this.#afterwards(kind));
  }

  #afterwards(kind: string): void {
    if (this.isAlive && this.crashesAt(kind, 'after')) this.end('crash');
  }
}

class LifeClock implements Clock {
  readonly #life: Life;
  readonly #skew: ClockSkew;

  constructor(life: Life, skew: ClockSkew) {
    this.#life = life;
    this.#skew = skew;
  }

  wallMs(): number {
    return Math.floor(1_700_000_000_000 + this.#skew.wallOffsetMs + this.#passedMs);
  }

  monotonicMs(): number {
    return this.#skew.monotonicOffsetMs + this.#passedMs;
  }

  after(delayMs: number, action: () => void): Timer {
    const dueMs = this.#life.countedMs + Math.max(0, delayMs) / this.#skew.speed;
    let timer: Timer;
    const fire = (): void => {
      const leftMs = dueMs - this.#life.countedMs;
      // What was waited while the clock stood still was not waited.
      if (leftMs > TOLERANCE_MS) timer = this.#life.after(leftMs, 'timer', fire);
      else action();
    };
    timer = this.#life.after(dueMs - this.#life.countedMs, 'timer', fire);
    return { cancel: () => timer.cancel() };
  }

  soon(action: () => void): void {
    this.#life.after(0, 'turn', action);
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return sleepBy(this, delayMs, signal);
  }

  get #passedMs(): number {
    return this.#life.countedMs * this.#skew.speed;
  }
}
