import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../src/shared/base/clock.ts';
import { Seeded } from '../support/seeded.ts';
import { startVersityGateway, type VersityGateway } from '../support/versitygw.ts';
import { type Plan, planOf } from './deeds.ts';
import { BUCKET, Site, type Told } from './site.ts';

/** Rounds of damage to real processes and their store, under load, each followed by a look whether anything was lost. */

export interface TortureOptions {
  readonly rounds: number;
  readonly seed: number;
  readonly store: 's3' | 'file';
  /** Ends after the round in which so much time has passed. */
  readonly milliseconds?: number;
  /** Ends after the round under way. */
  readonly signal?: AbortSignal;
  readonly say: (line: string) => void;
}

export interface TortureReport {
  readonly rounds: number;
  readonly told: Told;
  readonly takeovers: number;
  /** How often each deed, weather and fault was. */
  readonly counts: ReadonlyMap<string, number>;
}

/** A new store so often: its whole history is read after each round. */
const ROUNDS_PER_SITE = 6;

/** Rejects when a round failed, with an error that says how to repeat it and where its logs are. */
export async function torture(options: TortureOptions): Promise<TortureReport> {
  const gateway = options.store === 's3' ? await startVersityGateway({ buckets: [BUCKET] }) : undefined;
  const run = new Run(options, gateway);
  try {
    await run.all();
    await run.end();
    return run;
  } catch (error) {
    await run.end();
    for (const line of reportLines(run)) options.say(line);
    throw error;
  } finally {
    await gateway?.stop();
  }
}

class Run implements TortureReport {
  rounds = 0;
  takeovers = 0;
  readonly told: Told = { acknowledged: 0, unknown: 0, failed: 0, reads: 0 };
  readonly counts = new Map<string, number>();
  readonly #options: TortureOptions;
  readonly #gateway: VersityGateway | undefined;
  #site: Site | undefined;

  constructor(options: TortureOptions, gateway: VersityGateway | undefined) {
    this.#options = options;
    this.#gateway = gateway;
  }

  async all(): Promise<void> {
    const { rounds, seed, milliseconds = Number.POSITIVE_INFINITY, signal } = this.#options;
    const begunMs = systemClock.monotonicMs();
    for (let round = 0; round < rounds; round++) {
      if (signal?.aborted || systemClock.monotonicMs() - begunMs > milliseconds) return;
      // Each round's seed is its own, so that it can be the first one of another run.
      const random = new Seeded(seed + round);
      for (let skip = 0; skip < 4; skip++) random.fraction();
      const plan = planOf(random, this.#gateway !== undefined);
      await this.#round(seed + round, random, plan);
    }
  }

  async #round(seed: number, random: Seeded, plan: Plan): Promise<void> {
    const begunMs = systemClock.monotonicMs();
    const title = `round ${this.rounds + 1} (seed ${seed}): ${plan.weather}; ${plan.deeds.join(', ')}`;
    if (this.rounds % ROUNDS_PER_SITE === 0) await this.end();
    this.#site ??= await Site.make(random, this.#gateway, `site-${this.rounds}`);
    const site = this.#site;
    const before = site.told;
    try {
      await site.round(plan);
    } catch (error) {
      throw await this.#failure(title, seed, error);
    }
    this.rounds++;
    for (const name of [`weather: ${plan.weather}`, ...plan.deeds]) this.#count(name, 1);
    const { told } = site;
    const seconds = ((systemClock.monotonicMs() - begunMs) / 1_000).toFixed(1);
    const written = `${told.acknowledged - before.acknowledged} acknowledged, ${told.unknown - before.unknown} unknown`;
    this.#options.say(`${title}: ${site.fleet.slots.length} nodes, ${seconds} s, ${written}`);
  }

  async #failure(title: string, seed: number, error: unknown): Promise<Error> {
    const directory = mkdtempSync(join(tmpdir(), `netsy-torture-${seed}-`));
    const { store } = this.#options;
    const again = `again: npm run torture -- --rounds 1 --seed ${seed} --store ${store}`;
    const text = `${title}\n${(error as Error).stack}\nlogs, data directories and store: ${directory}\n${again}`;
    writeFileSync(join(directory, 'failure.txt'), text);
    await this.#site?.keep(directory);
    return new Error(text, { cause: error });
  }

  #count(name: string, more: number): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + more);
  }

  /** Ends what runs, and counts what it did. */
  async end(): Promise<void> {
    const site = this.#site;
    if (site === undefined) return;
    this.#site = undefined;
    const { told } = site;
    for (const name of Object.keys(told) as (keyof Told)[]) this.told[name] += told[name];
    for (const { proxy, startsFailed } of site.fleet.slots) {
      if (startsFailed > 0) this.#count('start that the store failed', startsFailed);
      for (const [fault, count] of proxy?.faults ?? []) this.#count(`fault: ${fault}`, count);
    }
    this.takeovers += site.fleet.takeovers;
    await site.end();
  }
}

/** What a run did, as lines. */
export function reportLines({ rounds, told, takeovers, counts }: TortureReport): string[] {
  const { acknowledged, unknown, failed, reads } = told;
  return [
    `${rounds} rounds: ${acknowledged} writes acknowledged, ${unknown} unknown, ${failed} failed; ${reads} reads; ${takeovers} takeovers`,
    ...[...counts]
      .sort(([left], [right]) => (left < right ? -1 : 1))
      .map(([name, count]) => `  ${name}: ${count}`),
  ];
}
