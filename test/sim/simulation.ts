import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { HashReply } from '../../src/workers/contract/reader.ts';
import { memoryDirectory } from '../support/memory-directory.ts';
import { checkHistory } from './check-history.ts';
import { checkAll } from './checks.ts';
import { SimClient } from './client.ts';
import type { Watched } from './history.ts';
import { LogModel } from './log-model.ts';
import { SimNode } from './node.ts';
import { Trouble } from './trouble.ts';
import type { Variant } from './variants.ts';
import { WatchClient } from './watch-client.ts';
import { World } from './world.ts';

/** After the troubles: how long it may take until somebody is the primary, and everybody has everything. */
const HEAL_MS_MAX = 180_000;
/** Damage may be in the way of every start: whoever waits longer only sees that again. */
const DAMAGED_MS_MAX = 5_000;
const UNTIL_MS_MAX = 60_000;
const TURN_MS = 50;

export interface SimulationResult {
  readonly seed: number;
  readonly violations: readonly string[];
  readonly counts: ReadonlyMap<string, number>;
  readonly traceHash: string;
  readonly operations: number;
  readonly virtualMs: number;
}

export interface SimulationOptions {
  readonly variant?: Variant | undefined;
  /** Gets the trace, line by line. */
  readonly tell?: ((line: string) => void) | undefined;
}

/** Runs one seed, from the first process's start to the comparison of what is left. */
export async function simulate(seed: number, options: SimulationOptions = {}): Promise<SimulationResult> {
  const directory = mkdtempSync(path.join(memoryDirectory() ?? tmpdir(), 'netsy-sim-'));
  const world = new World(seed, directory, options.variant, options.tell);
  const stray = (error: unknown): void => {
    const { name, message, stack } = error as Error;
    world.violation(`nobody caught ${name}: ${message} ${stack?.split('\n').slice(1, 4).join(' ')}`);
  };
  process.on('unhandledRejection', stray);
  process.on('uncaughtException', stray);
  const undo = options.variant?.install?.();
  try {
    await new Simulation(world).run();
  } finally {
    undo?.();
    process.off('unhandledRejection', stray);
    process.off('uncaughtException', stray);
    rmSync(directory, { recursive: true, force: true });
  }
  const { scheduler, history, violations, counts } = world;
  return {
    seed,
    violations,
    counts,
    traceHash: scheduler.traceHash,
    operations: history.operations.length,
    virtualMs: scheduler.nowMs,
  };
}

class Simulation {
  readonly #world: World;
  readonly #nodes: SimNode[];
  readonly #watches: WatchClient[];
  readonly #clients: SimClient[];
  readonly #trouble: Trouble;
  #asking: Promise<void>[] = [];

  constructor(world: World) {
    this.#world = world;
    const { plan } = world;
    this.#nodes = Array.from({ length: plan.processes }, (_, at) => new SimNode(world, 'ABC'[at]!));
    this.#clients = Array.from(
      { length: plan.clients },
      (_, at) => new SimClient(world, this.#nodes, `c${at}`),
    );
    this.#watches = Array.from(
      { length: plan.watches },
      (_, at) => new WatchClient(world, this.#nodes, `w${at}`),
    );
    this.#trouble = new Trouble(world, this.#nodes, this.#watches);
  }

