import { writeFileSync } from 'node:fs';
import { inspectFiles } from '../../../src/main/inspect.ts';
import { readSnapshot } from '../../../src/main/recovery/snapshot-reader.ts';
import { CorruptFileError } from '../../../src/shared/format/corrupt.ts';
import { decodeBody, decodeHeader } from '../../../src/shared/format/decode.ts';
import { encodeFile } from '../../../src/shared/format/encode.ts';
import { type DecodedHeader, type FileFooter, FileKind } from '../../../src/shared/format/file.ts';
import { decodePackHeader } from '../../../src/shared/format/pack.ts';
import { type LogRecord, Operation } from '../../../src/shared/model/record.ts';
import type { SnapshotPiece } from '../../../src/workers/contract/task.ts';
import { openChunk, openFrame } from '../../../src/workers/task/open.ts';
import { decodeObject } from '../../format/fixtures.ts';
import { localPool } from '../../support/snapshots.ts';
import type { Sample } from './corpus.ts';

/** What the product's readers make of a file's bytes. */

/** All that a file says, in texts that are equal if it says the same. */
export interface Meaning {
  readonly header: string;
  readonly body: string;
  /** The footer's CRC: what the chain of chunks knows the file by. */
  readonly crc: bigint;
}

export type Reading = { readonly refused: CorruptFileError } | { readonly meaning: Meaning };

/**
 * Reads `bytes` as the file that they were made from. Throws whatever else than a `CorruptFileError` a reader throws, and
 * when what was read can't be written and read again.
 */
export async function read(sample: Sample, bytes: Buffer): Promise<Reading> {
  // A copy: readers may keep views, and hand buffers on.
  const copy = Buffer.from(bytes);
  try {
    switch (sample.sort) {
      case 'chunk':
        return { meaning: await readChunk(sample, copy) };
      case 'snapshot':
        return { meaning: await readOurSnapshot(sample, copy) };
      case 'pack':
        return { meaning: await readPack(sample, copy) };
      case 'file of Netsy for Go': {
        const { header, records, footer } = await decodeObject(copy, sample.key);
        return { meaning: meaningOf(header, records, footer) };
      }
    }
  } catch (error) {
    if (error instanceof CorruptFileError) return { refused: error };
    throw error;
  }
}

/** As the reader of the log does: its header, then frame by frame. */
async function readPack({ key, sequence, last }: Sample, bytes: Buffer): Promise<Meaning> {
  const header = decodePackHeader(bytes, key, { first: sequence, last }, bytes.length);
  const chunks: Buffer[] = [];
  let offset = header.byteLength;
  let { previousChunkCrc } = header;
  for (const frame of header.pack) {
    const place = { name: key, offset, frame, previousChunkCrc };
    const frameBytes = new Uint8Array(bytes.subarray(offset, offset + frame.bytes));
    for (const chunk of await openFrame({ place, bytes: frameBytes, from: 0 }))
      chunks.push(Buffer.concat([chunk.header, chunk.body]));
    offset += frame.bytes;
    previousChunkCrc = frame.lastCrc;
  }
  const { pack: _, ...rest } = header;
  return { header: headerText(rest), body: Buffer.concat(chunks).toString('base64'), crc: header.crc };
}

async function readChunk({ key, sequence }: Sample, bytes: Buffer): Promise<Meaning> {
  const loaded = await openChunk(key, sequence, bytes);
  const { header } = decodeHeader(loaded.header, key);
  const { records, footer } = decodeBody(loaded.body, header, key);
  if (header.kind !== FileKind.Chunk) throw new Error(`a file of kind ${header.kind} was taken for a chunk`);
  if (loaded.crc !== footer.crc || loaded.records !== records.length)
    throw new Error('it was read in two ways');
  return meaningOf(header, records, footer);
}

function meaningOf(header: DecodedHeader, records: LogRecord[], footer: FileFooter): Meaning {
  const body = records.map(told).join('\n');
  const again = encodeFile(header, records);
  const rest = decodeHeader(again.bytes, 'again');
  const reread = decodeBody(again.bytes.subarray(rest.bodyOffset), rest.header, 'again');
  if (reread.records.map(told).join('\n') !== body)
    throw new Error('what was read is not what is written again');
  return { header: headerText(header), body, crc: footer.crc };
}

function headerText({ byteLength: _, crc: __, ...header }: DecodedHeader): string {
  return json(header);
}

/** What a record means; fields that its operation does not use are left out. */
function told(record: LogRecord): string {
  const {
    operation,
    key,
    value,
    ordinal,
    previousOrdinal,
    epoch,
    importEnd,
    leaseTtlSeconds,
    compactRevision,
  } = record;
  const { revision, sub, created, deleted, createRevision, prevRevision, version, lease, createdAtMs } =
    record;
  const bytes = [Buffer.from(key).toString('hex'), Buffer.from(value).toString('hex')];
  const common = [
    operation,
    revision,
    sub,
    created,
    deleted,
    createRevision,
    prevRevision,
    version,
    lease,
    createdAtMs,
  ];
  const own = {
    // What it follows is of a snapshot's records, which have a place of their own.
    [Operation.KeyValue]: ordinal ? [ordinal, previousOrdinal ?? 0] : [],
    [Operation.LeaseGrant]: leaseTtlSeconds ?? 0,
    [Operation.LeaseRevoke]: undefined,
    [Operation.Compaction]: compactRevision ?? 0,
    [Operation.System]: undefined,
    [Operation.Epoch]: epoch,
    [Operation.ImportEnd]: importEnd,
    [Operation.Origin]: undefined,
  }[operation];
  return json([...common, ...bytes, own]);
}

function json(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) => (typeof part === 'bigint' ? `${part}n` : part));
}

async function readOurSnapshot({ key, sequence }: Sample, bytes: Buffer): Promise<Meaning> {
  const pieces: SnapshotPiece[] = [];
  const store = {
    getRange: async (_: string, offset: number, length: number) =>
      new Uint8Array(bytes.subarray(offset, offset + length)),
  };
  const { header, footer } = await readSnapshot(
    { store, pool: localPool },
    { key, sequence, size: bytes.length, modifiedMs: 0 },
    { begin: async () => {}, take: async (piece) => void pieces.push(piece) },
  );
  const rows = Buffer.concat(pieces.map((piece) => piece.rows)).toString('base64');
  const rest = json(pieces.flatMap(({ leases, system }) => [...leases, ...system]));
  return { header: headerText(header), body: `${rows}\n${rest}`, crc: footer.crc };
}

/** What `netsy inspect` prints of the bytes, in a file at `path`. Throws when it prints what it should not. */
export async function inspect(path: string, bytes: Buffer): Promise<{ exitCode: number; lines: string[] }> {
  writeFileSync(path, bytes);
  const lines: string[] = [];
  const exitCode = await inspectFiles([path], (line) => lines.push(line));
  const last = JSON.parse(lines[lines.length - 1]!) as { footer?: object; error?: { check?: string } };
  const isWhole = exitCode === 0 && last.footer !== undefined;
  const isRefused = exitCode === 1 && typeof last.error?.check === 'string';
  if (!isWhole && !isRefused)
    throw new Error(`inspect ended with ${exitCode} after ${lines[lines.length - 1]}`);
  return { exitCode, lines };
}
