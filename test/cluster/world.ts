import { PrimaryLease } from '../../src/main/cluster/primary-lease.ts';
import { StoreError } from '../../src/main/store/errors.ts';
import type { ObjectStore } from '../../src/main/store/store.ts';
import type { Clock, Timer } from '../../src/shared/base/clock.ts';
import { silentLog } from '../../src/shared/base/log.ts';
import type { Random } from '../../src/shared/base/random.ts';
import { ManualClock, sleepBy } from '../support/clock.ts';
import { type FaultPlan, faultyStore } from '../support/faulty-store.ts';
import { MemoryStore } from '../support/memory-store.ts';

/** Processes that fight for the lease of one store, each on a clock of its own, in time that a test moves on. */

/** A process's monotonic clock: it began elsewhere and runs a little fast or slow. Stopped, it runs nothing. */
export class SkewedClock implements Clock {
  readonly #world: ManualClock;
  readonly #offsetMs: number;
  readonly #speed: number;
  #stopped = false;
  #waiting: (() => void)[] = [];

  constructor(world: ManualClock, offsetMs: number, speed: number) {
    this.#world = world;
    this.#offsetMs = offsetMs;
    this.#speed = speed;
  }

  wallMs(): number {
    return this.#world.wallMs();
  }

  monotonicMs(): number {
    return this.#offsetMs + this.#world.monotonicMs() * this.#speed;
  }

  after(delayMs: number, action: () => void): Timer {
    return this.#world.after(delayMs / this.#speed, () => this.run(action));
  }

  soon(action: () => void): void {
    this.#world.soon(() => this.run(action));
  }

  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return sleepBy(this, delayMs, signal);
  }

  /** SIGSTOP: time goes on, the process does not. */
  stop(): void {
    this.#stopped = true;
  }

  /** SIGCONT. */
  continue(): void {
    this.#stopped = false;
    for (const action of this.#waiting.splice(0)) action();
  }

  /** Now, or when the process goes on. */
  run(action: () => void): void {
    if (this.#stopped) this.#waiting.push(action);
    else action();
  }
}

/** Everything that an iteration gives. */
export async function collected<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** The store's answers reach a stopped process when it goes on. */
function heardBy(clock: SkewedClock, store: ObjectStore): ObjectStore {
  const heard = <T>(answer: Promise<T>): Promise<T> =>
    new Promise((resolve, reject) => {
      answer.then(
        (value) => clock.run(() => resolve(value)),
        (error: unknown) => clock.run(() => reject(error)),
      );
    });
  return {
    url: store.url,
    get: (key, signal) => heard(store.get(key, signal)),
    getRange: (key, offset, length, signal) => heard(store.getRange(key, offset, length, signal)),
    putIfAbsent: (key, body, signal) => heard(store.putIfAbsent(key, body, signal)),
    put: (key, body, signal) => heard(store.put(key, body, signal)),
    async *list(prefix, startAfter) {
      yield* await heard(collected(store.list(prefix, startAfter)));
    },
    delete: (key, signal) => heard(store.delete(key, signal)),
    putMultipart: (key, parts, signal) => heard(store.putMultipart(key, parts, signal)),
    close: () => store.close(),
  };
}

/** One run of a process: it tries to get the lease until it has it, and ends when it is lost. */
export class Contender {
  readonly clock: SkewedClock;
  readonly lease: PrimaryLease;
  readonly nodeId: string;
  ended = false;
  acquired = false;
  resumed = 0;

  constructor(world: World, nodeId: string, clock: SkewedClock, faults: FaultPlan) {
    this.nodeId = nodeId;
    this.clock = clock;
    this.lease = new PrimaryLease({
      store: heardBy(clock, faultyStore(world.memory, faults, world.time)),
      clock,
      random: world.random,
      log: silentLog,
      ttlMs: world.ttlMs,
      nodeId,
      describe: () => ({ name: nodeId, clientUrls: [], sequence: 0 }),
      lost: () => {
        this.ended = true;
      },
      resumed: () => {
        this.resumed++;
      },
    });
    void this.#contend(world.ttlMs);
  }

  /** Whether it would answer a linearizable read at this moment. */
  get leads(): boolean {
    return !this.ended && this.lease.held();
  }

  /** `kill -9`: what it has sent has its effect, or will have. */
  kill(): void {
    this.ended = true;
    this.clock.stop();
  }

  async #contend(ttlMs: number): Promise<void> {
    while (!this.ended && !this.acquired) {
      try {
        await this.lease.look();
        this.acquired = await this.lease.tryAcquire();
      } catch (error) {
        if (!(error instanceof StoreError)) throw error;
      }
      if (!this.acquired) await this.clock.sleep(ttlMs / 10);
    }
  }
}

export class World {
  readonly time = new ManualClock();
  readonly memory = new MemoryStore();
  readonly contenders: Contender[] = [];
  readonly random: Random;
  readonly ttlMs: number;

  readonly #faults: FaultPlan;

  constructor(random: Random, ttlMs: number, faults: FaultPlan = () => ({})) {
    this.random = random;
    this.ttlMs = ttlMs;
    this.#faults = faults;
  }

  /** Starts a process; `faults` are those of its own way to the store. */
  start(nodeId: string, clock = this.clock(), faults = this.#faults): Contender {
    const contender = new Contender(this, nodeId, clock, faults);
    this.contenders.push(contender);
    return contender;
  }

  clock(speed = 1): SkewedClock {
    return new SkewedClock(this.time, this.random.fraction() * 1e9, speed);
  }

  get leaders(): Contender[] {
    return this.contenders.filter((contender) => contender.leads);
  }

  /** Moves time on, looking after each step. */
  async pass(durationMs: number, stepMs: number, look: () => void = () => {}): Promise<void> {
    for (let passed = 0; passed < durationMs; passed += stepMs) {
      this.time.advance(stepMs);
      await settled();
      look();
    }
  }
}

/** Lets everything that is ready run. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 2; turn++) await new Promise((resolve) => setImmediate(resolve));
}
