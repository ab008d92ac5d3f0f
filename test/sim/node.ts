import { copyFileSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { noTokens } from '../../src/main/auth/tokens.ts';
import { Core } from '../../src/main/core.ts';
import type { Engine } from '../../src/main/engine.ts';
import { TaskPool } from '../../src/main/pool/pool.ts';
import type { ServiceHandlers } from '../../src/main/rpc/service.ts';
import { watchHandlers } from '../../src/main/rpc/watch.ts';
import { kvService, leaseService } from '../../src/main/services.ts';
import { Appender } from '../../src/main/store/append.ts';
import { budgetedStore } from '../../src/main/store/budgeted.ts';
import { PutBudget } from '../../src/main/store/put-budget.ts';
import { randomId } from '../../src/shared/base/random.ts';
import { EtcdError } from '../../src/shared/etcd/errors.ts';
import { makeForeignCache } from './foreign-cache.ts';
import { type ClockSkew, Life } from './life.ts';
import { skewOf } from './plan.ts';
import type { SimRandom } from './sim-random.ts';
import { simTasks, simWorkers } from './workers.ts';
import type { World } from './world.ts';

const CACHE_FILE = 'cache.sqlite';
const CACHE_SUFFIXES = ['', '-wal'];
/** One upload try, as in the server. */
const ATTEMPT_TIMEOUT_MS = 10_000;
const RESTART_MS_MAX = 2_500;
const FORCED_CRASH_MS = 3_000;
const LATELY_MS = 2_000;
const HOLD_MS_MAX = 200;

/** Reasons for which a process may end by itself. */
const FENCED = /^fenced: /;
const STORE_FAILS = /^sim: |the store did not answer within|another process keeps appending/;
/** What it had listed, or was to follow next, was deleted because snapshots hold it. */
const OVERTAKEN =
  /was listed and is gone|the log has lost chunks|no snapshot can be used|has fallen behind what is kept of the log/;
const DAMAGED = /CorruptFileError|CorruptObjectError/;

/** As the last run left it, none, as it was a while ago, or another store's. */
type CacheAtStart = 'kept' | 'none' | 'old' | 'foreign';

/** What a process that serves offers. */
export interface Serving {
  readonly engine: Engine;
  readonly kv: ServiceHandlers;
  readonly lease: ServiceHandlers;
  readonly watch: ServiceHandlers;
}

/** A machine: its node id, its clock, its cache directory, and the process that runs there, if one does. */
export class SimNode {
  readonly name: string;
  readonly memberId: bigint;
  life: Life | undefined;
  serving: Serving | undefined;
  /** Kinds of events that its processes have met, and when they last did: where one may crash. */
  readonly #kinds = new Map<string, number>();
  readonly #world: World;
  readonly #random: SimRandom;
  readonly #skew: ClockSkew;
  #core: Core | undefined;
  #runs = 0;
  /** Of the run's cache. */
  #directory = '';
  /** Where the last run left its cache, and an older copy. */
  #left: string | undefined;
  #old: string | undefined;
  /** It does not start again. */
  #leaving = false;
  #armed: { readonly kind: string; readonly moment: 'before' | 'after' } | undefined;

  constructor(world: World, name: string) {
    this.#world = world;
    this.name = name;
    this.#random = world.random.part();
    this.memberId = randomId(this.#random);
    this.#skew = skewOf(this.#random);
  }

  get isAlive(): boolean {
    return this.life?.isAlive === true;
  }

  get isPrimary(): boolean {
    return this.serving?.engine.leadership === 'leading';
  }

  /** Starts a process on the cache that the last one left, on none, or on an older copy. */
  start(cache: CacheAtStart): void {
    const world = this.#world;
    const life = new Life(`${this.name}${++this.#runs}`, world.scheduler, this.#skew);
    const directory = this.#cacheFor(life, cache);
    world.trace(life.name, `starts, cache: ${cache}`);
    world.count(`start: cache ${cache}`);
    this.life = life;
    life.crashesAt = (kind, moment) => this.#crashesAt(kind, moment);
    // First of all, so that it is the cache as a killed process leaves it.
    life.onEnd(() => this.#ended(life, directory));
    this.#directory = directory;
    const core = this.#createCore(life, directory);
    this.#core = core;
    core.start().then(
      ({ role, engine }) => {
        world.trace(life.name, `serves as ${role}`);
        const { settings } = world.plan;
        this.serving = {
          engine,
          kv: kvService(engine, settings),
          lease: leaseService(engine, this.#random),
          watch: watchHandlers(engine.hub, engine.guard),
        };
      },
      (error: unknown) => this.#failed(life, error),
    );
  }

  /** Dies at once, or at the next event of a kind. */
  crash(at: 'now' | 'next kind'): void {
    const { life } = this;
    if (life === undefined || !life.isAlive) return;
    if (at === 'now' || life.isStopped) {
      this.#world.count('crash point: any');
      life.end('crash');
      return;
    }
    this.#armed = { kind: this.#someKind(), moment: this.#random.pick(['before', 'after']) };
    this.#world.scheduler.after(FORCED_CRASH_MS, `${life.name} crash`, () => {
      if (life.isAlive && this.#armed !== undefined && this.life === life) this.crash('now');
      this.#armed = undefined;
    });
  }

  /** It lives on past the event at which it was to die. */
  disarm(): void {
    this.#armed = undefined;
  }

  /** SIGTERM: drains, releases the lease, ends. */
  terminate(forGood = false): void {
    this.#leaving ||= forGood;
    const { life } = this;
    const core = this.#core;
    if (life === undefined || core === undefined || !life.isAlive) return;
    this.#world.trace(life.name, 'SIGTERM');
    life.after(0, 'SIGTERM', () => {
      const leave = async (): Promise<void> => {
        await core.drain();
        await core.release();
        await core.close();
      };
      leave().then(
        () => life.end('SIGTERM'),
        (error: unknown) => this.#failed(life, error),
      );
    });
  }

  /** Keeps a copy of the cache for a start `old`. */
  backUpCache(): void {
    const { life } = this;
    if (life === undefined || !life.isAlive) return;
    this.#old = path.join(this.#world.directory, `${this.name}-old`);
    rmSync(this.#old, { recursive: true, force: true });
    mkdirSync(this.#old);
    copyCache(this.#directory, this.#old);
  }

  /** What the upkeep of the cache does once its write-ahead log is long. */
  checkpoint(): void {
    const { life } = this;
    const core = this.#core;
    if (life === undefined || core === undefined || this.serving === undefined) return;
    life.after(0, 'checkpoint', () => {
      if (this.#random.chance(0.5)) void core.writer.truncateLog();
      else
        void core.writer.holding('commits', () => life.clock.sleep(this.#random.skewed(0.01, HOLD_MS_MAX)));
    });
  }

  #createCore(life: Life, directory: string): Core {
    const world = this.#world;
    const { settings } = world.plan;
    const { clock } = life;
    const random = this.#random.part();
    const log = world.logOf(life.name);
    const { variant } = world;
    const bucket = world.bucket.connect(life);
    const reached = variant?.store?.(bucket) ?? bucket;
    const putBudget = settings.putBudget === undefined ? undefined : new PutBudget(settings.putBudget, clock);
    const store = putBudget === undefined ? reached : budgetedStore(reached, putBudget);
    const { hedgeAfter } = settings;
    const appender = new (variant?.appender ?? Appender)(store, {
      hedgeAfterMs: hedgeAfter.kind === 'fixed' ? hedgeAfter.delayMs : hedgeAfter.kind,
      attemptTimeoutMs: ATTEMPT_TIMEOUT_MS,
      isPrimary: () => core.isPrimary,
      putBudget,
      ...{ clock, random, log },
    });
    const workersParts = {
      life,
      random: this.#random.part(),
      tampering: variant?.tampering?.(world) ?? {},
      threw: (where: string, error: unknown) => this.#threw(life, where, error),
    };
    const core: Core = new Core({
      ...{ settings, store, clock, random, log, nodeId: this.memberId.toString(16), memberId: this.memberId },
      appender,
      workers: simWorkers(workersParts),
      pool: new TaskPool(simTasks(workersParts)),
      upkeepPool: new TaskPool(simTasks(workersParts)),
      cacheFile: path.join(directory, CACHE_FILE),
      meter: {
        stage: () => undefined,
        batch: () => undefined,
        held: () => world.count('put budget: a batch waited'),
      },
      putBudget,
      openTokens: () => noTokens(() => new EtcdError('AuthFailed')),
      describe: () => ({ name: this.name, clientUrls: [`http://${this.name}`] }),
      fatal: (error) => {
        core.engine?.abort(new EtcdError('Stopped'));
        this.#failed(life, error);
      },
    });
    return core;
  }

  /** A worker's error; what it means for the process, `fatal` says. */
  #threw(life: Life, where: string, error: unknown): void {
    const { name, message } = error as Error;
    this.#world.trace(life.name, `${where} threw ${name}: ${message}`);
    if (DAMAGED.test(name) && this.#mayBeDamaged(life)) return;
    this.#world.violation(`${life.name} ${where} threw ${name}: ${message}`);
  }

  #mayBeDamaged(life: Life): boolean {
    return this.#world.flipped.has(life) || this.#world.damaged.size > 0;
  }

  /** The process can't go on: it ends after this turn, as `main.ts` has it. */
  #failed(life: Life, error: unknown): void {
    if (!life.isAlive) return;
    const { name, message } = error as Error;
    this.#world.trace(life.name, `can not go on: ${name}: ${message}`);
    this.#world.count(`end: ${reasonOf(error as Error)}`);
    const known =
      FENCED.test(message) ||
      STORE_FAILS.test(message) ||
      (OVERTAKEN.test(message) && (this.#world.deletions.length > 0 || this.#mayBeDamaged(life))) ||
      (DAMAGED.test(`${name} ${message}`) && this.#mayBeDamaged(life)) ||
      (/CRC64|chunks\/|snapshots\/|packs\//.test(message) && this.#mayBeDamaged(life));
    if (!known) this.#world.violation(`${life.name} ended: ${name}: ${message}`);
    life.after(0, 'exit', () => life.end('failed'));
  }

  #cacheFor({ name }: Life, cache: CacheAtStart): string {
    if (cache === 'kept' && this.#left !== undefined) return this.#left;
    const directory = path.join(this.#world.directory, name);
    mkdirSync(directory);
    if (cache === 'old' && this.#old !== undefined) copyCache(this.#old, directory);
    const first = this.#world.chunks.get(1);
    if (cache === 'foreign' && first !== undefined) {
      makeForeignCache(path.join(directory, CACHE_FILE), first.body, this.#random.integer(1, 30));
    }
    return directory;
  }

  #ended(life: Life, directory: string): void {
    this.#world.trace(life.name, `ended: ${life.endedBy}`);
    this.#left = path.join(this.#world.directory, `${life.name}-left`);
    mkdirSync(this.#left);
    copyCache(directory, this.#left);
    this.serving = undefined;
    this.#armed = undefined;
    if (this.#world.phase === 'idle' || this.#leaving) return;
    const again = this.#random.skewed(1, RESTART_MS_MAX);
    this.#world.scheduler.after(again, `${this.name} restarts`, () => {
      if (this.#world.phase !== 'idle' && this.life === life && !this.#leaving)
        this.start(this.#cacheToStartWith());
    });
  }

  #cacheToStartWith(): CacheAtStart {
    if (this.#random.chance(0.2)) return 'none';
    if (this.#random.chance(0.04)) return 'foreign';
    return this.#random.chance(0.25) && this.#old !== undefined ? 'old' : 'kept';
  }

  /** One that has happened lately; each group (what the store answers, what workers do …) is as likely as the others. */
  #someKind(): string {
    const sinceMs = this.#world.scheduler.nowMs - LATELY_MS;
    const groups = new Map<string, string[]>();
    for (const [kind, atMs] of this.#kinds) {
      if (atMs < sinceMs) continue;
      const group = kind.split(' ', 1)[0]!;
      groups.set(group, [...(groups.get(group) ?? []), kind]);
    }
    return groups.size === 0 ? 'timer' : this.#random.pick(this.#random.pick([...groups.values()]));
  }

  #crashesAt(kind: string, moment: 'before' | 'after'): boolean {
    this.#kinds.set(kind, this.#world.scheduler.nowMs);
    const armed = this.#armed;
    if (armed === undefined || armed.kind !== kind || armed.moment !== moment) return false;
    this.#armed = undefined;
    this.#world.count(`crash point: ${moment} ${kind}`);
    return true;
  }
}

function reasonOf({ name, message }: Error): string {
  if (FENCED.test(message)) return 'fenced';
  if (STORE_FAILS.test(message)) return 'the store fails';
  if (OVERTAKEN.test(message)) return 'overtaken by retention';
  return name;
}

/** As a killed process leaves it: SQLite makes the index of the write-ahead log anew. */
function copyCache(from: string, to: string): void {
  for (const suffix of CACHE_SUFFIXES) {
    const file = path.join(from, CACHE_FILE + suffix);
    if (existsSync(file)) copyFileSync(file, path.join(to, CACHE_FILE + suffix));
  }
}
