import type { Clock } from '../../shared/base/clock.ts';
import { EtcdError } from '../../shared/etcd/errors.ts';
import type { DuplexCall, UnaryCall } from './service.ts';
import { callFailure } from './status.ts';

/** etcd's metadata of a call that is only to be served by a member that has a leader (clientv3.WithRequireLeader). */
const KEY = 'hasleader';
const REQUIRED = 'true';
/** As etcd, which lets three election timeouts pass: a takeover need not end streams. */
const LEADERLESS_MS_MAX = 3_000;

/** Refuses calls that require a leader while there is none, and ends their streams, as etcd's interceptors do. */
export class LeaderRequirement {
  readonly #exists: () => boolean;
  readonly #clock: Clock;
  readonly #streams = new Set<DuplexCall>();
  #leaderlessSinceMs: number | undefined;

  constructor(clock: Clock, exists: () => boolean) {
    this.#clock = clock;
    this.#exists = exists;
  }

  /** The error of a call that can't be served now. */
  refusal(call: Pick<UnaryCall, 'metadata'>): EtcdError | undefined {
    if (this.#exists() || !isRequired(call)) return undefined;
    return new EtcdError('NoLeader');
  }

  /** Takes care of a stream that was not refused. */
  watch(call: DuplexCall): void {
    if (!isRequired(call)) return;
    this.#streams.add(call);
    call.once('close', () => this.#streams.delete(call));
  }

  /** Ends the streams that require a leader when there has been none for a while; called from time to time. */
  sweep(): void {
    const now = this.#clock.monotonicMs();
    if (this.#exists()) this.#leaderlessSinceMs = undefined;
    else this.#leaderlessSinceMs ??= now;
    if (this.#leaderlessSinceMs === undefined || now - this.#leaderlessSinceMs < LEADERLESS_MS_MAX) return;
    for (const call of this.#streams) call.emit('error', callFailure(new EtcdError('NoLeader')));
    this.#streams.clear();
  }
}

function isRequired({ metadata }: Pick<UnaryCall, 'metadata'>): boolean {
  return metadata.get(KEY)[0] === REQUIRED;
}
