import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { LOG_BEGINNING, type LogChunk, LogReader } from '../../src/main/recovery/log-reader.ts';
import { chunkKey } from '../../src/shared/format/names.ts';
import { collected } from '../cluster/world.ts';
import { MadeLog } from '../support/made-log.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { localPool } from '../support/snapshots.ts';

/** Three terms; the first two left stragglers, which are damaged as far as the log is concerned. */
async function made(): Promise<{ log: MadeLog; store: MemoryStore; reader: LogReader }> {
  const store = new MemoryStore();
  const log = new MadeLog(store);
  for (let term = 0; term < 3; term++) {
    await log.claim();
    if (term > 0) for (let left = 1; left < 5; left++) await log.straggle(log.next - 65 + left);
    for (let chunk = 0; chunk < 40; chunk++) await log.write([[`key-${chunk % 7}`, `${term}.${chunk}`]]);
  }
  return { log, store, reader: new LogReader({ store, pool: localPool }) };
}

const sequencesOf = (chunks: LogChunk[]): number[] => chunks.map(({ sequence }) => sequence);

describe('the reader of a log', () => {
  it('gives the chunks of the log in order, and not those that fenced processes left', async () => {
    const { log, reader } = await made();
    const chunks = await collected(reader.chunks(LOG_BEGINNING));
    assert.deepEqual(sequencesOf(chunks), log.sequences);
    const bytes = chunks.reduce((sum, { storedBytes }) => sum + storedBytes, 0);
    assert.ok((await reader.bytesFrom(1)) >= bytes);
  });

  it('goes on behind any chunk', async () => {
    const { log, reader } = await made();
    const chunks = await collected(reader.chunks(LOG_BEGINNING));
    for (const [index, { sequence, crc, skipTo }] of chunks.entries()) {
      const from = { sequence, chunkCrc: crc, nextSequence: skipTo ?? sequence + 1 };
      assert.deepEqual(sequencesOf(await collected(reader.chunks(from))), log.sequences.slice(index + 1));
    }
  });

  it('refuses a chunk that does not follow the one before it', async () => {
    const { store, log, reader } = await made();
    const [at] = log.sequences.slice(-3);
    await store.delete(chunkKey(at!));
    await log.straggle(at!);
    await assert.rejects(collected(reader.chunks(LOG_BEGINNING)), /previous chunk CRC64/);
  });

  it('names a chunk of the log that is damaged, and one that is missing', async () => {
    const { store, log, reader } = await made();
    const at = log.sequences[20]!;
    await store.put(chunkKey(at), Buffer.from('garbage'));
    await assert.rejects(collected(reader.chunks(LOG_BEGINNING)), new RegExp(chunkKey(at)));
    await store.delete(chunkKey(at));
    await assert.rejects(
      collected(reader.chunks(LOG_BEGINNING)),
      new RegExp(`chunk ${at} is missing but chunk`),
    );
  });

  it('ends when it is told to', async () => {
    const { store } = await made();
    const stop = new AbortController();
    const reader = new LogReader({ store, pool: localPool, signal: stop.signal });
    const reading = reader.chunks(LOG_BEGINNING);
    await reading.next();
    stop.abort(new Error('stopping'));
    await assert.rejects(collected(reading), /stopping/);
  });
});
