import assert from 'node:assert/strict';
import { cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { systemClock } from '../../src/shared/base/clock.ts';
import { KV } from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { revisionProblem } from '../checker/etcd-models.ts';
import type { Client } from '../crash/client.ts';
import { type Revision, readHistory, readKeys } from '../crash/history.ts';
import { Ledger } from '../crash/ledger.ts';
import { temporaryDirectory } from '../support/netsy.ts';
import { Seeded } from '../support/seeded.ts';
import type { VersityGateway } from '../support/versitygw.ts';
import { deedsOf, GHOST_PREFIX, type Plan, type Scene, weatherOf } from './deeds.ts';
import { Fleet, Slot } from './fleet.ts';
import { Registers } from './registers.ts';
import { Router } from './router.ts';
import { FAIR, S3Proxy } from './s3-proxy.ts';

/** One store for some rounds, with its processes and what its clients were told. */

export const BUCKET = 'torture';
const LANES = 10;
const PACE_MS_MAX = 60;
/** Acknowledged before and after what a round does. */
const WRITES_BEFORE = 40;
const WRITES_AFTER = 30;
const WRITES_WITHIN_MS = 90_000;
const VERIFIED_WITHIN_MS = 120_000;

/** What a store's clients were told. */
export interface Told {
  acknowledged: number;
  unknown: number;
  failed: number;
  reads: number;
}

export class Site {
  readonly fleet: Fleet;
  readonly #leaseTtlMs: number;
  readonly #random: Seeded;
  readonly #ledger: Ledger;
  readonly #router: Router;
  /** One for each round. */
  readonly #registers: Registers[] = [];
  readonly #directory: string;

  private constructor(random: Seeded, fleet: Fleet, leaseTtlMs: number, directory: string) {
    this.fleet = fleet;
    this.#leaseTtlMs = leaseTtlMs;
    this.#random = random;
    this.#ledger = new Ledger(random.integer(1, 2 ** 31), LANES);
    this.#router = new Router(branch(random), PACE_MS_MAX);
    this.#directory = directory;
  }

  /** A new store, of the S3 server `gateway` or in a directory, and mostly two places for processes. */
  static async make(random: Seeded, gateway: VersityGateway | undefined, name: string): Promise<Site> {
    const directory = gateway === undefined ? temporaryDirectory() : join(gateway.directory, BUCKET, name);
    const store =
      gateway === undefined ? pathToFileURL(join(directory, 'store')).href : `s3://${BUCKET}/${name}`;
    // versitygw removes a directory with its last object, also while another one is made in it: not here.
    mkdirSync(join(directory, 'probe'), { recursive: true });
    writeFileSync(join(directory, 'probe', 'kept'), '');
    const leaseTtlMs = random.integer(1_000, 2_001);
    const slots: Slot[] = [];
    for (let index = random.pick([2, 2, 2, 2, 3, 1]); index > 0; index--) {
      const proxy = gateway && (await S3Proxy.start(gateway.endpoint, branch(random)));
      const environment = gateway?.environment ?? {};
      slots.push(new Slot({ name: `node-${index}`, store, leaseTtlMs, environment, proxy }));
    }
    return new Site(random, new Fleet(slots), leaseTtlMs, directory);
  }

  get told(): Told {
    const { acknowledged, unknown, refused: failed } = this.#ledger;
    const told = { acknowledged, unknown, failed, reads: 0 };
    for (const registers of this.#registers) {
      told.acknowledged += registers.acknowledged;
      told.unknown += registers.unknown;
      told.failed += registers.failed;
      told.reads += registers.reads;
    }
    return told;
  }

  /** One round: load, what the plan says, and whether everything that clients were told is true. */
  async round(plan: Plan): Promise<void> {
    const registers = new Registers(`register-${this.#registers.length}/`, branch(this.#random));
    this.#registers.push(registers);
    await this.#restart();
    const done = new AbortController();
    const loaded = Promise.all([
      this.#ledger.load(this.#router, { signal: done.signal, onUnknown: 'new keys', deadlineMs: 3_000 }),
      registers.load(this.#router, done.signal),
    ]);
    const failed = loaded.then(() => new Promise<never>(() => {}));
    try {
      await Promise.race([failed, this.#act(plan)]);
    } finally {
      done.abort();
      this.#calm();
      await loaded;
    }
    await this.#restart();
    for (const { proxy } of this.fleet.slots) await proxy?.drained();
    await within(VERIFIED_WITHIN_MS, 'what was told was not verified', this.#verify(registers));
  }

  async #act(plan: Plan): Promise<void> {
    await this.#untilAcknowledged(WRITES_BEFORE);
    for (const { proxy } of this.fleet.slots) if (proxy !== undefined) proxy.weather = weatherOf(plan);
    const scene: Scene = {
      random: this.#random,
      fleet: this.fleet,
      leaseTtlMs: this.#leaseTtlMs,
      untilAcknowledged: (count) => this.#untilAcknowledged(count),
      restart: () => this.#restart(),
      changed: () => this.#changed(),
    };
    for (const deed of deedsOf(plan)) {
      await deed(scene);
      if (this.fleet.running.length === 0) await this.#restart();
      await this.#untilAcknowledged(WRITES_AFTER);
    }
  }

  #calm(): void {
    for (const { proxy } of this.fleet.slots) {
      if (proxy === undefined) continue;
      proxy.weather = FAIR;
      proxy.outage = undefined;
    }
  }

  #changed(): void {
    this.#router.servers = this.fleet.clients;
  }

  async #restart(): Promise<void> {
    const absent = this.fleet.slots.filter((slot) => !slot.isRunning);
    for (const slot of absent) slot.checkEnd();
    // Their clients are about to be closed: nobody may be sent there any more.
    this.#changed();
    await Promise.all(absent.map((slot) => slot.start()));
    this.#changed();
  }

  async #untilAcknowledged(count: number): Promise<void> {
    const goal = this.told.acknowledged + count;
    const until = systemClock.monotonicMs() + WRITES_WITHIN_MS;
    while (this.told.acknowledged < goal) {
      const missing = goal - this.told.acknowledged;
      assert.ok(systemClock.monotonicMs() < until, `${missing} of ${count} writes are not acknowledged`);
      // A process that was taken over has ended; what a supervisor would do.
      if (this.fleet.running.length === 0) await this.#restart();
      await systemClock.sleep(20);
    }
  }

  async #verify(registers: Registers): Promise<void> {
    const primary = await this.fleet.primary();
    const { client } = primary.running!;
    const history = await readHistory(client);
    const ofRegisters = (key: string): boolean => this.#registers.some((one) => one.owns(key));
    for (const { revision, changes } of history) {
      const ghost = changes.find(({ key }) => key.startsWith(GHOST_PREFIX));
      assert.equal(ghost, undefined, `revision ${revision}: a primary that was taken over wrote`);
    }
    this.#ledger.compare(history.filter(({ changes }) => !ofRegisters(changes[0]!.key)));
    for (const one of this.#registers) one.checkLog(history);
    registers.checkOrder();
    assert.equal(revisionProblem(this.#router.revisions), undefined);
    assert.deepEqual(await readKeys(client), livingKeys(history), 'the list is not what the log says');
    for (const slot of this.fleet.running) {
      await slot.follower.check(history);
      await hasFollowed(slot.running!.client, history);
    }
  }

  /** Copies logs, data directories and the store into `directory`. */
  async keep(directory: string): Promise<void> {
    for (const slot of this.fleet.slots) await slot.keep(directory);
    if (existsSync(this.#directory)) cpSync(this.#directory, join(directory, 'store'), { recursive: true });
  }

  async end(): Promise<void> {
    await this.fleet.end();
    for (const { proxy } of this.fleet.slots) await proxy?.stop();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

/** Generators of its own for what runs at the same time. */
function branch(random: Seeded): Seeded {
  return new Seeded(random.integer(1, 2 ** 31));
}

/** The keys that the history leaves, as `readKeys` writes them. */
function livingKeys(history: readonly Revision[]): Map<string, string> {
  const keys = new Map<string, string>();
  for (const { revision, changes } of history) {
    for (const { key, deleted, createRevision, version, value } of changes) {
      if (deleted) keys.delete(key);
      else keys.set(key, `${revision} ${createRevision} ${version} ${value}`);
    }
  }
  return keys;
}

/** A standby comes to the same state, and shows it to a serializable read. */
async function hasFollowed(client: Client, history: readonly Revision[]): Promise<void> {
  const newest = history[history.length - 1]?.revision ?? 1;
  const revision = async (): Promise<number> => {
    const key = Buffer.from('none');
    const { header } = await client.call(KV.method.range, { key, serializable: true });
    return Number(header!.revision);
  };
  while ((await revision()) < newest) await systemClock.sleep(20);
  assert.deepEqual(
    await readKeys(client, true),
    livingKeys(history),
    'a node has another state than the log',
  );
}

async function within<T>(milliseconds: number, what: string, work: Promise<T>): Promise<T> {
  const over = new AbortController();
  const late = systemClock
    .sleep(milliseconds, over.signal)
    .then(() => assert.fail(`${what} within ${milliseconds} ms`));
  try {
    return await Promise.race([work, late]);
  } finally {
    over.abort();
  }
}
