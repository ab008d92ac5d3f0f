import { type AuthInfo, NOBODY } from '../../shared/auth/state.ts';
import { EtcdError, type EtcdErrorName } from '../../shared/etcd/errors.ts';
import type { WatchRequest } from '../../shared/etcd/requests.ts';
import type { WatchStream } from '../watch/stream.ts';
import type { Caller } from './caller.ts';
import type { Guard } from './guard.ts';

/** The smallest key: what an empty key of a watch stands for. */
const SMALLEST_KEY = Uint8Array.of(0);

/** etcd's reasons of refused watches (its v3rpc/watch.go) are gRPC errors as Go prints them. */
const REASONS: Partial<Record<EtcdErrorName, string>> = {
  InvalidAuthToken: 'Unauthenticated',
  AuthOldRevision: 'InvalidArgument',
  UserEmpty: 'InvalidArgument',
};

/**
 * Gives one call's requests to its stream in their order; while auth is enabled, those that begin a watch only when
 * their caller may read its keys.
 */
export class WatchRequests {
  readonly #stream: WatchStream;
  readonly #guard: Guard;
  readonly #caller: Caller;
  /** What came while it was asked who calls. */
  readonly #waiting: WatchRequest[] = [];
  #asking = false;
  #passing = false;

  constructor(stream: WatchStream, guard: Guard, caller: Caller) {
    this.#stream = stream;
    this.#guard = guard;
    this.#caller = caller;
  }

  /** Takes the next request. */
  take(request: WatchRequest): void {
    this.#waiting.push(request);
    this.#pass();
  }

  #pass(): void {
    if (this.#passing) return;
    this.#passing = true;
    while (!this.#asking) {
      const request = this.#waiting.shift();
      if (request === undefined) break;
      // etcd refuses a negative revision before it asks who calls, and so does the stream.
      const asks = request.kind === 'create' && request.create.startRevision >= 0;
      if (asks && this.#guard.enabled) this.#ask(request);
      else this.#stream.request(request);
    }
    this.#passing = false;
  }

  #ask(request: WatchRequest): void {
    this.#asking = true;
    const settle = (error: Error | undefined): void => {
      this.#asking = false;
      if (error === undefined) this.#stream.request(request);
      else this.#stream.refuse(reasonOf(error));
      this.#pass();
    };
    this.#guard.identify(this.#caller, settle, (info) => settle(this.#refusal(info ?? NOBODY, request)));
  }

  #refusal(info: AuthInfo, request: WatchRequest): Error | undefined {
    if (request.kind !== 'create') return undefined;
    const { key, rangeEnd } = request.create;
    try {
      this.#guard.state.checkRead(info, { key: key.length === 0 ? SMALLEST_KEY : key, rangeEnd });
      return undefined;
    } catch (error) {
      return error as Error;
    }
  }
}

function reasonOf(error: Error): string {
  if (!(error instanceof EtcdError)) throw error;
  const code = REASONS[error.kind];
  if (code !== undefined) return `rpc error: code = ${code} desc = ${error.message}`;
  return `rpc error: code = PermissionDenied desc = ${new EtcdError('PermissionDenied').message}`;
}
