import type { Clock } from '../../src/shared/base/clock.ts';
import type { Connection, MessageStream } from '../grpc/connection.ts';
import { Latencies } from '../measure/latency.ts';
import { type KeySpace, type KnownKey, prefixEnd } from './key-space.ts';
import { method, readWatchAnswer, type WatchAnswer, watchCreate } from './messages.ts';

/** Watchers that share one stream, as the watches of one of kube-apiserver's clients do. */
const watchersPerStream = 10;

/** Connections of `bench/grpc`, and whatever a test puts in their place. */
type StreamSource = Pick<Connection, 'stream'>;

export interface WatchReport {
  readonly watchers: number;
  /** Events that came to an acknowledged write, one for each watcher of its prefix. */
  readonly events: number;
  /** Of these, the ones that were here before the acknowledgement was; their delay counts as nothing. */
  readonly eventsBeforeAcknowledgement: number;
  /** HdrHistogram of the delays from acknowledgement to event, in compressed base64. */
  readonly delays: string;
  /** What was wrong, and how often; none when each watcher got each event once and in order. */
  readonly problems: Readonly<Record<string, number>>;
}

interface Watcher {
  readonly group: number;
  lastRevision: number;
}

/** One write, from its acknowledgement or its first event until all its watchers have it. */
interface Publication {
  readonly group: number;
  acknowledgedMs: number | undefined;
  measured: boolean;
  eventsLeft: number;
}

/**
 * Watches every group of a key space with the same number of watchers, and measures how long after a write's
 * acknowledgement its event is at each of them. Both are seen by one process, so one clock measures both.
 *
 * Invariant: `open` holds exactly the writes that not all their watchers have seen, or that have events and no
 * acknowledgement.
 */
export class Watchers {
  private readonly clock: Clock;
  private readonly perGroup: number;
  private readonly groups: number;
  private readonly delays = new Latencies();
  private readonly open = new Map<number, Publication>();
  private readonly problems = new Map<string, number>();
  private events = 0;
  private early = 0;
  private recording = false;
  private closed = false;

  private constructor(clock: Clock, groups: number, perGroup: number) {
    this.clock = clock;
    this.groups = groups;
    this.perGroup = perGroup;
  }

  /**
   * Resolves when all `count` watchers are created; from then on `space`'s acknowledged writes are expected. `count`
   * is rounded up to the same number for each group. No write may be under way. They watch from the revision after the
   * last acknowledged write, as kube-apiserver does: without a revision kine sends what it has not sent yet.
   */
  static async create(
    clock: Clock,
    connections: readonly StreamSource[],
    space: KeySpace,
    groups: number,
    count: number,
  ): Promise<Watchers> {
    const perGroup = Math.ceil(count / groups);
    const from = 1 + space.keys.reduce((newest, { modRevision }) => Math.max(newest, modRevision), 0);
    const watchers = new Watchers(clock, groups, perGroup);
    const streams = Math.ceil((groups * perGroup) / watchersPerStream);
    // Watcher w is of group w mod groups: so the watchers of one group are spread over the streams.
    await Promise.all(
      Array.from({ length: streams }, (_, stream) => {
        const members = Array.from({ length: watchersPerStream }, (_, index) => stream + index * streams)
          .filter((watcher) => watcher < groups * perGroup)
          .map((watcher) => watcher % groups);
        return watchers.openStream(connections[stream % connections.length]!, space, from, members);
      }),
    );
    space.onAcknowledged = (key) => watchers.acknowledged(key);
    return watchers;
  }

  /** Delays of writes that are acknowledged from here on are measured, or no more. */
  record(on: boolean): void {
    this.recording = on;
  }

  /** Waits until every acknowledged write is at all its watchers, at most `drainMs`. */
  async drained(drainMs: number): Promise<void> {
    const giveUpMs = this.clock.monotonicMs() + drainMs;
    while (this.waitingFor().length > 0 && this.clock.monotonicMs() < giveUpMs) await this.clock.sleep(10);
  }

