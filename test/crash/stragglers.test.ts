import assert from 'node:assert/strict';
import { copyFileSync, existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Ledger } from './ledger.ts';
import { newSite, runVictim, type Site, withSite } from './victim-process.ts';

const LATER = 3;
const OPERATIONS = 6;

/** Uploads that a killed process still had on its way, kept back so that a test can let them land when it likes. */
class Stragglers {
  readonly site: Site = newSite();
  readonly ledger: Ledger;
  readonly #directory = join(this.site.dataDir, 'on-the-way');

  constructor(seed: number) {
    this.ledger = new Ledger(seed);
  }

  /** Runs a victim whose last uploads stay on their way. */
  async make(count: number): Promise<void> {
    rmSync(this.#directory, { recursive: true, force: true });
    const point = { at: 'on the way', count, later: LATER, directory: this.#directory } as const;
    await runVictim(this.site, point, this.ledger);
    assert.ok(this.names.length > LATER, 'several uploads were on their way');
  }

  /** In the order of the log. */
  get names(): string[] {
    return readdirSync(this.#directory).sort();
  }

  path(name: string): string {
    return join(this.site.dataDir, 'store', 'chunks', name);
  }

  /** As a conditional PUT does: an existing name stays what it is. True when it landed. */
  land(name: string): boolean {
    if (existsSync(this.path(name))) return false;
    copyFileSync(join(this.#directory, name), this.path(name));
    return true;
  }

  stored(name: string): boolean {
    return readFileSync(join(this.#directory, name)).equals(readFileSync(this.path(name)));
  }

  deleteCache(): void {
    rmSync(join(this.site.dataDir, 'cache'), { recursive: true });
  }

  /** Starts the server, verifies, and writes some more. */
  async serve(): Promise<void> {
    await withSite(this.site, this.ledger, 'kill', (client) =>
      this.ledger.load(client, { operationsMax: OPERATIONS }),
    );
  }

  /** Restarts on the cache and without it: the same is there. */
  async check(): Promise<void> {
    await withSite(this.site, this.ledger, 'kill');
    this.deleteCache();
    await withSite(this.site, this.ledger, 'kill');
  }
}

describe('uploads that outlive their process', { timeout: 300_000 }, () => {
  const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);

  it('are part of the log when all of them land before the restart', async (test) => {
    test.diagnostic(`SEED=${seed}`);
    const stragglers = new Stragglers(seed);
    await stragglers.make(5);
    for (const name of stragglers.names) assert.equal(stragglers.land(name), true);
    await stragglers.serve();
    for (const name of stragglers.names) assert.equal(stragglers.stored(name), true, name);
    await stragglers.check();
  });

  it('are ignored when the first of them has not landed before the restart', async (test) => {
    test.diagnostic(`SEED=${seed}`);
    const stragglers = new Stragglers(seed);
    await stragglers.make(4);
    const [first, ...later] = stragglers.names as [string, ...string[]];
    for (const name of later) assert.equal(stragglers.land(name), true);
    await stragglers.serve();
    assert.equal(stragglers.land(first), false, 'the epoch chunk has its name');
    await stragglers.check();
  });

  it('are ignored when they land after the restart listed the log', async (test) => {
    test.diagnostic(`SEED=${seed}`);
    const stragglers = new Stragglers(seed);
    await stragglers.make(7);
    await withSite(stragglers.site, stragglers.ledger, 'kill', async (client) => {
      const landed = stragglers.names.map((name) => stragglers.land(name));
      assert.deepEqual(landed, [false, ...landed.slice(1).map(() => true)]);
      await stragglers.ledger.load(client, { operationsMax: OPERATIONS });
    });
    await stragglers.check();
  });

  it('of two processes are ignored, whenever they land', async (test) => {
    test.diagnostic(`SEED=${seed}`);
    const stragglers = new Stragglers(seed);
    for (const count of [3, 2, 6]) {
      await stragglers.make(count);
      const [first, second, ...later] = stragglers.names as [string, string, ...string[]];
      for (const name of later) stragglers.land(name);
      await stragglers.serve();
      assert.equal(stragglers.land(first), false);
      assert.equal(stragglers.land(second), true);
      await stragglers.check();
    }
  });

  it('of a process that dies while it claims the log leave the claim to the next', async (test) => {
    test.diagnostic(`SEED=${seed}`);
    const stragglers = new Stragglers(seed);
    await stragglers.serve();
    const directory = join(stragglers.site.dataDir, 'claim');
    // Its epoch chunk stays on its way; it lands before, and then after, the next process claims the log.
    for (const lands of ['before', 'after'] as const) {
      rmSync(directory, { recursive: true, force: true });
      const point = { at: 'on the way', count: 1, later: 0, directory } as const;
      await runVictim(stragglers.site, point, stragglers.ledger);
      const [name] = readdirSync(directory) as [string];
      if (lands === 'before') copyFileSync(join(directory, name), stragglers.path(name));
      await stragglers.serve();
      assert.equal(existsSync(stragglers.path(name)), true);
      await stragglers.check();
    }
  });
});
