import type { DescMessage, DescMethodUnary, MessageInitShape, MessageShape } from '@bufbuild/protobuf';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  Compare_CompareResult,
  Compare_CompareTarget,
  KV,
  Lease,
  LeaseKeepAliveRequestSchema,
  LeaseKeepAliveResponseSchema,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import type { KeyValue } from '../../src/shared/etcd/gen/mvccpb/kv_pb.ts';
import { type CallError, callUnary, SimDuplex } from './calls.ts';
import type { Asked, KeyAnswer, Operation, Told } from './history.ts';
import type { Life } from './life.ts';
import type { Serving, SimNode } from './node.ts';
import type { SimRandom } from './sim-random.ts';
import type { World } from './world.ts';

const KEYS = ['a', 'b', 'c', 'd', 'e'];
const NETWORK_MS_MAX = 8;
const PATIENCE_MS = 7_000;
const THINK_MS_MAX = 500;
const LONG_VALUE = 20_000;
/** What says that nobody knows whether a write has happened. */
const UNKNOWN = /timed out|leader changed|server stopped/;

/** One client: it asks one thing at a time, of one process until that fails it. */
export class SimClient {
  readonly #world: World;
  readonly #nodes: readonly SimNode[];
  readonly #random: SimRandom;
  readonly #name: string;
  #node: SimNode;
  #writes = 0;
  /** As this client last saw it. */
  #revision = 1;
  readonly #seen = new Map<string, number>();
  #leases: bigint[] = [];

  constructor(world: World, nodes: readonly SimNode[], name: string) {
    this.#world = world;
    this.#nodes = nodes;
    this.#name = name;
    this.#random = world.random.part();
    this.#node = this.#random.pick(nodes);
  }

  /** Asks until the simulation is no longer active. */
  async run(): Promise<void> {
    while (this.#world.phase === 'active') {
      await this.#sleep(this.#random.skewed(0, THINK_MS_MAX));
      const operation = await this.#one();
      if (operation.outcome === 'done') continue;
      this.#node = this.#random.pick(this.#nodes);
      await this.#sleep(this.#random.skewed(5, 500));
    }
  }

  /** Asks of one process: a linearizable list of everything. */
  list(node: SimNode): Promise<Operation> {
    this.#node = node;
    return this.#range('\0', '\xff', false, 0);
  }

  /** Asks of one process: a put of a key of its own. */
  put(node: SimNode): Promise<Operation> {
    this.#node = node;
    return this.#put('z', 0n);
  }