  /** Ends the measurement: what has not come by now counts as missing. */
  report(): WatchReport {
    this.closed = true;
    const problems = Object.fromEntries(this.problems);
    const missing = this.waitingFor().reduce((sum, { eventsLeft }) => sum + eventsLeft, 0);
    if (missing > 0) problems['watch: an event did not come'] = missing;
    return {
      watchers: this.groups * this.perGroup,
      events: this.events,
      eventsBeforeAcknowledgement: this.early,
      delays: this.delays.encode(),
      problems,
    };
  }

  private waitingFor(): Publication[] {
    return [...this.open.values()].filter(({ acknowledgedMs }) => acknowledgedMs !== undefined);
  }

  /** Creates the stream's watchers one after the other: an answer says of itself which it is. */
  private openStream(
    connection: StreamSource,
    space: KeySpace,
    from: number,
    groups: readonly number[],
  ): Promise<void> {
    const byId = new Map<number, Watcher>();
    const toCreate = [...groups];
    return new Promise((resolve, reject) => {
      const createNext = (): void => {
        const group = toCreate[0];
        if (group === undefined) {
          resolve();
          return;
        }
        const prefix = space.groupPrefix(group);
        stream.send(watchCreate(Buffer.from(prefix, 'latin1'), prefixEnd(prefix), from));
      };
      const onMessage = (message: Uint8Array): void => {
        const answer = readWatchAnswer(message);
        if (answer.canceled) this.problem('watch: canceled by the server');
        if (answer.created) {
          byId.set(answer.watchId, { group: toCreate.shift()!, lastRevision: 0 });
          createNext();
        }
        this.deliver(byId.get(answer.watchId), answer);
      };
      const onEnd = (error: Error): void => {
        reject(error);
        if (!this.closed) this.problem(`watch: the stream ended: ${error.message}`);
      };
      const stream: MessageStream = connection.stream(method.watch, onMessage, onEnd);
      createNext();
    });
  }

  private deliver(watcher: Watcher | undefined, { modRevisions }: WatchAnswer): void {
    if (modRevisions.length === 0) return;
    if (!watcher) {
      this.problem('watch: an event for a watcher that was not created');
      return;
    }
    const nowMs = this.clock.monotonicMs();
    for (const revision of modRevisions) {
      if (revision <= watcher.lastRevision) this.problem('watch: an event twice or out of order');
      else this.delivered(watcher.group, revision, nowMs);
      watcher.lastRevision = Math.max(watcher.lastRevision, revision);
    }
  }

  private delivered(group: number, revision: number, nowMs: number): void {
    const publication = this.publication(revision, group);
    if (publication.group !== group) {
      this.problem('watch: an event of another prefix');
      return;
    }
    publication.eventsLeft--;
    this.events++;
    if (publication.acknowledgedMs === undefined) this.early++;
    else if (publication.measured) this.delays.record(nowMs - publication.acknowledgedMs);
    this.closeWhenDone(revision, publication);
  }

  private acknowledged(key: KnownKey): void {
    const publication = this.publication(key.modRevision, key.group);
    publication.acknowledgedMs = this.clock.monotonicMs();
    publication.measured = this.recording;
    const here = this.perGroup - publication.eventsLeft;
    for (let event = 0; publication.measured && event < here; event++) this.delays.record(0);
    this.closeWhenDone(key.modRevision, publication);
  }

  private publication(revision: number, group: number): Publication {
    let publication = this.open.get(revision);
    if (!publication) {
      publication = { group, acknowledgedMs: undefined, measured: false, eventsLeft: this.perGroup };
      this.open.set(revision, publication);
    }
    return publication;
  }

  private closeWhenDone(revision: number, { eventsLeft, acknowledgedMs }: Publication): void {
    if (eventsLeft <= 0 && acknowledgedMs !== undefined) this.open.delete(revision);
  }

  private problem(what: string): void {
    this.problems.set(what, (this.problems.get(what) ?? 0) + 1);
  }
}
