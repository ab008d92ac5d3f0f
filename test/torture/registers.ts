import assert from 'node:assert/strict';
import type { ServiceError } from '@grpc/grpc-js';
import { systemClock } from '../../src/shared/base/clock.ts';
import {
  Compare_CompareResult,
  Compare_CompareTarget,
  KV,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import {
  REGISTERS,
  type RegisterInput,
  type RegisterOperation,
  type RegisterOutput,
} from '../checker/etcd-models.ts';
import { checkLinearizable } from '../checker/linearizability.ts';
import type { Client } from '../crash/client.ts';
import type { Change, Revision } from '../crash/history.ts';
import type { Seeded } from '../support/seeded.ts';
import { isNotDone, type Router } from './router.ts';

/** Keys that several clients read, put, swap and delete at once, and whether what they were told has an order. */

interface Call {
  readonly input: RegisterInput;
  readonly call: number;
  return: number;
  output: RegisterOutput | undefined;
  outcome: 'pending' | 'answered' | 'not done' | 'unknown';
}

const CLIENTS = 5;
const KEYS = 3;
const READ_DEADLINE_MS = 3_000;
const NOT_A_SERVICE_ERROR = 'it is no answer of a server';

export class Registers {
  acknowledged = 0;
  unknown = 0;
  /** Writes that were refused, or taken by nobody. */
  failed = 0;
  reads = 0;
  /** Steps of the linearizability checker. */
  steps = 0;
  readonly #prefix: string;
  readonly #random: Seeded;
  readonly #calls: Call[] = [];
  /** The mod revisions that were last heard of. */
  readonly #heard = new Map<string, number>();

  /** The keys begin with `prefix`, and are this object's alone. */
  constructor(prefix: string, random: Seeded) {
    this.#prefix = prefix;
    this.#random = random;
  }

  owns(key: string): boolean {
    return key.startsWith(this.#prefix);
  }

  /** Calls until `signal`, several at a time; what is under way is waited for. */
  async load(router: Router, signal: AbortSignal): Promise<void> {
    const client = async (): Promise<void> => {
      while (!signal.aborted) await this.#once(router);
    };
    await Promise.all(Array.from({ length: CLIENTS }, client));
  }

  async #once(router: Router): Promise<void> {
    await router.pause();
    const input = this.#input();
    const direct = input.kind === 'get' && router.servers.length > 0 && this.#random.integer(0, 2) === 0;
    const call: Call = {
      input,
      call: systemClock.monotonicMs(),
      return: Number.POSITIVE_INFINITY,
      output: undefined,
      outcome: 'pending',
    };
    this.#calls.push(call);
    try {
      // Half of the reads ask any server, also one that was the primary and does not know better.
      call.output = await this.#ask(router, input, direct ? this.#random.pick(router.servers) : undefined);
      call.outcome = 'answered';
      call.return = systemClock.monotonicMs();
      this.#hear(input.key, call.output);
      if (input.kind === 'get') this.reads++;
      else if (call.output.kind === 'written') this.acknowledged++;
      else this.failed++;
    } catch (error) {
      assert.equal(typeof (error as ServiceError).code, 'number', `${NOT_A_SERVICE_ERROR}: ${String(error)}`);
      call.outcome = isNotDone(error) || input.kind === 'get' ? 'not done' : 'unknown';
      if (call.outcome === 'unknown') this.unknown++;
      else if (input.kind !== 'get') this.failed++;
    }
  }

  #input(): RegisterInput {
    const random = this.#random;
    const key = `${this.#prefix}${random.integer(0, KEYS)}`;
    const value = `${key}#${this.#calls.length}`;
    const kind = random.integer(0, 20);
    if (kind < 9) return { key, kind: 'get' };
    if (kind < 14) return { key, kind: 'put', value };
    if (kind < 15) return { key, kind: 'delete' };
    return { key, kind: 'swap', expected: this.#heard.get(key) ?? 0, value };
  }

  #hear(key: string, output: RegisterOutput): void {
    if (output.kind === 'found') this.#heard.set(key, output.modRevision);
    else if (output.kind === 'absent') this.#heard.delete(key);
    else if (output.kind === 'written') this.#heard.set(key, output.revision);
  }

  async #ask(router: Router, input: RegisterInput, server: Client | undefined): Promise<RegisterOutput> {
    const key = Buffer.from(input.key);
    switch (input.kind) {
      case 'get': {
        const { kvs } =
          server === undefined
            ? await router.call(KV.method.range, { key })
            : await router.ask(server, KV.method.range, { key }, READ_DEADLINE_MS);
        const [kv] = kvs;
        if (kv === undefined) return { kind: 'absent' };
        const value = Buffer.from(kv.value).toString();
        return { kind: 'found', value, modRevision: Number(kv.modRevision), version: Number(kv.version) };
      }
      case 'put': {
        const { header } = await router.call(KV.method.put, { key, value: Buffer.from(input.value) });
        return { kind: 'written', revision: Number(header!.revision) };
      }
      case 'delete': {
        const { header, deleted } = await router.call(KV.method.deleteRange, { key });
        return deleted === 0n ? { kind: 'refused' } : { kind: 'written', revision: Number(header!.revision) };
      }
      case 'swap': {
        const { header, succeeded } = await router.call(
          KV.method.txn,
          swapOf(key, input.expected, input.value),
        );
        return succeeded ? { kind: 'written', revision: Number(header!.revision) } : { kind: 'refused' };
      }
    }
  }

  /** Throws unless the store's history has what was acknowledged, and nothing that failed for certain. */
  checkLog(history: readonly Revision[]): void {
    const inLog = history.flatMap(({ revision, changes }) =>
      changes.filter(({ key }) => this.owns(key)).map((change) => ({ revision, change })),
    );
    for (const { revision, change } of inLog) this.#explain(revision, change);
    this.#checkAcknowledged(new Map(inLog.map(({ revision, change }) => [revision, change])));
  }

  /** Throws unless what was answered can have happened in some order; after `checkLog`. */
  checkOrder(): void {
    const verdict = checkLinearizable(REGISTERS, this.#operations());
    this.steps = verdict.steps;
    if (verdict.kind === 'linearizable') return;
    const detail = verdict.kind === 'unknown' ? verdict : { ...verdict, order: verdict.order.slice(-20) };
    assert.fail(`the history of ${verdict.partition} is ${verdict.kind}: ${JSON.stringify(detail)}`);
  }

  /** What the log says of a call whose answer was lost; throws when nobody can have made the change. */
  #explain(revision: number, { key, value, deleted }: Change): void {
    if (deleted) {
      const isOne = this.#calls.some(({ input, output, outcome }) => {
        if (input.kind !== 'delete' || input.key !== key) return false;
        return outcome === 'unknown' || (output?.kind === 'written' && output.revision === revision);
      });
      assert.ok(isOne, `revision ${revision} deletes ${key}, which nobody did`);
      return;
    }
    const call = this.#calls.find(({ input }) => 'value' in input && input.value === value);
    assert.ok(call !== undefined, `revision ${revision} puts ${value}, which nobody did`);
    assert.notEqual(call.outcome, 'not done', `${value} at revision ${revision} failed for certain`);
    assert.notEqual(call.output?.kind, 'refused', `${value} at revision ${revision} was refused`);
    if (call.output === undefined) call.output = { kind: 'written', revision };
    const at = call.output.kind === 'written' ? call.output.revision : 0;
    assert.equal(at, revision, `${value} was acknowledged at another revision, or is there twice`);
  }

  #checkAcknowledged(log: ReadonlyMap<number, Change>): void {
    for (const { input, output, outcome } of this.#calls) {
      if (outcome !== 'answered' || output?.kind !== 'written') continue;
      const change = log.get(output.revision);
      const what = `${JSON.stringify(input)} was acknowledged at revision ${output.revision}`;
      assert.ok(change !== undefined && change.key === input.key, `${what} and is gone`);
      assert.equal(change.deleted, input.kind === 'delete', what);
    }
  }

  /** What can have had an effect. The log has shown which puts of unknown outcome had none. */
  #operations(): RegisterOperation[] {
    return this.#calls.filter(
      ({ input, output, outcome }) =>
        outcome === 'answered' ||
        (outcome === 'unknown' && (output !== undefined || input.kind === 'delete')),
    );
  }
}

function swapOf(key: Buffer, expected: number, value: string) {
  return {
    compare: [
      {
        key,
        target: Compare_CompareTarget.MOD,
        result: Compare_CompareResult.EQUAL,
        targetUnion: { case: 'modRevision', value: BigInt(expected) },
      } as const,
    ],
    success: [{ request: { case: 'requestPut', value: { key, value: Buffer.from(value) } } } as const],
  };
}
