import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Standby } from '../../src/main/cluster/standby.ts';
import { Follower } from '../../src/main/recovery/follower.ts';
import { Recovery } from '../../src/main/recovery/recover.ts';
import { systemClock } from '../../src/shared/base/clock.ts';
import { silentLog } from '../../src/shared/base/log.ts';
import { systemRandom } from '../../src/shared/base/random.ts';
import { CHUNKS_PREFIX, chunkKey, snapshotKey } from '../../src/shared/format/names.ts';
import type { LoadedChunk, LogPosition } from '../../src/workers/contract/writer.ts';
import { collected } from '../cluster/world.ts';
import { EMPTY_LOG } from '../support/made-log.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { localPool } from '../support/snapshots.ts';

/** One process's recovery over a store, without SQLite: the log of these tests has epoch chunks alone. */
function processOn(store: MemoryStore, untilPrimary: () => Promise<void> = async () => {}) {
  let position = EMPTY_LOG;
  const noSnapshot = (): never => assert.fail('this log has no snapshots');
  const pool = { ...localPool, openPiece: noSnapshot, inflate: noSnapshot };
  const load = async (chunks: LoadedChunk[]): Promise<LogPosition> => {
    for (const { sequence, crc, skipTo } of chunks) {
      assert.equal(sequence, position.nextSequence);
      assert.ok(skipTo !== undefined);
      position = {
        ...position,
        sequence,
        chunkCrc: crc,
        nextSequence: skipTo,
        epoch: position.epoch + 1,
        clusterId: 7n,
      };
    }
    return position;
  };
  const recovery = new Recovery({
    ...{ store, pool, load, untilPrimary },
    append: async (key, object) =>
      (await store.putIfAbsent(key, object)) === 'created' ? 'durable' : 'lost',
    writer: {
      opened: async () => ({ position: EMPTY_LOG, rebuilt: '' }),
      reset: async () => EMPTY_LOG,
      ...{ fillBegin: noSnapshot, fill: noSnapshot, fillEnd: noSnapshot },
    },
    nodeId: 'a1',
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
  });
  return { recovery, follower: new Follower({ store, pool, load, clock: systemClock }) };
}

async function chunks(store: MemoryStore): Promise<string[]> {
  return (await collected(store.list(CHUNKS_PREFIX))).map(({ key }) => key);
}

describe('a claim', () => {
  it('waits for the lease after it has followed the log, and is made when it is held', async () => {
    const store = new MemoryStore();
    let hold = (): void => {};
    const held = new Promise<void>((resolve) => {
      hold = resolve;
    });
    const { recovery } = processOn(store, () => held);
    const claiming = recovery.claim(await recovery.open());
    await systemClock.sleep(20);
    assert.deepEqual(await chunks(store), []);
    hold();
    assert.equal((await claiming).epoch, 1);
    assert.deepEqual(await chunks(store), [chunkKey(1)]);
  });

  it('by one that slept while another took lease and log is not made on top of that', async () => {
    const store = new MemoryStore();
    const never = new Promise<void>(() => {});
    let asked = 0;
    // The lease was held when the log was followed first; then this process slept, and lost it.
    const slept = processOn(store, async () => {
      if (asked++ > 0) return never;
      const other = processOn(store).recovery;
      await other.claim(await other.open());
    });
    void slept.recovery.claim(await slept.recovery.open());
    await systemClock.sleep(50);
    assert.equal(asked, 2, 'it has found that its claim came too late, followed the log, and asks again');
    assert.deepEqual(await chunks(store), [chunkKey(1)]);
  });
});

/** A standby that has followed chunk 1 of a log whose next chunk is deleted, though the primary has more. */
async function standbyBeforeAGap(): Promise<{ store: MemoryStore; from: LogPosition; standby: Standby }> {
  const store = new MemoryStore();
  const { recovery, follower } = processOn(store);
  for (let claim = 0; claim < 3; claim++) {
    const other = processOn(store).recovery;
    await other.claim(await other.open());
  }
  const [first] = await chunks(store);
  const from = await follower.step(EMPTY_LOG);
  assert.deepEqual([from.sequence, chunkKey(from.sequence)], [1, first]);
  await store.delete(chunkKey(from.nextSequence));
  const standby = new Standby({
    clock: systemClock,
    log: silentLog,
    leaseTtlMs: 1000,
    lease: {
      look: async () => {},
      tryAcquire: async () => false,
      holder: {
        ...{ holder: 'b', process: 'p', ttlMs: 1000, released: false, name: '', clientUrls: [] },
        sequence: from.nextSequence + 65,
      },
    },
    follow: (position) => follower.step(position),
    catchUp: (position) => recovery.catchUp(position),
  });
  return { store, from, standby };
}

describe('a standby that follows', () => {
  it('ends with an error when the primary has chunks that the store has not', async () => {
    const { from, standby } = await standbyBeforeAGap();
    await assert.rejects(standby.run(from), /the log has lost chunks/);
  });

  it('ends and says what to do when it has fallen behind the chunks that are kept', async () => {
    const { store, from, standby } = await standbyBeforeAGap();
    await store.put(snapshotKey(from.nextSequence + 65), new Uint8Array(1));
    await assert.rejects(standby.run(from), /fallen behind what is kept of the log .* start it again/);
  });
});
