import { readFileSync } from 'node:fs';
import { compress, decompress } from '@mongodb-js/zstd';
import fc from 'fast-check';
import { LOG_BEGINNING, LogReader } from '../../../src/main/recovery/log-reader.ts';
import { PackBuilder } from '../../../src/main/upkeep/pack-builder.ts';
import { asBuffer } from '../../../src/shared/base/bytes.ts';
import { encodeFile, FileEncoder, type NewFileHeader } from '../../../src/shared/format/encode.ts';
import { FileCompression, FileKind } from '../../../src/shared/format/file.ts';
import { chunkKey, packKey, snapshotKey } from '../../../src/shared/format/names.ts';
import {
  type LogRecord,
  Operation,
  operationRecord,
  systemRecord,
} from '../../../src/shared/model/record.ts';
import { FIXTURE_SNAPSHOT, fixtureChunks } from '../../format/fixtures.ts';
import { anyRecord, sampleHeader, samplePut, sampleRecords } from '../../format/samples.ts';
import { MadeLog } from '../../support/made-log.ts';
import { MemoryStore } from '../../support/memory-store.ts';
import { Seeded } from '../../support/seeded.ts';
import { localPool } from '../../support/snapshots.ts';
import { type FileParts, partsOf, readVarint } from './parts.ts';

/** What the fuzzer mutates: sound files of every sort, the same for the same seed. */

/** Which of the product's readers a file is for. */
type FileSort = 'chunk' | 'snapshot' | 'pack' | 'file of Netsy for Go';

export interface Sample {
  readonly name: string;
  readonly sort: FileSort;
  /** Its name in a store. */
  readonly key: string;
  readonly sequence: number;
  /** Of a pack, whose first sequence is `sequence`. */
  readonly last: number;
  readonly bytes: Buffer;
  /** Where what follows the header begins. */
  readonly bodyStart: number;
  readonly isZstd: boolean;
  readonly parts: FileParts;
}

const GO_CHUNKS = [0, 4, 9];

export async function corpusOf(seed: number): Promise<Sample[]> {
  const random = new Seeded(seed);
  const any = fc.sample(anyRecord, { seed, numRuns: 30 });
  const puts = (count: number): LogRecord[] =>
    Array.from({ length: count }, (_, index) => somePut(random, index));
  const go = fixtureChunks();
  return Promise.all([
    chunk('one put', 77, [samplePut()]),
    chunk('every operation', 78, sampleRecords()),
    chunk(
      'an epoch',
      79,
      sampleRecords().filter(({ operation }) => operation === Operation.Epoch),
    ),
    chunk('arbitrary records', 80, any),
    chunk('puts', 81, puts(12)),
    zstdChunk('compressed puts', 82, puts(25)),
    zstdChunk('compressed operations', 83, sampleRecords()),
    snapshot('a snapshot', 84, puts(40), 10),
    snapshot('a snapshot of one piece', 85, puts(5), 100),
    pack('a pack'),
    ...GO_CHUNKS.map((index) => goFile(`Go's chunk ${index}`, go[index]!)),
    goFile("Go's snapshot", FIXTURE_SNAPSHOT),
  ]);
}

/** No two files have one header: each has its own place in the log and its own nonce. */
function headerAt(sequence: number, over: Partial<NewFileHeader> = {}): NewFileHeader {
  return sampleHeader({ sequence, nonce: BigInt(sequence) * 0x0123_4567_89abn, ...over });
}

function somePut(random: Seeded, index: number): LogRecord {
  return samplePut({
    revision: 1000 + index,
    key: Buffer.from(`/registry/${random.text(random.integer(1, 40))}`),
    value: Buffer.from(random.text(random.integer(0, 200))),
    lease: BigInt(random.integer(0, 3)),
    prevRevision: random.integer(0, 2) * (900 + index),
  });
}

async function chunk(name: string, sequence: number, records: readonly LogRecord[]): Promise<Sample> {
  const header = headerAt(sequence);
  const { bytes } = encodeFile(header, records);
  return sampleOf(name, 'chunk', chunkKey(header.sequence), header.sequence, asBuffer(bytes));
}

