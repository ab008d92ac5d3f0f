import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { LOG_BEGINNING, LogReader } from '../../src/main/recovery/log-reader.ts';
import { openFileStore } from '../../src/main/store/file.ts';
import type { ObjectStore } from '../../src/main/store/store.ts';
import { PACK_BYTES, planMerge } from '../../src/main/upkeep/merge-plan.ts';
import { PackBuilder } from '../../src/main/upkeep/pack-builder.ts';
import { systemClock } from '../../src/shared/base/clock.ts';
import { systemRandom } from '../../src/shared/base/random.ts';
import { packKey } from '../../src/shared/format/names.ts';
import { compressBody } from '../../src/workers/task/compress.ts';
import { openChunk, openFrame } from '../../src/workers/task/open.ts';
import { positive } from '../flags.ts';
import { LogWriter } from '../start/log-writer.ts';

/**
 * `npm run bench-merge`: what merging costs. First the plan alone, over a day of chunks of several sizes: how often each
 * byte is written again, and how many objects a start reads. Then real chunks, in one thread: what a pack takes compared
 * with its chunks, and how fast both are read.
 */

const SIZES = [300, 1024, 4096, 32 * 1024, 256 * 1024];

const { chunks: count, level } = new Command('bench-merge')
  .option('--chunks <count>', 'chunks of the measured log', positive, 4000)
  .option('--level <level>', "zstd's", positive, 1)
  .parse()
  .opts<{ chunks: number; level: number }>();

/** `ratio`: what packing leaves of a chunk. */
function simulate(chunkBytes: number, ratio: number, chunksMax: number): string {
  const total = Math.min(200_000, Math.floor((4 * 1024 ** 3) / chunkBytes));
  const packs: { size: number }[] = [];
  let [pending, written, objectsMax, objectsSum] = [0, 0, 0, 0];
  const isDue = (): boolean =>
    pending >= chunksMax || (pending > 1 && pending * chunkBytes * ratio >= PACK_BYTES);
  for (let chunk = 0; chunk < total; chunk++) {
    pending++;
    if (isDue()) {
      packs.push({ size: pending * chunkBytes * ratio });
      written += pending * chunkBytes * ratio;
      pending = 0;
      for (let run = planMerge(packs); run !== undefined; run = planMerge(packs)) {
        const size = run.reduce((sum, pack) => sum + pack.size, 0);
        packs.splice(packs.length - run.length, run.length, { size });
        written += size;
      }
    }
    const small = packs.filter(({ size }) => size < PACK_BYTES / 2).length;
    const objects = pending + (chunk % 64 === 0 ? small : 0);
    objectsMax = Math.max(objectsMax, objects);
    objectsSum += pending + small;
  }
  const again = written / (total * chunkBytes * ratio);
  return `${String(chunkBytes).padStart(8)} B  ${String(chunksMax).padStart(5)}  ${again.toFixed(2).padStart(5)} x  ${String(Math.round(objectsSum / total)).padStart(6)}  ${String(objectsMax).padStart(6)}  ${String(total).padStart(7)} -> ${pending + packs.length}`;
}

async function measure(recordsPerChunk: number, valueBytes: number): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'netsy-bench-merge-'));
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  const open = (name: string): Promise<ObjectStore> =>
    openFileStore(join(directory, name), { clock: systemClock, random: systemRandom });
  const log = new LogWriter(join(directory, 'chunks'));
  const store = await open('chunks');
  await log.begin();
  for (let chunk = 0; chunk < count; chunk++) {
    await log.put(
      Array.from({ length: recordsPerChunk }, (_, record) => (chunk * recordsPerChunk + record) % 5000),
      valueBytes,
    );
  }
  const builder = new PackBuilder({ compress: (body) => compressBody(body, level) }, LOG_BEGINNING);
  let [stored, content] = [0, 0];
  const began = performance.now();
  const reader = new LogReader({ store, pool: { open: openChunk, openFrame } });
  for await (const chunk of reader.chunks(LOG_BEGINNING)) {
    stored += chunk.storedBytes;
    content += chunk.header.length + chunk.body.length;
    await builder.add(chunk);
  }
  const { object, first, last } = await builder.finish();
  const mergeMs = performance.now() - began;
  const packed = await open('packed');
  await packed.put(packKey(first, last), object);
  const chunksMs = await readMs(store);
  const packMs = await readMs(packed);
  await Promise.all([store.close(), packed.close()]);
  const rate = (ms: number): string => `${(content / 1e6 / (ms / 1000)).toFixed(0).padStart(4)} MB/s`;
  return (
    `${String(recordsPerChunk).padStart(5)} x ${String(valueBytes).padEnd(5)} ${(stored / 1e6).toFixed(2).padStart(7)} MB  ` +
    `${(object.length / 1e6).toFixed(2).padStart(7)} MB  ${(object.length / stored).toFixed(2)}  ` +
    `merge ${rate(mergeMs)}  read chunks ${rate(chunksMs)}  read pack ${rate(packMs)}`
  );
}

async function readMs(store: ObjectStore): Promise<number> {
  const reader = new LogReader({ store, pool: { open: openChunk, openFrame } });
  const began = performance.now();
  for await (const _ of reader.chunks(LOG_BEGINNING));
  return performance.now() - began;
}

process.stdout.write('   chunk       merge at  written  objects beside full packs\n');
process.stdout.write('                         again     mean    max   chunks -> objects\n');
for (const size of SIZES) {
  for (const chunksMax of [64, 256, 1024]) process.stdout.write(`${simulate(size, 0.6, chunksMax)}\n`);
}
process.stdout.write('\nrecords x value  as chunks   as a pack  ratio\n');
for (const [records, bytes] of [
  [1, 300],
  [1, 1024],
  [10, 1024],
  [100, 1024],
] as const) {
  process.stdout.write(`${await measure(records, bytes)}\n`);
}
