import { isDeepStrictEqual } from 'node:util';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  WatchCreateRequestSchema,
  WatchProgressRequestSchema,
  WatchResponseSchema,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { comparable } from './comparable.ts';
import { type Change, WatchModel } from './history.ts';
import type { Mailbox } from './mailbox.ts';
import { showValue } from './operations.ts';
import type { Side } from './side.ts';
import { kindOf, NO_WATCH, type Request, type Response, StreamSide } from './stream-side.ts';

export type CreateRequest = MessageInitShape<typeof WatchCreateRequestSchema>;

/** How long a server may take to send what it owes. */
const PATIENCE_MS = 10_000;

/** Responses that a report of what is missing has. */
const SHOWN_MAX = 5;

const PROGRESS: Request = {
  requestUnion: { case: 'progressRequest', value: create(WatchProgressRequestSchema) },
};
/** Is refused at once in every state, with an answer: what was asked before it has been taken in then. */
const REFUSED: Request = {
  requestUnion: { case: 'createRequest', value: create(WatchCreateRequestSchema, { startRevision: -1n }) },
};

/**
 * One Watch stream to both servers. It knows how much each of them owes (a response to each request, an event to each
 * change that a watch wants), waits until both have sent that, and compares what they sent.
 */
export class StreamPair {
  readonly #servers: readonly Side[];
  readonly #mailbox: Mailbox;
  readonly #sides: readonly StreamSide[];
  readonly #watches = new Map<bigint, WatchModel>();
  /** The watches that asked for progress now and then; those that were cancelled, too. */
  readonly #notified = new Set<bigint>();
  #eventsOwed = 0;
  #controlsOwed = 0;
  #progressAllowed = 0;
  requestsEnded = false;

