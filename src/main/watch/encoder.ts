import type { WatchResponseFields } from '../../shared/etcd/responses.ts';
import { encodeWatchResponse, HeaderEncoder } from '../../shared/etcd/responses.ts';

/** What response headers say of this member. */
export interface HeaderIdentity {
  clusterId: bigint;
  memberId: bigint;
  raftTerm(): number;
}

/**
 * Encodes watch responses. A batch goes to many watchers: they share the header and the bytes of the
 * events, so what is made for one watcher is a few bytes and one copy.
 */
export class WatchResponseEncoder {
  readonly #identity: HeaderIdentity;
  readonly #headers: HeaderEncoder;
  #header: Uint8Array = new Uint8Array(0);
  #headerRevision = -1;
  #headerTerm = -1;

  constructor(identity: HeaderIdentity) {
    this.#identity = identity;
    this.#headers = new HeaderEncoder(identity.clusterId, identity.memberId);
  }

  /** A response without events. */
  control(revision: number, fields: WatchResponseFields): Uint8Array {
    return encodeWatchResponse(this.#headerAt(revision), fields);
  }

  /** A response with events; `section` is its encoded `events` fields. */
  events(revision: number, watchId: number, section: Uint8Array, fragment: boolean): Uint8Array {
    const start = encodeWatchResponse(this.#headerAt(revision), { watchId, fragment });
    const message = Buffer.allocUnsafe(start.length + section.length);
    message.set(start, 0);
    message.set(section, start.length);
    return message;
  }

  #headerAt(revision: number): Uint8Array {
    const term = this.#identity.raftTerm();
    if (revision !== this.#headerRevision || term !== this.#headerTerm) {
      this.#header = this.#headers.encode(revision, term);
      this.#headerRevision = revision;
      this.#headerTerm = term;
    }
    return this.#header;
  }
}
