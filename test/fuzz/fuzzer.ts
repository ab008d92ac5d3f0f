import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import type { DescMethod, DescService } from '@bufbuild/protobuf';
import * as grpc from '@grpc/grpc-js';
import { gatewayRoutes } from '../../src/main/rpc/gateway-routes.ts';
import {
  Auth,
  Cluster,
  KV,
  Lease,
  Maintenance,
  Watch,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { Health } from '../../src/shared/etcd/gen/grpc/health/v1/health_pb.ts';
import { ServerReflection } from '../../src/shared/etcd/gen/grpc/reflection/v1/reflection_pb.ts';
import { Election } from '../../src/shared/etcd/gen/v3electionpb/v3election_pb.ts';
import { Lock } from '../../src/shared/etcd/gen/v3lockpb/v3lock_pb.ts';
import { send } from '../gateway/http.ts';
import type { Netsy } from '../support/netsy.ts';
import { Seeded } from '../support/seeded.ts';
import { leaseNamed, waitsForCorrupt } from './ended-lease.ts';
import { randomJson } from './json.ts';
import { type RandomMessage, randomMessage } from './messages.ts';
import { saySomethingBroken } from './wire.ts';

/** Everything that the server serves. */
const SERVICES: readonly DescService[] = [
  KV,
  Watch,
  Lease,
  Cluster,
  Maintenance,
  Auth,
  Lock,
  Election,
  Health,
  ServerReflection,
];
const METHODS = SERVICES.flatMap(({ methods }) => methods);
const ROUTES = [...gatewayRoutes(SERVICES)];

/** Calls that may rightly wait for something to happen; they are taken back after a while. */
const WAITS = new Set(['Watch', 'Lock', 'Campaign', 'Observe']);
const WAITING_MS = 60;
/** An answer later than this is a hang. Generous: the machine may be busy. */
const ANSWER_MS_MAX = 20_000;
const KEEP_ALIVE = Lease.method.leaseKeepAlive;
/** Ours for what nobody thought of. */
const NOBODY_THOUGHT_OF = 'netsy: internal error';

/** Sends one bad request after another, all of them decided by the seed. Throws an error that says what went wrong. */
export class Fuzzer {
  readonly #netsy: Netsy;
  readonly #random: Seeded;
  readonly #client: grpc.Client;
  readonly #answerMsMax: number;
  /** How often each outcome was seen: `grpc 13`, `http 400`, `wire`. */
  readonly outcomes = new Map<string, number>();
  tries = 0;

  /** `answerMsMax`: when a call that has no answer is held to have none. */
  constructor(netsy: Netsy, seed: number, answerMsMax = ANSWER_MS_MAX) {
    this.#netsy = netsy;
    this.#answerMsMax = answerMsMax;
    this.#random = new Seeded(seed);
    this.#client = new grpc.Client(netsy.authority, grpc.credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.max_receive_message_length': -1,
    });
  }

  /** One request; which is the seed's decision. */
  async once(): Promise<void> {
    this.tries++;
    const kind = this.#random.fraction();
    if (kind < 0.5) await this.#call(this.#random.pick(METHODS));
    else if (kind < 0.9) await this.#post(...this.#random.pick(ROUTES));
    else await this.#break();
  }

  /** Every method and every route once. */
  async all(): Promise<void> {
    for (const method of METHODS) await this.#call(method);
    for (const [path, method] of ROUTES) await this.#post(path, method);
    this.tries += METHODS.length + ROUTES.length;
  }

  close(): void {
    this.#client.close();
  }

  #call(method: DescMethod): Promise<void> {
    return this.tryCall(method, randomMessage(this.#random, method.input));
  }

  async tryCall(method: DescMethod, { shape, bytes }: RandomMessage): Promise<void> {
    const { code, details } = await this.#outcome(method, bytes);
    const what = `${method.parent.typeName}/${method.name}, ${shape}: ${hex(bytes)}: ${code} ${details}`;
    assert.ok(!details.startsWith(NOBODY_THOUGHT_OF), what);
    const isLate = code === grpc.status.DEADLINE_EXCEEDED;
    assert.ok(!isLate || (await this.#mayWait(method, bytes)), `no answer: ${what}`);
    assert.ok(code !== grpc.status.UNAVAILABLE, `the connection was not kept: ${what}`);
    this.#count(`grpc ${code}`);
  }

  #outcome({ parent, name }: DescMethod, bytes: Uint8Array): Promise<grpc.StatusObject> {
    const asIs = (message: Buffer): Buffer => message;
    const path = `/${parent.typeName}/${name}`;
    const call = this.#client.makeBidiStreamRequest(path, asIs, asIs, {
      deadline: Date.now() + this.#answerMsMax,
    });
    return new Promise((resolve) => {
      const timer = WAITS.has(name) ? setTimeout(() => call.cancel(), WAITING_MS) : undefined;
      call.on('error', () => {});
      call.on('data', () => {});
      call.on('status', (status) => {
        clearTimeout(timer);
        resolve(status);
      });
      call.write(Buffer.from(bytes));
      call.end();
    });
  }

  /** Whether what has no answer need not have one. */
  async #mayWait(method: DescMethod, request: Uint8Array | string): Promise<boolean> {
    return method === KEEP_ALIVE && (await waitsForCorrupt(this.#netsy, leaseNamed(request)));
  }

  #post(path: string, method: DescMethod): Promise<void> {
    return this.tryPost(path, method, randomJson(this.#random, method.input));
  }

  async tryPost(path: string, method: DescMethod, body: string): Promise<void> {
    const what = `POST ${path} ${body.slice(0, 2_000)}`;
    // The first line of a stream is answer enough, and what has none is given up by its time.
    const headers = WAITS.has(method.name) ? { 'Grpc-Timeout': `${WAITING_MS}m` } : {};
    const lines = method.methodKind === 'unary' ? undefined : 1;
    const answer = await send(this.#netsy.endpoint, {
      path,
      body,
      headers,
      timeoutMs: this.#answerMsMax,
      ...(lines !== undefined && { lines }),
    }).catch(async (error: unknown) => {
      assert.ok(await this.#mayWait(method, body), `${what}: ${String(error)}`);
    });
    if (answer === undefined) return this.#count('http waits');
    assert.ok(!answer.body.includes(NOBODY_THOUGHT_OF), `${what}: ${answer.body}`);
    if (answer.status !== 200) {
      const told = JSON.parse(answer.body) as { code?: number; error?: { code?: number } };
      assert.equal(typeof (told.error?.code ?? told.code), 'number', `${what}: ${answer.body}`);
    }
    this.#count(`http ${answer.status}`);
  }

  async #break(): Promise<void> {
    await saySomethingBroken(this.#random, Number(new URL(this.#netsy.endpoint).port));
    this.#count('wire');
  }

  #count(outcome: string): void {
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1);
  }
}

function hex(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.subarray(0, 500)).toString('hex');
  return bytes.length > 500 ? `${text}… ${bytes.length} bytes` : text;
}

/** The memory of a process that is not swapped out, in bytes. */
export function residentBytes(pid: number): number {
  const pages = readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ')[1];
  return Number(pages) * 4096;
}
