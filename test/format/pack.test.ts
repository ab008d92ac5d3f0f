import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fromBinary } from '@bufbuild/protobuf';
import { inspectFiles } from '../../src/main/inspect.ts';
import { LOG_BEGINNING, LogReader } from '../../src/main/recovery/log-reader.ts';
import { PackBuilder } from '../../src/main/upkeep/pack-builder.ts';
import { CorruptFileError } from '../../src/shared/format/corrupt.ts';
import { chunkKey } from '../../src/shared/format/names.ts';
import { decodePackHeader, type PackHeader } from '../../src/shared/format/pack.ts';
import type { StoredChunk } from '../../src/workers/contract/task.ts';
import type { LoadedChunk } from '../../src/workers/contract/writer.ts';
import { openFrame } from '../../src/workers/task/open.ts';
import { collected } from '../cluster/world.ts';
import { MadeLog } from '../support/made-log.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { localPool } from '../support/snapshots.ts';
import { FileHeaderSchema } from './gen/netsy_pb.ts';

const NAME = 'packs/a-b.netsy';

async function made(): Promise<{
  object: Buffer;
  range: { first: number; last: number };
  chunks: LoadedChunk[];
}> {
  const store = new MemoryStore();
  const log = new MadeLog(store);
  for (let term = 0; term < 2; term++) {
    await log.claim();
    for (let chunk = 0; chunk < 5; chunk++) await log.write([[`key-${chunk}`, `${term}`.repeat(50 * chunk)]]);
  }
  const chunks = await collected(new LogReader({ store, pool: localPool }).chunks(LOG_BEGINNING));
  const builder = new PackBuilder(localPool, LOG_BEGINNING);
  for (const chunk of chunks) await builder.add(chunk);
  const { object, ...range } = await builder.finish();
  return { object: Buffer.from(object), range, chunks };
}

async function opened(object: Uint8Array, range: { first: number; last: number }): Promise<LoadedChunk[]> {
  const header = decodePackHeader(object, NAME, range, object.length);
  const chunks: LoadedChunk[] = [];
  let offset = header.byteLength;
  let { previousChunkCrc } = header;
  for (const frame of header.pack) {
    const bytes = new Uint8Array(object.subarray(offset, offset + frame.bytes));
    const place = { name: NAME, offset, frame, previousChunkCrc };
    chunks.push(...(await openFrame({ place, bytes, from: 0 })));
    offset += frame.bytes;
    previousChunkCrc = frame.lastCrc;
  }
  return chunks;
}