  async run(): Promise<void> {
    const world = this.#world;
    const { plan, random } = world;
    for (const node of this.#nodes) {
      world.scheduler.after(random.between(0, 500), `${node.name} starts`, () => node.start('none'));
    }
    this.#asking = this.#clients.map((client) => client.run());
    for (const watch of this.#watches) watch.begin();
    for (const [index, stretchMs] of plan.stretchesMs.entries()) {
      if (index > 0) await this.#idle();
      await this.#pass(stretchMs);
    }
    try {
      if (world.violations.length === 0) await this.#end();
      for (const node of this.#nodes) node.life?.end('over');
      const model = await this.#model();
      checkAll(world, model);
      checkHistory(world, model);
    } catch (error) {
      world.violation(`the log is broken: ${(error as Error).message}`);
    }
  }

  /** Hours pass in which nobody does anything; who is stopped may wake up long after them. */
  async #idle(): Promise<void> {
    const world = this.#world;
    world.count('idle hours');
    world.trace('world', 'idle');
    world.phase = 'idle';
    for (const node of this.#nodes) if (node.life?.isStopped !== true) node.crash('now');
    await world.scheduler.run(world.scheduler.nowMs + world.plan.idleMs, () => false);
    world.phase = 'active';
    this.#asking = this.#clients.map((client) => client.run());
    for (const watch of this.#watches) watch.begin();
    for (const node of this.#nodes) if (!node.isAlive) node.start('kept');
  }

  async #pass(durationMs: number): Promise<void> {
    const { scheduler, violations } = this.#world;
    const untilMs = scheduler.nowMs + durationMs;
    this.#trouble.begin(untilMs);
    await scheduler.run(untilMs, () => violations.length > 0);
  }

  /** No more troubles: all must come to the same state, and a fresh process to it from the store alone. */
  async #end(): Promise<void> {
    const world = this.#world;
    this.#trouble.end();
    world.trace('world', 'no more troubles');
    const primary = await this.#healed();
    if (primary === undefined) return;
    world.phase = 'ending';
    await this.#settled(Promise.all(this.#asking));
    if (!primary.isPrimary) return this.#end();
    const engine = primary.serving!.engine;
    await this.#until(
      'nothing is under way',
      () => engine.pipeline.batchesInFlight === 0 || !primary.isPrimary,
    );
    await this.#until('every lease ends', () => engine.lessor.count === 0 || !primary.isPrimary);
    // A standby that had waited long enough before the last trouble ended may take over as late as this.
    if (!primary.isPrimary) return this.#end();
    const { gate } = engine;
    await this.#until(
      'every process follows',
      () =>
        !primary.isPrimary ||
        this.#nodes.every(({ serving }) => serving?.engine.gate.appliedSequence === gate.durableSequence),
    );
    if (!primary.isPrimary) return this.#end();
    const soFar = await this.#model();
    for (const { watched } of this.#watches) {
      const last = lastIn(soFar, watched);
      const { name, from, to } = watched;
      await this.#until(
        `${name} of [${from}, ${to}) sees revision ${last}`,
        () => watched.nextRevision > last,
      );
    }
    const hash = await this.#hash(primary);
    for (const node of this.#nodes) {
      if (node !== primary && node.serving !== undefined)
        this.#compareHashes(node.name, await this.#hash(node), hash);
    }
    await this.#fresh(hash);
  }

  /** Resolves with a process that is the primary, has written, and has read. */
  async #healed(): Promise<SimNode | undefined> {
    const { scheduler, violations, damaged } = this.#world;
    const client = new SimClient(this.#world, this.#nodes, `z${this.#world.scheduler.step}`);
    const untilMs = scheduler.nowMs + (damaged.size > 0 ? DAMAGED_MS_MAX : HEAL_MS_MAX);
    while (scheduler.nowMs < untilMs && violations.length === 0) {
      const primary = this.#nodes.find((node) => node.isPrimary);
      await scheduler.run(scheduler.nowMs + TURN_MS, () => false);
      if (primary === undefined) continue;
      const wrote = await this.#settled(client.put(primary));
      const read = await this.#settled(client.list(primary));
      if (wrote?.outcome === 'done' && read?.outcome === 'done' && primary.isPrimary) return primary;
    }
    if (damaged.size === 0) this.#world.violation('nobody serves though there is no more trouble');
    return undefined;
  }

  /** All processes end in good order; one that knows nothing but the store must come to the same state. */
  async #fresh(hash: HashReply | undefined): Promise<void> {
    const world = this.#world;
    for (const node of this.#nodes) node.terminate(true);
    await this.#until('every process ends', () => this.#nodes.every((node) => !node.isAlive));
    const node = new SimNode(world, 'F');
    world.trace('world', 'a fresh process');
    node.start('none');
    await this.#until('a fresh process serves', () => node.isPrimary);
    if (node.serving === undefined) return;
    this.#compareHashes('a fresh process', await this.#hash(node), hash);
    await this.#settled(new SimClient(world, [node], 'f').list(node));
    node.life!.end('over');
  }

  #compareHashes(name: string, found: HashReply | undefined, expected: HashReply | undefined): void {
    if (found?.hash === expected?.hash && found?.hashRevision === expected?.hashRevision) return;
    // One that compacts by itself may have done so in between.
    if (found !== undefined && expected !== undefined && found.compactRevision > expected.compactRevision)
      return;
    this.#world.violation(
      `the state of ${name} is ${JSON.stringify(found)}, that of the primary was ${JSON.stringify(expected)}`,
    );
  }

  #hash(node: SimNode): Promise<HashReply | undefined> {
    const { serving } = node;
    if (serving === undefined) return Promise.resolve(undefined);
    return this.#settled(serving.engine.readers.hash({ revision: 0, whole: true }));
  }

  #model(): Promise<LogModel> {
    return LogModel.of(this.#world.chunks);
  }

  async #until(what: string, isSo: () => boolean): Promise<void> {
    const { scheduler, violations, damaged } = this.#world;
    const isOver = (): boolean => violations.length > 0 || isSo();
    if (violations.length > 0) return;
    if (!(await scheduler.run(scheduler.nowMs + UNTIL_MS_MAX, isOver)) && damaged.size === 0) {
      this.#world.violation(`waited in vain: ${what}`);
    }
  }

  /** Lets time pass until a promise is settled. */
  async #settled<T>(promise: Promise<T>): Promise<T | undefined> {
    const { scheduler } = this.#world;
    let result: { readonly value: T | undefined } | undefined;
    promise.then(
      (value) => {
        result = { value };
      },
      () => {
        result = { value: undefined };
      },
    );
    await scheduler.run(scheduler.nowMs + UNTIL_MS_MAX, () => result !== undefined);
    return result?.value;
  }
}

/** The newest revision of the log with a change in a watch's range. */
function lastIn(model: LogModel, { from, to }: Watched): number {
  const isIn = (key: string): boolean => key >= from && key < to;
  const last = model.revisions.findLast(({ changes }) =>
    changes.some(({ key }) => isIn(Buffer.from(key).toString())),
  );
  return last?.revision ?? 0;
}
