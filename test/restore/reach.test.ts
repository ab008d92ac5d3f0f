import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Bases } from '../../src/main/restore/bases.ts';
import { type Reached, reach } from '../../src/main/restore/reach.ts';
import type { Wanted } from '../../src/main/restore/wanted.ts';
import { openChunk } from '../../src/workers/task/open.ts';
import { EMPTY_LOG, MadeLog } from '../support/made-log.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { localPool } from '../support/snapshots.ts';

const START_MS = 1_790_000_000_000;
const MINUTE_MS = 60_000;

/** Goes to the point, noting what is loaded on the way. */
async function reached(log: MadeLog, wanted: Wanted): Promise<{ end: Reached; loaded: number[] }> {
  const loaded: number[] = [];
  let position = EMPTY_LOG;
  const source = {
    store: log.store,
    pool: { ...localPool, open: openChunk },
    signal: new AbortController().signal,
  };
  const end = await reach(
    {
      ...source,
      wanted,
      bases: await Bases.list(source),
      nonce: 5n,
      progress: () => {},
      load: async (chunks) => {
        for (const { sequence, crc, skipTo, lastRevision } of chunks) {
          loaded.push(sequence);
          const revision = Math.max(position.revision, lastRevision);
          const nextSequence = skipTo ?? sequence + 1;
          position = { ...position, sequence, chunkCrc: crc, nextSequence, epoch: 1, revision };
        }
        return position;
      },
    },
    { position: EMPTY_LOG, createdAtMs: START_MS },
  );
  return { end, loaded };
}

async function logAt(...minutes: number[]): Promise<MadeLog> {
  const log = new MadeLog(new MemoryStore());
  log.createdAtMs = START_MS;
  await log.claim();
  for (const minute of minutes) {
    log.createdAtMs = START_MS + minute * MINUTE_MS;
    await log.write([
      [`a${minute}`, 'x'],
      [`b${minute}`, 'y'],
      [`c${minute}`, 'z'],
    ]);
  }
  return log;
}

const byTime = (minute: number): Wanted => ({ kind: 'time', timeMs: START_MS + minute * MINUTE_MS });

describe('the way to a restore point', () => {
  it('ends inside a chunk, at the last record of the revision', async () => {
    const log = await logAt(1, 2);
    for (const [revision, chunks] of [
      [1, 1],
      [2, 2],
      [4, 2],
      [5, 3],
      [7, 3],
    ] as const) {
      const { end, loaded } = await reached(log, { kind: 'revision', revision });
      assert.equal(end.position.revision, revision);
      assert.equal(loaded.length, chunks, `revision ${revision}`);
      assert.equal(end.cut !== undefined, revision === 2 || revision === 5);
    }
    await assert.rejects(reached(log, { kind: 'revision', revision: 8 }), /revision 8 is in the future/);
  });

  it('takes a cut chunk for another one: its CRC is not the one of the chunk in the log', async () => {
    const log = await logAt(1);
    const whole = await reached(log, { kind: 'revision', revision: 4 });
    const cut = await reached(log, { kind: 'revision', revision: 3 });
    assert.equal(cut.end.position.sequence, whole.end.position.sequence);
    assert.notEqual(cut.end.position.chunkCrc, whole.end.position.chunkCrc);
  });

  it('by time, goes to the last chunk that is not later, though clocks disagree', async () => {
    const log = await logAt(1, 2, 6, 3, 7, 20);
    assert.equal((await reached(log, byTime(1.5))).loaded.length, 2);
    // The primary of minute 6 was ahead; the one after it says 3.
    const { end, loaded } = await reached(log, byTime(3));
    assert.equal(loaded.length, 5);
    assert.equal(end.createdAtMs, START_MS + 3 * MINUTE_MS);
    assert.deepEqual(loaded, [...new Set(loaded)], 'nothing is applied twice');
    assert.equal((await reached(log, byTime(25))).loaded.length, 7);
    assert.equal((await reached(log, byTime(-1))).loaded.length, 0);
  });
});
