import assert from 'node:assert/strict';
import { type ServiceError, status } from '@grpc/grpc-js';
import {
  Compare_CompareResult,
  Compare_CompareTarget,
  KV,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { Seeded } from '../support/seeded.ts';
import type { Client } from './client.ts';
import { type Change, type Revision, readHistory, readKeys } from './history.ts';

/**
 * A load of writes by many lanes at a time, of which each has keys of its own and one write under way, and the book of
 * what was said about every write. Afterwards the store's history must hold every acknowledged write at its
 * revision, none that failed for certain, and each of unknown fate wholly or not at all.
 */

type Step = { readonly key: string; readonly value: string | undefined };

/** A client of one server, or of whichever is the primary. */
type Caller = Pick<Client, 'call'>;

type Outcome = 'pending' | 'acknowledged' | 'refused' | 'unknown';

interface Operation {
  readonly id: string;
  /** Puts (with a value) and deletes (without), of different keys. */
  readonly steps: readonly Step[];
  /** How it is asked for: `doomed` ones can't succeed. */
  readonly form: 'plain' | 'txn' | 'doomed txn' | 'doomed put';
  outcome: Outcome;
  revision: number;
}

interface KeyState {
  readonly value: string;
  readonly createRevision: number;
  readonly modRevision: number;
  readonly version: number;
}

const KEYS_PER_LANE = 3;
/** Large enough, now and then, for chunks that are compressed. */
const LONG_VALUE = 30_000;
const SHORT_VALUE_MAX = 600;
/** What says for certain that nothing was written. */
const CERTAIN = /too many requests|database space exceeded|no leader/;

class Lane {
  readonly operations: Operation[] = [];
  readonly keys: string[];
  model = new Map<string, KeyState>();
  readonly name: string;
  readonly #seeded: Seeded;

  constructor(name: string, seeded: Seeded) {
    this.name = name;
    this.#seeded = seeded;
    this.keys = Array.from({ length: KEYS_PER_LANE }, (_, index) => `${name}/${index}`);
  }

  plan(): Operation {
    const id = `${this.name}#${this.operations.length}`;
    const operation: Operation = { id, ...this.#shape(id), outcome: 'pending', revision: 0 };
    this.operations.push(operation);
    return operation;
  }

  #shape(id: string): Pick<Operation, 'steps' | 'form'> {
    const [first, second, third] = this.keys as [string, string, string];
    const value = this.#value(id);
    const kind = this.#seeded.integer(0, 10);
    if (kind === 0) return { form: 'doomed txn', steps: [{ key: first, value }] };
    if (kind === 1) return { form: 'doomed put', steps: [{ key: second, value }] };
    if (kind === 2 && this.model.has(second))
      return { form: 'plain', steps: [{ key: second, value: undefined }] };
    if (kind <= 4) return { form: 'txn', steps: this.keys.map((key) => ({ key, value })) };
    if (kind <= 6 && this.model.has(third)) {
      const steps = [
        { key: first, value },
        { key: third, value: undefined },
      ];
      return { form: 'txn', steps };
    }
    return { form: 'plain', steps: [{ key: this.#seeded.pick(this.keys), value }] };
  }

  #value(id: string): string {
    const long = this.#seeded.integer(0, 40) === 0;
    return `${id} ${long ? 'x'.repeat(LONG_VALUE) : this.#seeded.text(this.#seeded.integer(0, SHORT_VALUE_MAX))}`;
  }

  /** Takes an operation's effect into the model, as the store's history shows it. */
  adopt(operation: Operation, revision: number): void {
    for (const { key, value } of operation.steps) {
      const before = this.model.get(key);
      if (value === undefined) this.model.delete(key);
      else {
        this.model.set(key, {
          value,
          createRevision: before?.createRevision ?? revision,
          modRevision: revision,
          version: (before?.version ?? 0) + 1,
        });
      }
    }
  }

  /** What a watcher sees of an operation that takes effect now. */
  changesOf(operation: Operation, revision: number): Change[] {
    return operation.steps.map(({ key, value }) => {
      const before = this.model.get(key);
      const living = value !== undefined;
      return {
        key,
        deleted: !living,
        value: value ?? '',
        createRevision: living ? (before?.createRevision ?? revision) : 0,
        version: living ? (before?.version ?? 0) + 1 : 0,
        previousRevision: before?.modRevision ?? 0,
        previousValue: before?.value ?? '',
      };
    });
  }
}

export interface LoadOptions {
  /** Ends the load; writes under way are waited for. */
  readonly signal?: AbortSignal;
  /** Operations per lane at the most. */
  readonly operationsMax?: number;
  /**
   * What a lane does after a write of unknown fate: it stops (its keys may be written again after `verify`), or goes
   * on with new keys.
   */
  readonly onUnknown?: 'stop' | 'new keys';
  readonly deadlineMs?: number;
}

export class Ledger {
  readonly #seeded: Seeded;
  /** Lanes that write; those given up for new keys stay in `#all`. */
  readonly #current: Lane[] = [];
  readonly #all = new Map<string, Lane>();
  acknowledged = 0;
  unknown = 0;
  refused = 0;

  constructor(seed: number, lanes = 24) {
    this.#seeded = new Seeded(seed);
    for (let lane = 0; lane < lanes; lane++) this.#current.push(this.#addLane(`lane-${lane}`));
  }

  #addLane(name: string): Lane {
    const lane = new Lane(name, new Seeded(this.#seeded.integer(1, 2 ** 31)));
    this.#all.set(name, lane);
    return lane;
  }

  /** Writes until every lane has stopped. */
  async load(client: Caller, options: LoadOptions = {}): Promise<void> {
    await Promise.all(this.#current.map((_, index) => this.#runLane(client, index, options)));
  }

  /** Resolves when `count` more writes than now are acknowledged. */
  async untilAcknowledged(count: number): Promise<void> {
    const goal = this.acknowledged + count;
    while (this.acknowledged < goal) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  async #runLane(client: Caller, index: number, options: LoadOptions): Promise<void> {
    const { operationsMax = Number.POSITIVE_INFINITY, signal, onUnknown = 'stop', deadlineMs } = options;
    for (let count = 0; count < operationsMax && !signal?.aborted; count++) {
      const lane = this.#current[index]!;
      const operation = lane.plan();
      await this.#write(client, lane, operation, deadlineMs);
      if (operation.outcome !== 'unknown') continue;
      if (onUnknown === 'stop') return;
      this.#current[index] = this.#addLane(`${lane.name.split('.')[0]}.${this.#all.size}`);
    }
  }

  async #write(
    client: Caller,
    lane: Lane,
    operation: Operation,
    deadlineMs: number | undefined,
  ): Promise<void> {
    try {
      const revision = await ask(client, lane, operation, deadlineMs);
      if (revision === undefined) this.#refuse(operation);
      else {
        operation.outcome = 'acknowledged';
        operation.revision = revision;
        lane.adopt(operation, revision);
        this.acknowledged++;
      }
    } catch (error) {
      const { code, details } = error as ServiceError;
      if (typeof code !== 'number') throw error;
      const doomed = operation.form === 'doomed put' && code === status.NOT_FOUND;
      if (doomed || CERTAIN.test(details)) {
        this.#refuse(operation);
      } else {
        assert.ok(
          code === status.UNAVAILABLE || code === status.CANCELLED || code === status.DEADLINE_EXCEEDED,
          `${operation.id}: ${code} ${details}`,
        );
        operation.outcome = 'unknown';
        this.unknown++;
      }
    }
  }

  #refuse(operation: Operation): void {
    operation.outcome = 'refused';
    this.refused++;
  }

  /**
   * Reads everything back and throws when it is not what the clients were told. Lanes go on from what is there. `others`
   * are keys, by now deleted, that somebody else wrote.
   */
  async verify(client: Client, others: readonly string[] = []): Promise<void> {
    const history = await readHistory(client);
    this.compare(history.filter(({ changes }) => !others.includes(changes[0]!.key)));
    const expected = new Map<string, string>();
    for (const lane of this.#all.values()) {
      for (const [key, state] of lane.model) {
        const { modRevision, createRevision, version, value } = state;
        expected.set(key, `${modRevision} ${createRevision} ${version} ${value}`);
      }
    }
    const found = await readKeys(client);
    assert.equal(found.size, expected.size, 'the list holds other keys than the history');
    for (const [key, state] of expected) assert.equal(found.get(key), state, `${key} in the list`);
  }

  /** Throws unless the history is what the clients were told. */
  compare(history: readonly Revision[]): void {
    const walks = new Map([...this.#all].map(([name, lane]) => [name, new Walk(lane)]));
    let last = 1;
    for (const revision of history) {
      assert.ok(revision.revision > last);
      last = revision.revision;
      const walk = walks.get(revision.changes[0]!.key.split('/')[0]!);
      assert.ok(walk, `revision ${last} has the key ${revision.changes[0]!.key}, which nobody wrote`);
      walk.take(revision);
    }
    for (const walk of walks.values()) walk.end();
  }
}

/** Asks the server to carry an operation out: the revision at which it did, undefined when it said that it did not. */
async function ask(
  client: Caller,
  lane: Lane,
  operation: Operation,
  deadlineMs: number | undefined,
): Promise<number | undefined> {
  const { steps, form } = operation;
  const [{ key, value }] = steps as [Step];
  const bytes = { key: Buffer.from(key) };
  if (form === 'plain' && value === undefined) {
    const { header, deleted } = await client.call(KV.method.deleteRange, bytes, deadlineMs);
    assert.equal(deleted, 1n, `${operation.id} deletes a key that was there`);
    return Number(header!.revision);
  }
  if (form === 'plain' || form === 'doomed put') {
    const lease = form === 'plain' ? 0n : 404n;
    const put = { ...bytes, value: Buffer.from(value!), lease };
    const { header } = await client.call(KV.method.put, put, deadlineMs);
    assert.equal(form, 'plain', `${operation.id} attaches a lease that does not exist`);
    return Number(header!.revision);
  }
  const doomed = form === 'doomed txn';
  const modRevision = doomed ? -1 : (lane.model.get(key)?.modRevision ?? 0);
  const { header, succeeded } = await client.call(KV.method.txn, txnOf(steps, modRevision), deadlineMs);
  assert.equal(succeeded, !doomed, `${operation.id}: its guard on ${key} at ${modRevision}`);
  return succeeded ? Number(header!.revision) : undefined;
}

function txnOf(steps: readonly Step[], modRevision: number) {
  const guard = {
    key: Buffer.from(steps[0]!.key),
    target: Compare_CompareTarget.MOD,
    result: Compare_CompareResult.EQUAL,
    targetUnion: { case: 'modRevision', value: BigInt(modRevision) },
  } as const;
  const success = steps.map(({ key, value }) =>
    value === undefined
      ? ({ request: { case: 'requestDeleteRange', value: { key: Buffer.from(key) } } } as const)
      : ({
          request: { case: 'requestPut', value: { key: Buffer.from(key), value: Buffer.from(value) } },
        } as const),
  );
  return { compare: [guard], success };
}

/** Follows one lane's operations through the history. */
class Walk {
  readonly #lane: Lane;
  #next = 0;

  constructor(lane: Lane) {
    this.#lane = lane;
    lane.model = new Map();
  }

  take({ revision, changes }: Revision): void {
    const operation = this.#acknowledgedAt(revision) ?? this.#unknownWith(changes, revision);
    const expected = this.#lane.changesOf(operation, revision);
    assert.deepEqual(changes, expected, `${operation.id} at revision ${revision}`);
    this.#lane.adopt(operation, revision);
  }

  /** The next acknowledged operation, if it is of this revision. */
  #acknowledgedAt(revision: number): Operation | undefined {
    const { operations } = this.#lane;
    const index = operations.findIndex(({ outcome }, at) => at >= this.#next && outcome === 'acknowledged');
    const operation = operations[index];
    if (operation === undefined || operation.revision > revision) return undefined;
    assert.equal(operation.revision, revision, `${operation.id} was acknowledged at another revision`);
    this.#next = index + 1;
    return operation;
  }

  /** The next operation of unknown fate that had exactly these changes. */
  #unknownWith(changes: readonly Change[], revision: number): Operation {
    const { operations, name } = this.#lane;
    while (this.#next < operations.length) {
      const operation = operations[this.#next]!;
      if (operation.outcome === 'acknowledged') break;
      this.#next++;
      if (operation.outcome !== 'unknown') continue;
      if (sameChanges(changes, this.#lane.changesOf(operation, revision))) return operation;
    }
    return assert.fail(`revision ${revision} is nothing that ${name} wrote: ${summary(changes)}`);
  }

  end(): void {
    for (const { id, outcome, revision } of this.#lane.operations.slice(this.#next)) {
      assert.notEqual(outcome, 'acknowledged', `${id} was acknowledged at revision ${revision} and is gone`);
    }
  }
}

function sameChanges(left: readonly Change[], right: readonly Change[]): boolean {
  return JSON.stringify(left) === JSON.stringify(right);
}

function summary(changes: readonly Change[]): string {
  return changes
    .map(({ key, value, deleted }) => (deleted ? `delete ${key}` : `${key}=${value.slice(0, 20)}`))
    .join(', ');
}
