import { asBuffer, NO_BYTES } from '../../shared/base/bytes.ts';
import { errorMessage } from '../../shared/base/errors.ts';
import { CorruptFileError } from '../../shared/format/corrupt.ts';
import { decodeBody, decodeHeader } from '../../shared/format/decode.ts';
import { type DecodedHeader, FileCompression, FileKind } from '../../shared/format/file.ts';
import { decodeFrame, type PackedChunk } from '../../shared/format/pack.ts';
import { checkZstdFrames, decompressionError, zstdFrameAt } from '../../shared/format/zstd-frame.ts';
import { RECORD_BYTES_MAX, SNAPSHOT_PIECE_BYTES } from '../../shared/model/limits.ts';
import { Operation } from '../../shared/model/record.ts';
import { packChunkRows } from '../contract/chunk-rows.ts';
import type { ChunkForm, TaskRequest } from '../contract/task.ts';
import type { LoadedChunk } from '../contract/writer.ts';
import { zstd } from './zstd.ts';

/** A piece of a snapshot ends with the record that fills it. */
const PIECE_BYTES_MAX = SNAPSHOT_PIECE_BYTES + RECORD_BYTES_MAX;

/** Decompresses a chunk's object and checks every CRC in it. Throws `CorruptFileError`. */
export async function openChunk(
  name: string,
  sequence: number,
  object: Uint8Array,
  form: ChunkForm = 'bytes',
): Promise<LoadedChunk> {
  const { header, headerBytes, body } = await chunkBody(name, sequence, object);
  const { records, footer } = decodeBody(body, header, name);
  const skipTo = records.find((record) => record.operation === Operation.Epoch)?.epoch?.skipTo;
  return loaded({ header, headerBytes, body, records, footer, skipTo }, form);
}

/** The parts of a chunk's object: its header, which is checked, and its body, decompressed. Throws `CorruptFileError`. */
export async function chunkBody(
  name: string,
  sequence: number,
  object: Uint8Array,
): Promise<Pick<PackedChunk, 'header' | 'headerBytes' | 'body'>> {
  const { header, bodyOffset } = decodeHeader(object, name);
  const refuse = (check: string, expected: string, found: string): never => {
    const place = { object: name, part: 'header', index: undefined, offset: 0 } as const;
    throw new CorruptFileError(place, check, expected, found);
  };
  if (header.kind !== FileKind.Chunk) refuse('kind', String(FileKind.Chunk), String(header.kind));
  if (header.sequence !== sequence) refuse('sequence', String(sequence), String(header.sequence));
  const stored = object.subarray(bodyOffset);
  const body = header.compression === FileCompression.Zstd ? await inflate(name, object, header) : stored;
  return { header, headerBytes: object.subarray(0, bodyOffset), body };
}

function loaded(chunk: PackedChunk, form: ChunkForm): LoadedChunk {
  const { header, headerBytes, body, records, footer, skipTo } = chunk;
  return {
    sequence: header.sequence,
    records: records.length,
    createdAtMs: header.createdAtMs,
    previousChunkCrc: header.previousChunkCrc,
    crc: footer.crc,
    skipTo,
    lastRevision: footer.lastRevision,
    // Copies, which a Buffer's own slice would not be; each may be handed on by itself.
    ...(form === 'rows'
      ? { header: NO_BYTES, body: NO_BYTES, rows: packChunkRows(records) }
      : { header: new Uint8Array(headerBytes), body: new Uint8Array(body) }),
  };
}

/** A pack's frame: decompresses it and checks every CRC in it. Throws `CorruptFileError`. */
export async function openFrame(
  task: Omit<Extract<TaskRequest, { type: 'frame' }>, 'type'>,
): Promise<LoadedChunk[]> {
  const { place, bytes, from, form } = task;
  const content = await inflateFrame(bytes, place.name, place.offset);
  const chunks: LoadedChunk[] = [];
  for (const chunk of decodeFrame(content, place)) {
    if (chunk.header.sequence >= from) chunks.push(loaded(chunk, form ?? 'bytes'));
  }
  return chunks;
}

async function inflate(name: string, object: Uint8Array, header: DecodedHeader): Promise<Uint8Array> {
  checkZstdFrames(object, header, name, RECORD_BYTES_MAX);
  try {
    const { decompress } = await zstd();
    return await decompress(asBuffer(object.subarray(header.byteLength)));
  } catch (error) {
    throw decompressionError(header, name, errorMessage(error));
  }
}

/** Decompresses one zstd frame, which stands at `offset` of the object `name`. Throws `CorruptFileError`. */
export async function inflateFrame(frame: Uint8Array, name: string, offset: number): Promise<Uint8Array> {
  const place = { object: name, part: 'compression', index: undefined, offset } as const;
  const found = zstdFrameAt(frame, 0, name, offset);
  if (found === undefined || found.end !== frame.length) {
    throw new CorruptFileError(place, 'zstd frame', 'a whole one', `${frame.length} bytes`);
  }
  if (found.contentBytesMax === 0) throw new CorruptFileError(place, 'zstd frame', 'some content', 'none');
  if (found.contentBytesMax > PIECE_BYTES_MAX) {
    throw new CorruptFileError(place, 'decompressed size', `at most ${PIECE_BYTES_MAX}`, 'more');
  }
  try {
    const { decompress } = await zstd();
    return await decompress(asBuffer(frame));
  } catch (error) {
    throw new CorruptFileError(place, 'zstd frame', 'one that decompresses', String(error));
  }
}
