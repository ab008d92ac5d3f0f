import type { MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import {
  Watch,
  type WatchRequestSchema,
  type WatchResponseSchema,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import type { EtcdClient, OpenStream } from '../support/etcd-client.ts';

export type Response = MessageShape<typeof WatchResponseSchema>;
export type Request = MessageInitShape<typeof WatchRequestSchema>;

/** The id of what is said about no watch or about all of a stream. */
export const NO_WATCH = -1n;

export type Kind = 'created' | 'refused' | 'canceled' | 'events' | 'progress';

export function kindOf(response: Response): Kind {
  if (response.created) return response.canceled ? 'refused' : 'created';
  if (response.canceled) return 'canceled';
  return response.events.length > 0 ? 'events' : 'progress';
}

/**
 * One server's side of a Watch stream: counts what comes and keeps it for the comparison. What can be told without
 * the other server it checks at once: that nothing comes of a watch before its created response or after its canceled
 * one, that no revision is split or goes back, and that progress is never ahead of an event.
 */
export class StreamSide {
  readonly #stream: OpenStream<Request>;
  #kept: Response[] = [];
  /** Up to where each living watch has had everything, by what the server has said itself. */
  readonly #reached = new Map<bigint, bigint>();
  /** Watches whose last response was not the last fragment. */
  readonly #fragmented = new Set<bigint>();
  #closed = false;
  events = 0;
  /** Responses of the kinds created, refused and canceled. */
  controls = 0;
  /** Reports on the whole stream, which only a progress request brings. */
  progressReports = 0;
  lastProgressRevision = 0n;
  lastEventRevision = 0n;
  lastCreated: Response | undefined;
  /** What no server should do, the first time that it did it. */
  problem: string | undefined;

  /** `arrived` is called after each message. */
  constructor(client: EtcdClient, arrived: (response: Response | undefined) => void) {
    this.#stream = client.open(
      Watch.method.watch,
      (response) => {
        this.#receive(response);
        arrived(response);
      },
      (failure) => {
        if (!this.#closed) this.problem ??= `the stream has ended: ${JSON.stringify(failure)}`;
        arrived(undefined);
      },
    );
  }

  send(request: Request): void {
    this.#stream.send(request);
  }

  endRequests(): void {
    this.#stream.endRequests();
  }

  close(): void {
    this.#closed = true;
    this.#stream.cancel();
  }

  /** What has come since the last call. */
  take(): Response[] {
    const taken = this.#kept;
    this.#kept = [];
    return taken;
  }

  #receive(response: Response): void {
    this.#kept.push(response);
    const { watchId } = response;
    const kind = kindOf(response);
    if (kind === 'events') return this.#receiveEvents(response);
    if (kind === 'progress') return this.#receiveProgress(response);
    this.controls += 1;
    if (kind === 'refused') this.lastCreated = response;
    else if (kind === 'canceled') this.#reached.delete(watchId);
    else {
      this.lastCreated = response;
      this.#reached.set(watchId, 0n);
    }
  }

  #receiveEvents(response: Response): void {
    const { watchId, events, fragment, header } = response;
    this.events += events.length;
    let reached = this.#reached.get(watchId);
    if (reached === undefined) {
      this.#note(`watch ${watchId} gets events and is not there`);
      return;
    }
    if (this.#fragmented.has(watchId)) reached -= 1n;
    for (const { kv } of events) {
      const { modRevision } = kv!;
      if (modRevision <= reached) {
        this.#note(
          `watch ${watchId} gets an event of revision ${modRevision} after all up to ${reached} were sent`,
        );
      }
      if (modRevision > reached + 1n) reached = modRevision - 1n;
    }
    const last = events.at(-1)!.kv!.modRevision;
    if (header!.revision < last) this.#note(`the header ${header!.revision} is behind its event ${last}`);
    this.lastEventRevision = last;
    this.#reached.set(watchId, last);
    if (fragment) this.#fragmented.add(watchId);
    else this.#fragmented.delete(watchId);
  }

  #receiveProgress({ watchId, header }: Response): void {
    const { revision } = header!;
    if (watchId === NO_WATCH) {
      this.progressReports += 1;
      this.lastProgressRevision = revision;
      for (const id of this.#reached.keys()) this.#advance(id, revision);
    } else if (this.#reached.has(watchId)) this.#advance(watchId, revision);
    else this.#note(`progress of watch ${watchId}, which is not there`);
  }

  #advance(watchId: bigint, revision: bigint): void {
    if (revision > this.#reached.get(watchId)!) this.#reached.set(watchId, revision);
  }

  #note(problem: string): void {
    this.problem ??= problem;
  }
}
