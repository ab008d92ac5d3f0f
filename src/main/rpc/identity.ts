import { HeaderEncoder } from '../../shared/etcd/responses.ts';

/** Who answers, and at which revision: what every response's header says. */
export class Identity {
  readonly clusterId: bigint;
  readonly memberId: bigint;
  /** etcd's raft term is our epoch; a standby's grows when it follows, or becomes, another primary. */
  raftTerm: number;
  readonly #encoder: HeaderEncoder;
  readonly #revision: () => number;

  constructor(ids: { clusterId: bigint; memberId: bigint; raftTerm: number }, revision: () => number) {
    this.clusterId = ids.clusterId;
    this.memberId = ids.memberId;
    this.raftTerm = ids.raftTerm;
    this.#encoder = new HeaderEncoder(ids.clusterId, ids.memberId);
    this.#revision = revision;
  }

  /** The store's newest acknowledged revision. */
  get revision(): number {
    return this.#revision();
  }

  /** An encoded ResponseHeader at `revision`. */
  header(revision: number = this.#revision()): Uint8Array {
    return this.#encoder.encode(revision, this.raftTerm);
  }
}