  #one(): Promise<Operation> {
    const random = this.#random;
    const key = random.pick(KEYS);
    const dice = random.integer(0, 100);
    if (dice < 30) return this.#put(key, this.#leaseToAttach());
    if (dice < 38) return this.#delete(key);
    if (dice < 55) return this.#swap(key, random.pick(KEYS));
    if (dice < 72) return this.#range(key, undefined, random.chance(0.3), 0);
    if (dice < 82) return this.#range('a', 'z', random.chance(0.5), this.#someRevision());
    if (dice < 85) return this.#compact(Math.max(1, this.#revision - random.integer(0, 30)));
    if (dice < 91) return this.#grant();
    if (dice < 93) return this.#revoke();
    return this.#keepAlive();
  }

  #someRevision(): number {
    if (this.#random.chance(0.6)) return 0;
    return Math.max(1, this.#revision - this.#random.integer(0, 10));
  }

  #leaseToAttach(): bigint {
    if (this.#leases.length === 0 || this.#random.chance(0.6)) return 0n;
    return this.#random.pick(this.#leases);
  }

  #value(): string {
    const value = `${this.#name}#${++this.#writes}`;
    if (!this.#random.chance(0.03)) return value;
    return value.padEnd(LONG_VALUE, this.#random.pick(['x', this.#random.text(50)]));
  }

  async #put(key: string, lease: bigint): Promise<Operation> {
    const value = this.#value();
    const request = { key: bytes(key), value: bytes(value), lease };
    return this.#ask('kv', KV.method.put, request, { kind: 'put', key, value, lease }, ({ header }) => {
      this.#seen.set(key, Number(header!.revision));
      return { revision: Number(header!.revision), keys: [], count: 1 };
    });
  }

  #delete(key: string): Promise<Operation> {
    const request = { key: bytes(key) };
    return this.#ask('kv', KV.method.deleteRange, request, { kind: 'delete', key }, (response) => {
      this.#seen.delete(key);
      return { revision: Number(response.header!.revision), keys: [], count: Number(response.deleted) };
    });
  }

  #swap(key: string, other: string): Promise<Operation> {
    const expected = this.#seen.get(key) ?? 0;
    const value = this.#value();
    const put = (of: string) =>
      ({ request: { case: 'requestPut', value: { key: bytes(of), value: bytes(value) } } }) as const;
    const request: MessageInitShape<typeof KV.method.txn.input> = {
      compare: [
        {
          key: bytes(key),
          target: Compare_CompareTarget.MOD,
          result: Compare_CompareResult.EQUAL,
          targetUnion: { case: 'modRevision', value: BigInt(expected) },
        },
      ],
      success: key === other ? [put(key)] : [put(key), put(other)],
      failure: [{ request: { case: 'requestRange', value: { key: bytes(key) } } }],
    };
    const asked: Asked = { kind: 'swap', key, other, expected, value };
    return this.#ask('kv', KV.method.txn, request, asked, ({ header, succeeded, responses }) => {
      const revision = Number(header!.revision);
      const read = responses[0]?.response;
      const keys = read?.case === 'responseRange' ? read.value.kvs.map(keyAnswer) : [];
      this.#seen.set(key, succeeded ? revision : (keys[0]?.modRevision ?? 0));
      return { revision, keys, count: succeeded ? 1 : 0 };
    });
  }

  #range(from: string, to: string | undefined, serializable: boolean, revision: number): Promise<Operation> {
    const asked: Asked = { kind: 'range', from, to, serializable, revision };
    const request = {
      key: bytes(from),
      rangeEnd: to === undefined ? new Uint8Array(0) : Buffer.from(to, 'latin1'),
      serializable,
      revision: BigInt(revision),
    };
    return this.#ask('kv', KV.method.range, request, asked, ({ header, kvs, count }) => {
      const keys = kvs.map(keyAnswer);
      if (revision === 0) for (const { key, modRevision } of keys) this.#seen.set(key, modRevision);
      return { revision: Number(header!.revision), keys, count: Number(count) };
    });
  }

  #compact(revision: number): Promise<Operation> {
    const request = { revision: BigInt(revision), physical: this.#random.chance(0.2) };
    return this.#ask('kv', KV.method.compact, request, { kind: 'compact', revision }, ({ header }) => ({
      revision: Number(header!.revision),
      keys: [],
      count: 0,
    }));
  }

  #grant(): Promise<Operation> {
    const lease = BigInt(this.#random.integer(1, 2 ** 31));
    const ttlSeconds = this.#random.integer(2, 5);
    const request = { ID: lease, TTL: BigInt(ttlSeconds) };
    const asked: Asked = { kind: 'grant', lease, ttlSeconds };
    return this.#ask('lease', Lease.method.leaseGrant, request, asked, ({ TTL }) => {
      this.#leases.push(lease);
      return { revision: 0, keys: [], count: Number(TTL) };
    });
  }

  #revoke(): Promise<Operation> {
    const lease = this.#leases.shift();
    if (lease === undefined) return this.#grant();
    const asked: Asked = { kind: 'revoke', lease };
    return this.#ask('lease', Lease.method.leaseRevoke, { ID: lease }, asked, () => ({
      revision: 0,
      keys: [],
      count: 0,
    }));
  }

  #keepAlive(): Promise<Operation> {
    if (this.#leases.length === 0) return this.#grant();
    const lease = this.#random.pick(this.#leases);
    return this.#call({ kind: 'keep alive', lease }, (serving, answer) => {
      const call = new SimDuplex({
        message: (message) => {
          const { TTL } = fromBinary(LeaseKeepAliveResponseSchema, message);
          if (TTL === 0n) this.#leases = this.#leases.filter((one) => one !== lease);
          answer(undefined, { revision: 0, keys: [], count: Number(TTL) });
          call.cancel();
        },
        ended: (error) => answer(error ?? new Error('ended'), undefined),
      });
      serving.lease.duplex!['LeaseKeepAlive']!(call.call);
      call.request(toBinary(LeaseKeepAliveRequestSchema, create(LeaseKeepAliveRequestSchema, { ID: lease })));
    });
  }

  #ask<I extends DescMessage, O extends DescMessage>(
    service: 'kv' | 'lease',
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    asked: Asked,
    tell: (response: MessageShape<O>) => Told,
  ): Promise<Operation> {
    return this.#call(asked, (serving, answer) => {
      callUnary(serving[service], method, request, (error, response) =>
        answer(error, response && tell(response)),
      );
    });
  }

  /** One call, from the client to a process and back. Resolves when the client knows, or gives up. */
  #call(
    asked: Asked,
    make: (serving: Serving, answer: (error: Error | undefined, told: Told | undefined) => void) => void,
  ): Promise<Operation> {
    const { scheduler, history } = this.#world;
    const operation: Operation = {
      id: history.operations.length,
      asked,
      process: this.#node.life?.name ?? this.#node.name,
      takenStep: -1,
      takenMs: -1,
      answeredStep: Number.POSITIVE_INFINITY,
      answeredMs: Number.POSITIVE_INFINITY,
      outcome: 'unknown',
      told: undefined,
      error: undefined,
    };
    history.operations.push(operation);
    this.#world.count(`operation: ${asked.kind}`);
    return new Promise((resolve) => {
      const hear = (): void => {
        scheduler.after(this.#networkMs(), `${this.#name} hears`, () => resolve(operation));
      };
      const answer = (error: Error | undefined, told: Told | undefined): void => {
        if (operation.answeredStep !== Number.POSITIVE_INFINITY) return;
        operation.answeredStep = scheduler.step;
        operation.answeredMs = scheduler.nowMs;
        settle(operation, error as CallError | undefined, told);
        if (told !== undefined) this.#revision = Math.max(this.#revision, told.revision);
        scheduler.note(`${operation.outcome} ${told?.revision} ${told?.count}`);
        this.#world.explain(operation.process, () => `answers ${this.#name} ${textOf(operation)}`);
        hear();
      };
      const { life } = this.#node;
      if (life === undefined || !life.isAlive) return hear();
      life.after(this.#networkMs(), `call ${asked.kind}`, () => this.#arrive(life, operation, make, answer));
      life.onEnd(hear);
      scheduler.after(PATIENCE_MS, `${this.#name} gives up`, () => resolve(operation));
    });
  }

  #arrive(
    life: Life,
    operation: Operation,
    make: (serving: Serving, answer: (error: Error | undefined, told: Told | undefined) => void) => void,
    answer: (error: Error | undefined, told: Told | undefined) => void,
  ): void {
    const { scheduler } = this.#world;
    const { serving } = this.#node;
    if (serving === undefined || this.#node.life !== life) return answer(new Error('recovering'), undefined);
    operation.takenStep = scheduler.step;
    operation.takenMs = scheduler.nowMs;
    make(serving, answer);
  }

  #networkMs(): number {
    return this.#random.skewed(0.05, NETWORK_MS_MAX);
  }

  #sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#world.scheduler.after(delayMs, `${this.#name} thinks`, () => resolve());
    });
  }
}

function settle(operation: Operation, error: CallError | undefined, told: Told | undefined): void {
  operation.told = told;
  operation.error = error?.message;
  if (error === undefined) operation.outcome = 'done';
  else operation.outcome = UNKNOWN.test(error.message) ? 'unknown' : 'refused';
}

function textOf({ asked, told, error }: Operation): string {
  const short = (_: string, value: unknown): unknown => {
    if (typeof value === 'bigint') return Number(value);
    return typeof value === 'string' && value.length > 20 ? `${value.slice(0, 20)}…` : value;
  };
  return `${JSON.stringify(asked, short)}: ${error ?? JSON.stringify(told, short)}`;
}

function keyAnswer({ key, value, createRevision, modRevision, version, lease }: KeyValue): KeyAnswer {
  return {
    key: Buffer.from(key).toString(),
    value: Buffer.from(value).toString(),
    createRevision: Number(createRevision),
    modRevision: Number(modRevision),
    version: Number(version),
    lease,
  };
}

function bytes(text: string): Uint8Array {
  return Buffer.from(text);
}