describe('a pack', () => {
  it('gives back every chunk as it was', async () => {
    const { object, range, chunks } = await made();
    const again = await opened(object, range);
    const plain = chunks.map(({ header, body, sequence, crc, skipTo }) => {
      const bytes = Buffer.concat([header, body]).toString('hex');
      return { bytes, sequence, crc, skipTo };
    });
    assert.deepEqual(
      again.map(({ header, body, sequence, crc, skipTo }) => {
        const bytes = Buffer.concat([header, body]).toString('hex');
        return { bytes, sequence, crc, skipTo };
      }),
      plain,
    );
  });

  it('says in its header what the proto file says', async () => {
    const { object, range } = await made();
    const header: PackHeader = decodePackHeader(object, NAME, range, object.length);
    const start = object.length - header.pack.reduce((sum, { bytes }) => sum + bytes, 0);
    const lengthBytes = object[0]! < 0x80 ? 1 : 2;
    const { pack } = fromBinary(FileHeaderSchema, object.subarray(lengthBytes, start));
    assert.deepEqual(
      pack.map((frame) => ({
        first: Number(frame.first),
        chunks: Number(frame.chunks),
        nextSequence: Number(frame.nextSequence),
        bytes: Number(frame.bytes),
        contentBytes: Number(frame.contentBytes),
        lastCrc: frame.lastCrc,
      })),
      header.pack,
    );
  });

  it('is refused, by name, wherever a byte of it is changed or it is cut short, or it gives the same chunks', async () => {
    const { object, range, chunks } = await made();
    const told = (all: LoadedChunk[]): string =>
      all.map(({ body }) => Buffer.from(body).toString('hex')).join();
    const whole = told(chunks);
    let refused = 0;
    for (let at = 0; at < object.length; at++) {
      const damaged = Buffer.from(object);
      damaged[at]! ^= 1 << (at % 8);
      for (const bytes of at % 7 === 0 ? [damaged, object.subarray(0, at)] : [damaged]) {
        try {
          assert.equal(told(await opened(bytes, range)), whole, `byte ${at}`);
        } catch (error) {
          if (!(error instanceof CorruptFileError)) throw error;
          assert.ok(error.message.startsWith(NAME), error.message);
          refused++;
        }
      }
    }
    assert.ok(refused > object.length * 0.95, `${refused} of ${object.length}`);
  });

  it('is refused under the name of another range, and when frames change places', async () => {
    const { object, range } = await made();
    for (const other of [
      { ...range, first: range.first + 1 },
      { ...range, last: range.last + 1 },
    ]) {
      assert.throws(() => decodePackHeader(object, NAME, other, object.length), CorruptFileError);
    }
    const { pack, byteLength } = decodePackHeader(object, NAME, range, object.length);
    const [one, two] = pack;
    const end = byteLength + one!.bytes;
    const swapped = Buffer.concat([
      object.subarray(0, byteLength),
      object.subarray(end, end + two!.bytes),
      object.subarray(byteLength, end),
      object.subarray(end + two!.bytes),
    ]);
    await assert.rejects(opened(swapped, range), CorruptFileError);
  });

  it('is printed by inspect, chunk by chunk', async (test) => {
    const { object, chunks } = await made();
    const folder = mkdtempSync(join(tmpdir(), 'netsy-pack-'));
    test.after(() => rmSync(folder, { recursive: true }));
    const [path, damaged] = [join(folder, 'a.netsy'), join(folder, 'b.netsy')];
    writeFileSync(path, object);
    object[object.length - 3]! ^= 1;
    writeFileSync(damaged, object);
    const lines: Record<string, Record<string, unknown>>[] = [];
    assert.equal(await inspectFiles([path], (line) => lines.push(JSON.parse(line))), 0);
    assert.equal(lines[0]?.['header']?.['kind'], 'Pack');
    assert.deepEqual(
      lines.flatMap((line) => line['chunk']?.['sequence'] ?? []),
      chunks.map(({ sequence }) => sequence),
    );
    assert.equal(lines.filter((line) => line['footer'] !== undefined).length, chunks.length);
    assert.equal(await inspectFiles([damaged], () => {}), 1);
  });
});

describe("a pack's frame of chunks as they are stored", () => {
  it('is refused where one of them does not follow, or is not whole by its header and footer', async () => {
    const store = new MemoryStore();
    const log = new MadeLog(store);
    await log.claim();
    for (let chunk = 0; chunk < 9; chunk++) await log.write([[`key-${chunk}`, 'x'.repeat(50)]]);
    const stored = async (sequence: number): Promise<StoredChunk> => ({
      sequence,
      object: (await store.get(chunkKey(sequence)))!,
    });
    const sequences = log.sequences.slice(1);
    const chunks = await Promise.all(sequences.map(stored));
    const [first, second, third] = chunks as [StoredChunk, StoredChunk, StoredChunk];
    const { frame, records } = await localPool.packFrame(chunks);
    assert.deepEqual([frame.first, frame.chunks, records], [sequences[0], 9, 9]);
    await assert.rejects(localPool.packFrame([first, third]), /previous chunk CRC64/);
    await assert.rejects(localPool.packFrame([{ ...first, sequence: 1 }, second]), /sequence/);
    for (const at of [3, -3]) {
      const object = Buffer.from(first.object);
      object[(object.length + at) % object.length]! ^= 1;
      await assert.rejects(localPool.packFrame([{ ...first, object }, second]), /^Corrupt/);
    }
  });
});
