import { decodeBody, decodeHeader } from '../../shared/format/decode.ts';
import { encodeFile } from '../../shared/format/encode.ts';
import { FileCompression } from '../../shared/format/file.ts';
import { chunkKey } from '../../shared/format/names.ts';
import type { LoadedChunk } from '../../workers/contract/writer.ts';

/** What is left of a chunk, as it would be opened, and as the object to store. */
export interface CutChunk {
  readonly chunk: LoadedChunk;
  readonly object: Uint8Array;
}

/**
 * The chunk without what follows `revision`: its records up to the first of a later one. Undefined when that is none.
 * It is another chunk under the same sequence, so it has a nonce and a CRC of its own.
 */
export function cutChunk(
  { sequence, header: headerBytes, body }: LoadedChunk,
  revision: number,
  nonce: bigint,
): CutChunk | undefined {
  const name = chunkKey(sequence);
  const { header } = decodeHeader(headerBytes, name);
  const { records } = decodeBody(body, header, name);
  const end = records.findIndex((record) => record.revision > revision);
  if (end === 0) return undefined;
  const kept = end === -1 ? records : records.slice(0, end);
  const { schemaVersion, kind, leaderId, createdAtMs, epoch, previousChunkCrc } = header;
  const said = { schemaVersion, kind, leaderId, createdAtMs, sequence, epoch, previousChunkCrc };
  const file = encodeFile({ ...said, compression: FileCompression.None, nonce }, kept);
  const lastRevision = Math.max(...kept.map((record) => record.revision));
  const chunk: LoadedChunk = {
    sequence,
    records: kept.length,
    // Copies: they are handed over, each with its buffer.
    header: file.header.slice(),
    body: file.body.slice(),
    previousChunkCrc,
    crc: file.crc,
    skipTo: undefined,
    createdAtMs,
    lastRevision,
  };
  return { chunk, object: file.bytes };
}
