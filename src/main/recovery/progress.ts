import type { Clock } from '../../shared/base/clock.ts';
import type { Log } from '../../shared/base/log.ts';

const EVERY_MS = 2000;

/** How far something has come. */
export interface Amount {
  readonly records: number;
  readonly bytes: number;
  /** Of `bytes`, if it is known. */
  readonly bytesTotal: number | undefined;
}

/** Says every two seconds how far a long work has come, and when it will end. */
export class Progress {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #what: string;
  readonly #begunMs: number;
  #shownMs: number;

  constructor(clock: Clock, log: Log, what: string) {
    this.#clock = clock;
    this.#log = log;
    this.#what = what;
    this.#begunMs = clock.monotonicMs();
    this.#shownMs = this.#begunMs;
  }

  /** Since the start, in milliseconds. */
  get elapsedMs(): number {
    return Math.round(this.#clock.monotonicMs() - this.#begunMs);
  }

  /** Calls `amount` only when it is time to say something. */
  update(amount: () => Amount): void {
    const now = this.#clock.monotonicMs();
    if (now - this.#shownMs < EVERY_MS) return;
    this.#shownMs = now;
    const { records, bytes, bytesTotal } = amount();
    const seconds = (now - this.#begunMs) / 1000;
    const left =
      bytesTotal === undefined ? {} : { bytesTotal, secondsLeft: secondsLeft(seconds, bytes, bytesTotal) };
    this.#log.info(this.#what, { records, bytes, ...left, recordsPerSecond: Math.round(records / seconds) });
  }
}

function secondsLeft(seconds: number, bytes: number, bytesTotal: number): number | undefined {
  return bytes === 0 ? undefined : Math.ceil((seconds * Math.max(0, bytesTotal - bytes)) / bytes);
}