async function zstdChunk(name: string, sequence: number, records: readonly LogRecord[]): Promise<Sample> {
  const header = headerAt(sequence, { compression: FileCompression.Zstd });
  const file = encodeFile(header, records);
  const bytes = Buffer.concat([file.header, await compress(asBuffer(file.body), 1)]);
  return sampleOf(name, 'chunk', chunkKey(header.sequence), header.sequence, bytes);
}

/** As the product writes them: pieces of whole records, a frame each, and the footer's own. */
async function snapshot(
  name: string,
  sequence: number,
  puts: readonly LogRecord[],
  perPiece: number,
): Promise<Sample> {
  const records = [
    ...puts.map((put, index) => ({ ...put, ordinal: 2 * index + 1, previousOrdinal: index })),
    { ...operationRecord(Operation.LeaseGrant, 0), lease: 7n, leaseTtlSeconds: 60 },
    systemRecord({ name: 'auth/users/root', value: Buffer.from([1, 2, 3]) }, 0),
  ];
  const header = snapshotHeader(sequence, puts.length);
  const encoder = new FileEncoder({ ...header, recordsCount: records.length });
  const pieces: Buffer[] = [asBuffer(encoder.take())];
  for (const [index, record] of records.entries()) {
    encoder.add(record);
    const isLast = index === records.length - 1;
    if ((index + 1) % perPiece === 0 || isLast) pieces.push(await compress(asBuffer(encoder.take()), 3));
  }
  encoder.end();
  pieces.push(await compress(asBuffer(encoder.take()), 3));
  return sampleOf(name, 'snapshot', snapshotKey(header.sequence), header.sequence, Buffer.concat(pieces));
}

function snapshotHeader(sequence: number, puts: number): NewFileHeader {
  return headerAt(sequence, {
    kind: FileKind.Snapshot,
    compression: FileCompression.Zstd,
    snapshot: {
      clusterId: 0x7fff_0000_0000_0001n,
      nextSequence: 143,
      revision: 1000 + puts,
      compactRevision: 990,
      compactedRevision: 980,
      nextOrdinal: 2 * puts + 1,
    },
  });
}

/** Chunks of two epochs, as the product merges them. */
async function pack(name: string): Promise<Sample> {
  const store = new MemoryStore();
  const log = new MadeLog(store);
  for (let term = 0; term < 2; term++) {
    await log.claim();
    for (let chunk = 0; chunk < 4; chunk++) await log.write([[`key-${chunk}`, `${term}`.repeat(20 * chunk)]]);
  }
  const builder = new PackBuilder(localPool, LOG_BEGINNING);
  for await (const chunk of new LogReader({ store, pool: localPool }).chunks(LOG_BEGINNING)) {
    await builder.add(chunk);
  }
  const { object, first, last } = await builder.finish();
  return { ...(await sampleOf(name, 'pack', packKey(first, last), first, asBuffer(object))), last };
}

async function goFile(name: string, path: string): Promise<Sample> {
  return sampleOf(name, 'file of Netsy for Go', path, 0, readFileSync(path));
}

async function sampleOf(
  name: string,
  sort: FileSort,
  key: string,
  sequence: number,
  bytes: Buffer,
): Promise<Sample> {
  const { value, end } = readVarint(bytes, 0);
  const bodyStart = end + Number(value);
  // Frames of zstd begin so; a record's length and tags can't.
  const isZstd = bytes.readUInt32LE(bodyStart) === 0xfd2f_b528;
  // What a pack holds is chunks, not messages.
  if (sort === 'pack') {
    const parts = { header: partsOf(bytes.subarray(0, bodyStart), false).header, records: [], footer: [] };
    return { name, sort, key, sequence, last: 0, bytes, bodyStart, isZstd, parts };
  }
  const body = isZstd ? await decompress(bytes.subarray(bodyStart)) : bytes.subarray(bodyStart);
  const parts = partsOf(Buffer.concat([bytes.subarray(0, bodyStart), body]));
  return { name, sort, key, sequence, last: 0, bytes, bodyStart, isZstd, parts };
}
