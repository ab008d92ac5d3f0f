import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Client } from '../crash/client.ts';
import { type Revision, readHistory } from '../crash/history.ts';
import { Ledger } from '../crash/ledger.ts';
import { type Netsy, startNetsy, temporaryDirectory } from '../support/netsy.ts';
import { Seeded } from '../support/seeded.ts';
import { Watcher } from './watch-watchers.ts';

const KILLS = 5;
const ARGUMENTS = ['--watch-stream-buffer-bytes', '64KiB', '--batch-max-requests', '6'];

/** A client's watch that goes on, after each restart, from the revision after the last one it saw. */
class Resuming {
  readonly revisions: Revision[] = [];
  #last = 1;
  #client: Client | undefined;
  #watcher: Watcher | undefined;

  get last(): number {
    return this.#watcher?.reader.last ?? this.#last;
  }

  resume(netsy: Netsy): Watcher {
    this.#client = new Client(netsy.authority);
    this.#watcher = new Watcher(this.#client, this.#last + 1);
    return this.#watcher;
  }

  /** After the server's end: keeps what came, on the wire and not yet read too. */
  async lost(): Promise<void> {
    const watcher = this.#watcher!;
    watcher.stream.resume();
    assert.match(await watcher.ended, /UNAVAILABLE|CANCELLED/);
    this.#finish(watcher);
  }

  end(): void {
    this.#watcher!.stream.cancel();
    this.#finish(this.#watcher!);
  }

  #finish(watcher: Watcher): void {
    this.revisions.push(...watcher.reader.revisions);
    this.#last = watcher.reader.last;
    this.#watcher = undefined;
    this.#client!.close();
  }
}

describe('watchers across kill -9', { timeout: 120_000 }, () => {
  it('that resume from the revision after their last see every event once, and none that did not last', async (test) => {
    const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000);
    test.diagnostic(`SEED=${seed}`);
    const [seeded, ledger] = [new Seeded(seed), new Ledger(seed)];
    const dataDir = temporaryDirectory();
    const [live, slow] = [new Resuming(), new Resuming()];
    for (let kill = 0; kill < KILLS; kill++) {
      const netsy = await startNetsy({ dataDir, arguments: ARGUMENTS });
      const client = new Client(netsy.authority);
      await ledger.verify(client);
      live.resume(netsy);
      const watcher = slow.resume(netsy);
      const loaded = ledger.load(client);
      await ledger.untilAcknowledged(seeded.integer(50, 200));
      watcher.stream.pause();
      await ledger.untilAcknowledged(seeded.integer(50, 400));
      await netsy.kill();
      await loaded;
      client.close();
      await Promise.all([live.lost(), slow.lost()]);
      if (kill % 2 === 1) rmSync(join(dataDir, 'cache'), { recursive: true });
    }
    const netsy = await startNetsy({ dataDir, arguments: ARGUMENTS });
    const client = new Client(netsy.authority);
    const newest = await client.revision();
    await Promise.all([live, slow].map((resuming) => resuming.resume(netsy).reaches(newest)));
    live.end();
    slow.end();
    const history = await readHistory(client);
    ledger.compare(history);
    assert.deepEqual(live.revisions, history);
    assert.deepEqual(slow.revisions, history);
    test.diagnostic(`${history.length} revisions over ${KILLS} kills`);
    client.close();
    assert.equal(await netsy.stop(), 'exit code 0');
  });
});
