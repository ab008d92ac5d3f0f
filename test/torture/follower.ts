import assert from 'node:assert/strict';
import { systemClock } from '../../src/shared/base/clock.ts';
import type { Client } from '../crash/client.ts';
import type { Revision } from '../crash/history.ts';
import { Watcher } from '../e2e/watch-watchers.ts';

/** As grpc-js words the end of a stream; everything else is the watcher's own complaint. */
const ENDED_BY_SERVER = /^\d+ [A-Z_]+: /;
const REACHES_MS = 60_000;

/** A client that watches everything, and when its server is gone goes on at another where it stopped. */
export class LogFollower {
  readonly #watchers: Watcher[] = [];

  /** Goes on at this server, from the revision after the last that was seen. */
  async attach(client: Client): Promise<void> {
    const before = this.#watchers[this.#watchers.length - 1];
    before?.stream.cancel();
    const why = await before?.ended;
    if (why !== undefined) assert.match(why, ENDED_BY_SERVER, 'a watcher complained');
    this.#watchers.push(new Watcher(client, this.#last + 1));
  }

  get #last(): number {
    return this.#watchers[this.#watchers.length - 1]?.reader.last ?? 1;
  }

  /** Throws unless what was seen is the log, whole, once and in order. */
  async check(history: readonly Revision[]): Promise<void> {
    const newest = history[history.length - 1]?.revision ?? 1;
    const until = systemClock.monotonicMs() + REACHES_MS;
    while (this.#last < newest) {
      assert.ok(
        systemClock.monotonicMs() < until,
        `a watcher saw revisions up to ${this.#last} of ${newest}`,
      );
      await systemClock.sleep(10);
    }
    const seen = this.#watchers.flatMap(({ reader }) => reader.revisions);
    assert.deepEqual(seen, history, 'a watcher saw something else than the log');
  }
}
