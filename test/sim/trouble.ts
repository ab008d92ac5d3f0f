import { chunkKey, PACKS_PREFIX, parseChunkKey, parseSnapshotKey } from '../../src/shared/format/names.ts';
import type { SimNode } from './node.ts';
import type { SimRandom } from './sim-random.ts';
import type { StoreWeather } from './store.ts';
import type { WatchClient } from './watch-client.ts';
import type { World } from './world.ts';

const CALM: StoreWeather = { faults: {}, delayMsMax: 15, lateMsMax: 0 };
const OUTAGE: StoreWeather = {
  faults: { 'answers 503': 0.5, 'fails before the effect': 0.9, 'loses the answer': 0.9 },
  delayMsMax: 50,
  lateMsMax: 0,
};
const SLOW: StoreWeather = { faults: {}, delayMsMax: 20_000, lateMsMax: 0 };
const SLEEPY_MS = 3_000;
const BRIEF_MS = 1_500;
const MINUTES_MS = 300_000;
const IDLE_LOOK_MS = 20_000;

/** What goes wrong, and when. */
export class Trouble {
  readonly #world: World;
  readonly #nodes: readonly SimNode[];
  readonly #watches: readonly WatchClient[];
  readonly #random: SimRandom;
  #untilMs = 0;

  constructor(world: World, nodes: readonly SimNode[], watches: readonly WatchClient[]) {
    this.#world = world;
    this.#nodes = nodes;
    this.#watches = watches;
    this.#random = world.random.part();
  }

  /** One trouble after the other until then. */
  begin(untilMs: number): void {
    this.#untilMs = untilMs;
    this.#calm();
    const { isSleepy, freezes, idleMs, settings } = this.#world.plan;
    if (isSleepy) this.#stopThePrimary('stop, hours', idleMs + untilMs + SLEEPY_MS, untilMs);
    if (freezes) this.#stopThePrimary('freeze', settings.leaseTtlMs * this.#random.between(1.3, 3), untilMs);
    this.#schedule();
  }

  #calm(): void {
    this.#world.bucket.weather = CALM;
    for (const { life } of this.#nodes) if (life !== undefined) this.#world.bucket.partitions.delete(life);
  }

