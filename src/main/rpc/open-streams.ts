import { EtcdError, GrpcCode, RefusedError } from '../../shared/etcd/errors.ts';
import { type DuplexCall, failStream, type StreamingCall } from './service.ts';

type OpenCall = StreamingCall | DuplexCall;

/**
 * The streaming calls that are open: watches, lease keep-alives, snapshots and the like, of all connections. They cost
 * memory for as long as their client likes, so there is a most of them; and a server that stops has to end them.
 */
export class OpenStreams {
  readonly #max: number;
  readonly #calls = new Set<OpenCall>();
  #stopped = false;

  constructor(max: number) {
    this.#max = max;
  }

  get count(): number {
    return this.#calls.size;
  }

  /** Counts a call until it closes; or the error that refuses it. */
  admit(call: OpenCall): Error | undefined {
    if (this.#stopped) return new EtcdError('Stopped');
    if (this.#calls.size >= this.#max) return tooMany(this.#max);
    this.#calls.add(call);
    call.once('close', () => this.#calls.delete(call));
    return undefined;
  }

  /** Ends what is open with `etcdserver: server stopped` (UNAVAILABLE): etcd's clients go on with it elsewhere. */
  stop(): void {
    this.#stopped = true;
    for (const call of [...this.#calls]) failStream(call, new EtcdError('Stopped'));
  }
}

/** UNAVAILABLE, as etcd's clients try again then; after another code they would let leases and watches go. */
function tooMany(max: number): Error {
  return new RefusedError(GrpcCode.Unavailable, `netsy: ${max} streams are open; see --max-streams`);
}
