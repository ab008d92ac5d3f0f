import type { Clock } from '../../shared/base/clock.ts';
import { errorMessage } from '../../shared/base/errors.ts';
import type { Log } from '../../shared/base/log.ts';
import type { LogPosition } from '../../workers/contract/writer.ts';
import { StoreError } from '../store/errors.ts';
import type { PrimaryLease } from './primary-lease.ts';

/** How often a standby looks at the lease; so long may a released one go unnoticed. */
const LOOK_MS_MAX = 1_000;
const LOOKS_PER_TTL = 10;
/** How soon the log is asked again after something came; twice as long each time nothing has. */
const FOLLOW_MS_MIN = 50;
const FOLLOW_MS_MAX = 1_000;
/** So many looks in a row find nothing though the primary says that there is something: then the log is listed. */
const MISSES_MAX = 5;

export interface StandbyParts {
  readonly clock: Clock;
  readonly log: Log;
  readonly lease: Pick<PrimaryLease, 'look' | 'tryAcquire' | 'holder'>;
  readonly leaseTtlMs: number;
  /** Looks once for what came after a position, and applies it (`Follower.step`). */
  follow(position: LogPosition): Promise<LogPosition>;
  /** Follows the log to its end by a list, which tells when chunks are missing in it. */
  catchUp(position: LogPosition): Promise<LogPosition>;
}

/**
 * A process that waits for the primary's lease and follows the log meanwhile. While nothing happens that costs one
 * GET for the lease and one for the log a second. A store that fails is asked again for as long as it takes.
 */
export class Standby {
  readonly #parts: StandbyParts;
  readonly #stop = new AbortController();
  #trouble: string | undefined;

  constructor(parts: StandbyParts) {
    this.#parts = parts;
  }

  /**
   * Resolves when this process has the lease, with the position up to which the log is followed (not to its end);
   * with undefined after `stop`. Rejects when the log can't be followed.
   */
  async run(from: LogPosition): Promise<LogPosition | undefined> {
    const following = new AbortController();
    const followed = this.#follow(from, following.signal);
    // Ends the waiting too; what went wrong is thrown below.
    followed.catch(() => this.#stop.abort());
    const acquired = await this.#acquire();
    following.abort();
    const position = await followed;
    this.#trouble = undefined;
    return acquired ? position : undefined;
  }

  /** Why the store can't be read, while it can't be. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /** Ends `run` soon. */
  stop(): void {
    this.#stop.abort();
  }

  async #acquire(): Promise<boolean> {
    const { clock, lease, leaseTtlMs } = this.#parts;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const acquired = await this.#trying(false, async () => {
        await lease.look();
        return lease.tryAcquire();
      });
      if (acquired) return true;
      await clock.sleep(Math.min(LOOK_MS_MAX, leaseTtlMs / LOOKS_PER_TTL), signal);
    }
    return false;
  }

  async #follow(from: LogPosition, acquired: AbortSignal): Promise<LogPosition> {
    const { clock, follow, catchUp } = this.#parts;
    const signal = AbortSignal.any([acquired, this.#stop.signal]);
    let position = from;
    let pauseMs = FOLLOW_MS_MIN;
    let misses = 0;
    while (!signal.aborted) {
      const before = position;
      const look = misses < MISSES_MAX ? follow : catchUp;
      position = await this.#trying(before, () => look(before));
      misses = this.#isBehind(before) && position === before ? misses + 1 : 0;
      if (position.sequence > before.sequence) pauseMs = FOLLOW_MS_MIN;
      else {
        await clock.sleep(pauseMs, signal);
        pauseMs = Math.min(FOLLOW_MS_MAX, pauseMs * 2);
      }
    }
    return position;
  }

  #isBehind({ nextSequence }: LogPosition): boolean {
    return (this.#parts.lease.holder?.sequence ?? 0) >= nextSequence;
  }

  /** Does what the store may refuse for now; `otherwise` is the answer then. */
  async #trying<T>(otherwise: T, action: () => Promise<T>): Promise<T> {
    const { log } = this.#parts;
    try {
      const answer = await action();
      if (this.#trouble !== undefined) log.info('the store answers the standby again');
      this.#trouble = undefined;
      return answer;
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      const message = errorMessage(error);
      if (this.#trouble === undefined) log.warn('the store fails the standby', { error: message });
      this.#trouble = message;
      return otherwise;
    }
  }
}