  /** In the middle of a stretch, while others go on. */
  #stopThePrimary(name: 'stop, hours' | 'freeze', durationMs: number, untilMs: number): void {
    const { scheduler } = this.#world;
    const atMs = scheduler.nowMs + this.#random.between(0.3, 0.6) * (untilMs - scheduler.nowMs);
    scheduler.at(atMs, 'the primary sleeps', () => {
      const primary = this.#nodes.find((node) => node.isPrimary && node.life?.isStopped === false);
      if (primary !== undefined) this.#stopFor(primary, name, durationMs);
    });
  }

  /** All is well from now on. */
  end(): void {
    this.#untilMs = 0;
    this.#calm();
    for (const node of this.#nodes) {
      node.disarm();
      if (node.life?.isStopped === true) node.life.continue();
    }
  }

  #schedule(): void {
    const { scheduler, plan } = this.#world;
    const delayMs = -Math.log(1 - this.#random.fraction()) * plan.troubleEveryMs;
    scheduler.after(delayMs, 'trouble', () => {
      if (scheduler.nowMs >= this.#untilMs) return;
      this.#one();
      this.#schedule();
    });
  }

  #one(): void {
    const random = this.#random;
    const node = random.pick(this.#nodes);
    const dice = random.integer(0, 100);
    if (dice < 20) return this.#weather('storm', this.#world.plan.storm, random.skewed(100, 15_000));
    if (dice < 25) return this.#weather('outage', OUTAGE, random.skewed(100, 12_000));
    if (dice < 32) return this.#partition(node);
    if (dice < 52) return this.#crash(node);
    if (dice < 72) return this.#stop(node);
    if (dice < 80) return this.#terminate(node);
    if (dice < 85) return node.backUpCache();
    if (dice < 90) return node.checkpoint();
    if (dice < 93 && this.#world.plan.damages) return this.#damage();
    for (const watch of this.#watches) if (random.chance(0.5)) watch.breakOff();
    this.#world.count('trouble: streams break');
  }

  #weather(name: string, weather: StoreWeather, durationMs: number): void {
    const { bucket, scheduler } = this.#world;
    this.#note(name);
    bucket.weather = weather;
    scheduler.after(durationMs, 'calm', () => {
      if (bucket.weather === weather) bucket.weather = CALM;
    });
  }

  /** One process's way to the store is bad, and the others' are not. */
  #partition({ life }: SimNode): void {
    if (life === undefined || !life.isAlive) return;
    const { bucket, scheduler, plan } = this.#world;
    const weather = this.#random.pick([plan.storm, OUTAGE, SLOW]);
    this.#note(`${life.name} is cut off`, 'cut off from the store');
    bucket.partitions.set(life, weather);
    scheduler.after(plan.settings.leaseTtlMs * this.#random.between(0.5, 4), 'no longer cut off', () => {
      bucket.partitions.delete(life);
    });
  }

  #crash(node: SimNode): void {
    if (!node.isAlive) return;
    this.#note(`crash of ${node.name}`, 'crash');
    node.crash(this.#random.chance(0.2) ? 'now' : 'next kind');
  }

  /** SIGSTOP, for less or more than the lease, or for longer than this stretch. */
  #stop(node: SimNode): void {
    const { plan } = this.#world;
    const ttlMs = plan.settings.leaseTtlMs;
    const [name, durationMs] = this.#random.pick([
      ['stop, brief', this.#random.skewed(5, BRIEF_MS)],
      ['stop, brief', this.#random.skewed(5, BRIEF_MS)],
      ['stop, longer than the lease', ttlMs * this.#random.between(1, 4)],
      ['stop, longer than the lease', ttlMs * this.#random.between(1, 4)],
      ['stop, minutes or more', this.#random.skewed(70_000, MINUTES_MS) + plan.idleMs],
    ] as const);
    this.#stopFor(node, plan.freezes && durationMs < plan.idleMs ? 'freeze' : name, durationMs);
  }

  #stopFor({ life }: SimNode, name: string, durationMs: number): void {
    const { scheduler } = this.#world;
    if (life === undefined || !life.isAlive || life.isStopped) return;
    this.#note(`${name}: ${life.name} for ${Math.round(durationMs)} ms`, name);
    if (name === 'freeze') this.#world.frozen.add(life.name);
    life.stop(name === 'freeze');
    const goOn = (): void => {
      if (!life.isAlive || !life.isStopped) return;
      // Time is long for one who is alone.
      if (this.#world.phase === 'idle') return void scheduler.after(IDLE_LOOK_MS, 'still stopped', goOn);
      this.#world.trace(life.name, 'SIGCONT');
      life.continue();
    };
    scheduler.after(durationMs, `${life.name} goes on`, goOn);
  }

  #terminate(node: SimNode): void {
    if (!node.isAlive || node.life?.isStopped === true) return;
    this.#world.count('trouble: SIGTERM');
    node.terminate();
  }

  /** Bits rot in the store: of a chunk or a snapshot that some start may need. */
  #damage(): void {
    const { bucket, damaged } = this.#world;
    const keys = [...bucket.objects.keys()].filter(
      (key) =>
        parseChunkKey(key) !== undefined ||
        parseSnapshotKey(key) !== undefined ||
        key.startsWith(PACKS_PREFIX),
    );
    if (keys.length === 0) return;
    const key = this.#random.pick([this.#random.pick(keys), keys[keys.length - 1] ?? chunkKey(1)]);
    this.#note(`a bit of ${key} flips`, 'damage at rest');
    damaged.add(key);
    bucket.flipAtRest(key);
  }

  #note(what: string, kind = what): void {
    this.#world.trace('!', what);
    this.#world.count(`trouble: ${kind}`);
  }
}