  /** `recorded` gets what the second server sends. */
  constructor(servers: readonly Side[], mailbox: Mailbox, recorded: (response: Response) => void = () => {}) {
    this.#servers = servers;
    this.#mailbox = mailbox;
    this.#sides = servers.map(
      ({ client }, index) =>
        new StreamSide(client, (response) => {
          if (index === 1 && response !== undefined) recorded(response);
          mailbox.notify();
        }),
    );
  }

  /** Creates a watch; resolves when both servers have answered, to whether they have made it. */
  async create(requests: readonly CreateRequest[], progressAtOnce: boolean): Promise<WatchModel | undefined> {
    this.#sides.forEach((side, index) => {
      const request = create(WatchCreateRequestSchema, requests[index]!);
      side.send({ requestUnion: { case: 'createRequest', value: request } });
    });
    if (progressAtOnce) this.sendProgress();
    this.#controlsOwed += 1;
    await this.#arrival();
    const { canceled, watchId } = this.#sides[1]!.lastCreated!;
    if (canceled) return undefined;
    const watch = new WatchModel(create(WatchCreateRequestSchema, requests[1]!));
    this.#watches.set(watchId, watch);
    if (watch.progressNotify) this.#notified.add(watchId);
    else this.#notified.delete(watchId);
    return watch;
  }

  /** A compaction has passed a watch before it began. */
  oweCompacted(watch: WatchModel): void {
    watch.compacted = true;
    this.#controlsOwed += 1;
  }

  /** Counts what `watch`, or by default each watch, gets of these changes. */
  oweEvents(changes: readonly Change[], watch?: WatchModel): number {
    const watches = watch === undefined ? [...this.#watches.values()] : [watch];
    const owed = watches.flatMap((one) => changes.filter((change) => one.wants(change))).length;
    this.#eventsOwed += owed;
    return owed;
  }

  cancel(watchId: bigint): void {
    this.#send({ requestUnion: { case: 'cancelRequest', value: { watchId } } } as Request);
    if (this.#watches.delete(watchId)) this.#controlsOwed += 1;
  }

  /** Cancels all watches. */
  cancelAll(): void {
    for (const id of [...this.#watches.keys()]) this.cancel(id);
  }

  /** Asks for progress, and waits for it if it is due. */
  async progress(newestRevision: bigint): Promise<void> {
    const watches = [...this.#watches.values()];
    const due =
      watches.length > 0 &&
      watches.every(({ compacted, startRevision }) => !compacted && startRevision <= newestRevision);
    if (!due) {
      this.#send(PROGRESS);
      this.barrier();
      return;
    }
    const before = this.#sides.map(({ progressReports }) => progressReports);
    this.sendProgress();
    const answered = (side: StreamSide, index: number): boolean =>
      side.progressReports > before[index]! && side.lastProgressRevision === newestRevision;
    await this.#wait(answered, `progress of revision ${newestRevision}`);
  }

  /** Asks for progress that may or may not be answered. */
  sendProgress(): void {
    this.#progressAllowed += 1;
    this.#send(PROGRESS);
  }

  /** Sends a request that is always answered, so that the ones before it are not under way any more. */
  barrier(): void {
    this.#send(REFUSED);
    this.#controlsOwed += 1;
  }

  sendNothing(): void {
    this.#send({});
  }

  endRequests(): void {
    this.requestsEnded = true;
    for (const side of this.#sides) side.endRequests();
  }

  close(): void {
    for (const side of this.#sides) side.close();
  }

  /** Waits until both servers have sent what they owe, and throws unless that is the same. */
  async settle(): Promise<void> {
    await this.#arrival();
    this.compare();
  }

  /** Waits until both have sent an event of this revision. */
  async reach(revision: bigint): Promise<void> {
    await this.#wait((side) => side.lastEventRevision >= revision, `an event of revision ${revision}`);
  }

  /** Throws unless both servers have sent the same since the last time. */
  compare(): void {
    for (const [index, side] of this.#sides.entries()) this.#check(side, this.#servers[index]!.name);
    const taken = this.#sides.map((side) => side.take());
    if (taken.every((responses) => responses.length === 0)) return;
    const [ours, theirs] = taken.map((responses, index) => this.#comparable(responses, index));
    for (const name of new Set([...Object.keys(ours!), ...Object.keys(theirs!)])) {
      if (isSame(ours![name] ?? [], theirs![name] ?? [])) continue;
      const [got, wanted] = [ours![name], theirs![name]].map((responses) => showValue(responses ?? []));
      throw new Error(`on a watch stream, ${name}:\n  netsy sends ${got}\n  etcd sends  ${wanted}`);
    }
  }

  #send(request: Request): void {
    for (const side of this.#sides) side.send(request);
  }

  #arrival(): Promise<void> {
    const arrived = ({ events, controls }: StreamSide): boolean =>
      events >= this.#eventsOwed && controls >= this.#controlsOwed;
    return this.#wait(arrived, `${this.#eventsOwed} events and ${this.#controlsOwed} answers`);
  }

  async #wait(condition: (side: StreamSide, index: number) => boolean, wanted: string): Promise<void> {
    const over = (): boolean =>
      this.#sides.every(condition) || this.#sides.some(({ problem }) => problem !== undefined);
    if (await this.#mailbox.until(over, PATIENCE_MS)) return;
    const states = this.#sides.map((side, index) => {
      const { name } = this.#servers[index]!;
      const said = side.take().filter((response) => kindOf(response) !== 'progress');
      const last = showValue(said.slice(-SHOWN_MAX).map((response) => this.#plain(response, index)));
      return `  ${name} has sent ${side.events} events and ${side.controls} answers, last ${last}`;
    });
    throw new Error(`the watch stream lacks something: wanted are ${wanted}\n${states.join('\n')}`);
  }

  #check(side: StreamSide, name: string): void {
    const unasked =
      side.progressReports > this.#progressAllowed ? 'progress that nobody asked for' : undefined;
    const problem = side.problem ?? unasked;
    if (problem !== undefined) throw new Error(`${name}: ${problem}`);
  }

  /** By watch what came, in its order; without progress, which `StreamSide` has checked. */
  #comparable(responses: readonly Response[], index: number): Record<string, unknown[]> {
    const byWatch: Record<string, unknown[]> = {};
    for (const response of responses) {
      const kind = kindOf(response);
      const { watchId } = response;
      if (kind === 'progress') {
        if (watchId === NO_WATCH || this.#notified.has(watchId)) continue;
      }
      const name = kind === 'refused' ? 'refused' : `watch ${watchId}`;
      byWatch[name] ??= [];
      byWatch[name].push(this.#plain(response, index));
    }
    return byWatch;
  }

  #plain(response: Response, index: number): unknown {
    return comparable(WatchResponseSchema, response, this.#servers[index]!.chosenLeases);
  }
}

/** What of a response in its comparable form says whether the next one could have been part of it. */
interface Plain {
  readonly fragment: boolean;
  readonly created: boolean;
  readonly canceled: boolean;
  readonly events: readonly unknown[];
}

/** netsy may join what etcd sends one by one, never the other way round. */
function isSame(ours: readonly unknown[], theirs: readonly unknown[]): boolean {
  if (ours.length >= theirs.length) return isDeepStrictEqual(ours, theirs);
  return isDeepStrictEqual(joined(ours as Plain[]), joined(theirs as Plain[]));
}

/** Responses with events that follow each other as one, with the last one's header. */
function joined(responses: readonly Plain[]): Plain[] {
  const all: Plain[] = [];
  for (const response of responses) {
    const last = all.at(-1);
    if (last !== undefined && hasAllEvents(last) && hasAllEvents(response)) {
      all[all.length - 1] = { ...response, events: [...last.events, ...response.events] };
    } else all.push(response);
  }
  return all;
}

function hasAllEvents({ fragment, created, canceled, events }: Plain): boolean {
  return events.length > 0 && !fragment && !created && !canceled;
}
