import type { SimulationResult } from './simulation.ts';

/** Sums up what several seeds did. */
export class Tally {
  seeds = 0;
  #operations = 0;
  #virtualMs = 0;
  readonly #begunMs = performance.now();
  readonly #counts = new Map<string, number>();

  add({ operations, virtualMs, counts }: SimulationResult): void {
    this.seeds++;
    this.#operations += operations;
    this.#virtualMs += virtualMs;
    for (const [what, count] of counts) this.#counts.set(what, (this.#counts.get(what) ?? 0) + count);
  }

  /** How often each kind of thing happened. */
  get lines(): string[] {
    const groups = new Map<string, string[]>();
    for (const [what, count] of [...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1))) {
      const [group, name] = what.split(/: (.*)/s) as [string, string | undefined];
      groups.set(group, [...(groups.get(group) ?? []), `${name ?? group} ${count}`]);
    }
    return [...groups].map(([group, members]) => `${group}: ${members.join(', ')}`);
  }

  /** All of it in one line. */
  get line(): string {
    const seconds = (performance.now() - this.#begunMs) / 1000;
    const sum = (prefix: string): number =>
      [...this.#counts].reduce((all, [what, count]) => (what.startsWith(prefix) ? all + count : all), 0);
    const points = [...this.#counts.keys()].filter((what) => what.startsWith('crash point: ')).length;
    return (
      `${this.seeds} seeds in ${seconds.toFixed(1)} s (${(this.seeds / seconds).toFixed(1)} per second), ` +
      `${this.#operations} operations, ${sum('fault: ')} faults of the store, ` +
      `${sum('crash point: ')} crashes at ${points} points, ${sum('trouble: ')} troubles, ` +
      `${Math.round(this.#virtualMs / 3_600_000)} hours`
    );
  }
}
