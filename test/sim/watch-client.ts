import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  WatchRequestSchema,
  type WatchResponse,
  WatchResponseSchema,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { Event_EventType } from '../../src/shared/etcd/gen/mvccpb/kv_pb.ts';
import { SimDuplex } from './calls.ts';
import type { Watched } from './history.ts';
import type { Life } from './life.ts';
import type { SimNode } from './node.ts';
import type { SimRandom } from './sim-random.ts';
import type { World } from './world.ts';

const NETWORK_MS_MAX = 20;
const RETRY_MS_MAX = 400;
const RANGES = [
  ['a', 'z'],
  ['a', 'c'],
  ['b', 'b\0'],
  ['d', 'f'],
] as const;

/** Watches one range for as long as the simulation lasts, on one stream after the other, each from where the last ended. */
export class WatchClient {
  readonly watched: Watched;
  readonly #world: World;
  readonly #nodes: readonly SimNode[];
  readonly #random: SimRandom;
  /** How long the network takes for a message, at the most: slow ones fill their stream. */
  readonly #flowMsMax: number;
  #call: SimDuplex | undefined;
  #connecting = false;
  #node: SimNode | undefined;

  constructor(world: World, nodes: readonly SimNode[], name: string) {
    this.#world = world;
    this.#nodes = nodes;
    this.#random = world.random.part();
    this.#flowMsMax = this.#random.pick([1, 50, 2_000]);
    const [from, to] = this.#random.pick(RANGES);
    this.watched = { name, from, to, stretches: [{ startRevision: 1, events: [] }], nextRevision: 1 };
    world.history.watches.push(this.watched);
  }

  /** Opens a stream, and another one whenever it ends. */
  begin(): void {
    this.#again();
  }

  /** Ends its stream now and then, as a client does whose connection broke. */
  breakOff(): void {
    this.#call?.cancel();
    if (this.#call !== undefined) this.#again();
    this.#call = undefined;
  }

  /** The process that it watches. */
  get node(): SimNode | undefined {
    return this.#node;
  }

  #again(): void {
    const { scheduler, phase } = this.#world;
    this.#call = undefined;
    if (phase === 'idle' || this.#connecting) return;
    this.#connecting = true;
    scheduler.after(this.#random.skewed(1, RETRY_MS_MAX), `${this.watched.name} connects`, () => {
      this.#connecting = false;
      const node = this.#random.pick(this.#nodes);
      const { life, serving } = node;
      if (life === undefined || serving === undefined || !life.isAlive) return this.#again();
      this.#node = node;
      let arrived = false;
      life.onEnd(() => {
        if (!arrived) this.#again();
      });
      life.after(this.#random.skewed(0.05, NETWORK_MS_MAX), 'call watch', () => {
        arrived = true;
        if (node.serving === serving) this.#open(node, life);
        else this.#again();
      });
      return undefined;
    });
  }

  #open(node: SimNode, life: Life): void {
    const { scheduler } = this.#world;
    let arrivesMs = 0;
    const isCurrent = (): boolean => this.#call === call;
    const toClient = (action: () => void): void => {
      const { nowMs } = scheduler;
      arrivesMs = Math.max(arrivesMs, nowMs + this.#random.skewed(0.05, NETWORK_MS_MAX));
      scheduler.at(arrivesMs, `${this.watched.name} hears`, () => {
        if (isCurrent()) action();
      });
    };
    const call: SimDuplex = new SimDuplex({
      message: (bytes, sent) => {
        life.after(this.#random.skewed(0.01, this.#flowMsMax), 'stream flows', sent);
        const copy = bytes.slice();
        const writtenStep = scheduler.step;
        toClient(() => this.#take(fromBinary(WatchResponseSchema, copy), writtenStep));
      },
      ended: () => toClient(() => this.#again()),
    });
    this.#call = call;
    this.#world.trace(this.watched.name, `watches ${life.name} from ${this.watched.nextRevision}`);
    life.onEnd(() => toClient(() => this.#again()));
    const { from, to, nextRevision } = this.watched;
    node.serving!.watch.duplex!['Watch']!(call.call);
    const value = { key: Buffer.from(from), rangeEnd: Buffer.from(to), startRevision: BigInt(nextRevision) };
    const fields = { ...value, progressNotify: this.#random.chance(0.5) };
    this.#send(call, { requestUnion: { case: 'createRequest', value: fields } });
    if (this.#random.chance(0.3)) this.#send(call, { requestUnion: { case: 'progressRequest', value: {} } });
  }

  #send(call: SimDuplex, request: Parameters<typeof create<typeof WatchRequestSchema>>[1]): void {
    call.request(toBinary(WatchRequestSchema, create(WatchRequestSchema, request)));
  }

  #take(response: WatchResponse, writtenStep: number): void {
    const { watched } = this;
    const world = this.#world;
    world.scheduler.note(`${response.header?.revision} ${response.events.length}`);
    world.explain(watched.name, () => `hears ${textOf(response)}`);
    if (response.canceled) {
      const { compactRevision } = response;
      if (compactRevision > 0n) {
        world.count('watch: compacted');
        watched.nextRevision = Math.max(watched.nextRevision, Number(compactRevision));
        watched.stretches.push({ startRevision: watched.nextRevision, events: [] });
      }
      this.#call?.cancel();
      return this.#again();
    }
    for (const { type, kv } of response.events) {
      const revision = Number(kv!.modRevision);
      const key = Buffer.from(kv!.key).toString();
      if (revision < watched.nextRevision) {
        world.violation(`${watched.name}: revision ${revision} of ${key} came again, or in two responses`);
      }
      watched.stretches[watched.stretches.length - 1]!.events.push({
        revision,
        key,
        value: Buffer.from(kv!.value).toString(),
        deleted: type === Event_EventType.DELETE,
      });
      world.seen.push({ revision, step: writtenStep, who: watched.name });
    }
    const last = response.events[response.events.length - 1];
    if (last !== undefined) watched.nextRevision = Number(last.kv!.modRevision) + 1;
    else if (!response.created) this.#progress(Number(response.header!.revision), writtenStep);
    return undefined;
  }

  /** A progress notification promises that there is nothing more up to its revision. */
  #progress(revision: number, writtenStep: number): void {
    this.#world.count('watch: progress');
    this.#world.seen.push({ revision, step: writtenStep, who: `${this.watched.name}'s progress` });
    this.watched.nextRevision = Math.max(this.watched.nextRevision, revision + 1);
  }
}

function textOf({ created, canceled, compactRevision, header, events }: WatchResponse): string {
  const state = canceled ? `canceled, compacted at ${compactRevision}` : created ? 'created' : '';
  const changes = events.map(({ kv }) => `${kv!.modRevision} ${Buffer.from(kv!.key)}`);
  return `${state} at ${header?.revision}: ${changes.join(', ')}`;
}
