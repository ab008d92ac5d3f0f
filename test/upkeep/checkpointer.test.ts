import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Checkpointer } from '../../src/main/upkeep/checkpointer.ts';
import { walPages } from '../../src/main/upkeep/wal-index.ts';
import { systemClock } from '../../src/shared/base/clock.ts';
import { silentLog } from '../../src/shared/base/log.ts';
import { type Connection, openToRead, openToWrite } from '../../src/workers/sqlite/database.ts';
import { checkpoint } from '../../src/workers/task/checkpoint.ts';
import { ManualClock } from '../support/clock.ts';
import { temporaryDirectory } from '../support/netsy.ts';

const LOOK_MS = 100;
const PAGES_PER_LOOK = 600;

/** A cache that is written to at a steady rate, and what copies its log. */
class Site {
  readonly file = join(temporaryDirectory(), 'cache.sqlite');
  readonly clock = new ManualClock();
  readonly writer: Connection = openToWrite(this.file);
  /** How many pages each round of copying found that were not copied before. */
  readonly fresh: number[] = [];
  held = 0;
  readonly #checkpointer: Checkpointer;
  #rows = 0;

  constructor() {
    const copy = async (): Promise<ReturnType<typeof checkpoint>> => {
      const { logged, copied } = await walPages(this.file);
      this.fresh.push(logged - copied);
      return checkpoint(this.file);
    };
    this.#checkpointer = new Checkpointer({
      ...{ cacheFile: this.file, clock: this.clock, log: silentLog, copy },
      holding: (work) => {
        this.held++;
        return work();
      },
    });
  }

  /** Writes so many pages, or a few more; how long the log is then. */
  async write(pages: number): Promise<number> {
    const insert = this.writer.prepare('INSERT INTO system (name, value) VALUES (?, ?)');
    // The first one may find that the log can start anew.
    for (let begin: number | undefined; ; ) {
      insert.run(`${this.#rows++}`, Buffer.alloc(80_000));
      const { logged } = await walPages(this.file);
      begin ??= logged;
      if (logged - begin >= pages) return logged;
    }
  }

  /** Lets the time for one look pass, and waits for what it does. */
  async look(afterMs = LOOK_MS): Promise<void> {
    this.clock.advance(afterMs);
    while (this.clock.waiting === 0) await systemClock.sleep(1);
  }

  close(): void {
    this.#checkpointer.stop();
    this.writer.close();
  }
}

describe('copying the write-ahead log', () => {
  it('goes on at the rate of the writes, so that the log starts anew each time', async () => {
    const site = new Site();
    for (let turn = 0; turn < 5; turn++) {
      // More each time: the log is no shorter than when it was last copied.
      const logged = await site.write(PAGES_PER_LOOK + 20 * turn);
      assert.ok(logged < PAGES_PER_LOOK + 20 * turn + 100, `${logged} pages: it did not start anew`);
      await site.look();
    }
    // A round for what was there, one for what came meanwhile, and one while nothing comes.
    assert.deepEqual([site.fresh.length, site.held], [15, 5]);
    site.close();
  });

  it('leaves a log alone that is short, or copied already', async () => {
    const site = new Site();
    await site.write(300);
    await site.look();
    assert.deepEqual([site.fresh, site.held], [[], 0]);
    await site.write(PAGES_PER_LOOK);
    await site.look();
    const copies = site.fresh.length;
    await site.look();
    assert.deepEqual([copies, site.fresh.length, site.held], [3, 3, 1]);
    site.close();
  });

  it('has no more to do at a time while reads keep the log from starting anew', async () => {
    const site = new Site();
    let reader: Connection | undefined;
    for (let turn = 0; turn < 6; turn++) {
      await site.write(PAGES_PER_LOOK);
      // Each read begins before the one before it ends, behind all that was written.
      const next = openToRead(site.file);
      next.exec('BEGIN');
      next.prepare('SELECT count(*) FROM system').get();
      reader?.close();
      reader = next;
      await site.look();
    }
    assert.ok((await walPages(site.file)).logged > 5 * PAGES_PER_LOOK, 'it has not started anew');
    assert.ok(Math.max(...site.fresh) < PAGES_PER_LOOK + 100, `copied at once: ${site.fresh.join(', ')}`);
    reader?.close();
    await site.write(PAGES_PER_LOOK);
    await site.look();
    assert.ok((await site.write(1)) < 100, 'it started anew');
    site.close();
  });

  it('waits longer when a read leaves nothing to copy', async () => {
    const site = new Site();
    await site.write(1);
    const reader = openToRead(site.file);
    reader.exec('BEGIN');
    reader.prepare('SELECT count(*) FROM system').get();
    await site.write(PAGES_PER_LOOK);
    await site.look();
    const looks = site.fresh.length;
    await site.write(PAGES_PER_LOOK);
    await site.look();
    const before = site.fresh.length;
    site.clock.advance(9 * LOOK_MS);
    await systemClock.sleep(20);
    assert.equal(site.fresh.length, before, 'not within a second');
    assert.ok(looks >= 1 && before >= looks);
    reader.close();
    site.close();
  });
});
