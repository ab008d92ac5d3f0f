import type { MessageShape } from '@bufbuild/protobuf';
import type { WatchCreateRequestSchema } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { type Event, Event_EventType } from '../../src/shared/etcd/gen/mvccpb/kv_pb.ts';
import { text } from '../support/etcd-client.ts';

/** One change, as far as it decides which watches get it. */
export interface Change {
  readonly revision: bigint;
  readonly key: string;
  readonly isDelete: boolean;
}

export function changeOf(event: Event): Change {
  return {
    revision: event.kv!.modRevision,
    key: text(event.kv!.key),
    isDelete: event.type === Event_EventType.DELETE,
  };
}

/**
 * What has changed since the servers began, learned from a watch of everything. It says how many events a watch will
 * get, so that the test knows how long to wait; what is in them is compared between the servers.
 */
export class History {
  #changes: Change[] = [];

  add(changes: readonly Change[]): void {
    this.#changes.push(...changes);
  }

  clear(): void {
    this.#changes = [];
  }

  /** Forgets what lies before a compaction. */
  compact(revision: bigint): void {
    this.#changes = this.#changes.filter((change) => change.revision >= revision);
  }

  /** Whether the transaction at `revision` deleted a key and put it again. */
  recreates(revision: bigint): boolean {
    const changes = this.#changes.filter((change) => change.revision === revision);
    return changes.some(
      ({ isDelete, key }, index) => isDelete && changes.slice(index + 1).some((later) => later.key === key),
    );
  }

  /** The changes from a revision on. At the compaction's own revision a key has only its last one. */
  from(revision: bigint, compactRevision: bigint): Change[] {
    const changes = this.#changes.filter((change) => change.revision >= revision);
    return changes.filter(
      (change, index) =>
        change.revision !== compactRevision ||
        !changes
          .slice(index + 1)
          .some((later) => later.revision === change.revision && later.key === change.key),
    );
  }
}

type CreateRequest = MessageShape<typeof WatchCreateRequestSchema>;

const NO_PUT = 0;
const NO_DELETE = 1;

/** One watch that both servers have, as etcd understands its request. */
export class WatchModel {
  readonly startRevision: bigint;
  readonly progressNotify: boolean;
  /** A compaction passed it before it began; it lives on until it is cancelled. */
  compacted = false;
  readonly #key: string;
  readonly #end: string;
  readonly #filters: readonly number[];

  constructor(request: CreateRequest) {
    this.startRevision = request.startRevision;
    this.progressNotify = request.progressNotify;
    this.#key = text(request.key) || '\x00';
    this.#end = text(request.rangeEnd);
    this.#filters = request.filters;
  }

  wants({ key, isDelete, revision }: Change): boolean {
    if (this.compacted || revision < this.startRevision) return false;
    if (this.#filters.includes(isDelete ? NO_DELETE : NO_PUT)) return false;
    if (this.#end === '') return key === this.#key;
    return key >= this.#key && (this.#end === '\x00' || key < this.#end);
  }
}
