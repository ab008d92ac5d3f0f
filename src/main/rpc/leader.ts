import { EtcdError } from '../../shared/etcd/errors.ts';
import type { DuplexCall, UnaryCall } from './service.ts';
import { callFailure } from './status.ts';

/** etcd's metadata of a call that is only to be served by a member that has a leader (clientv3.WithRequireLeader). */
const KEY = 'hasleader';
const REQUIRED = 'true';

/** Refuses calls that require a leader while there is none, and ends their streams, as etcd's interceptors do. */
export class LeaderRequirement {
  readonly #exists: () => boolean;
  readonly #streams = new Set<DuplexCall>();

  constructor(exists: () => boolean) {
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

  /** Ends the streams that require a leader when there is none; called from time to time. */
  sweep(): void {
    if (this.#streams.size === 0 || this.#exists()) return;
    for (const call of this.#streams) call.emit('error', callFailure(new EtcdError('NoLeader')));
    this.#streams.clear();
  }
}

function isRequired({ metadata }: Pick<UnaryCall, 'metadata'>): boolean {
  return metadata.get(KEY)[0] === REQUIRED;
}
