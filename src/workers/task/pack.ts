import { checkChain } from '../../shared/format/chain.ts';
import { CorruptFileError } from '../../shared/format/corrupt.ts';
import { BodyDecoder, decodeHeader } from '../../shared/format/decode.ts';
import { type DecodedHeader, FileCompression } from '../../shared/format/file.ts';
import { chunkKey } from '../../shared/format/names.ts';
import type { PackedFrame, TaskRequest } from '../contract/task.ts';
import { compressBody } from './compress.ts';
import { inflateChunk } from './open.ts';

/**
 * A pack's frame of chunks that follow each other, none of them an epoch's. Headers, footers and the chain are checked,
 * the records are not: whoever deletes the chunks reads the pack back and checks all of it. Throws `CorruptFileError`.
 */
export async function packFrame(
  task: Omit<Extract<TaskRequest, { type: 'pack' }>, 'type'>,
): Promise<PackedFrame> {
  const parts: Uint8Array[] = [];
  const headers: DecodedHeader[] = [];
  let previous: { sequence: number; crc: bigint } | undefined;
  for (const { sequence, object } of task.chunks) {
    const name = chunkKey(sequence);
    const { header, bodyOffset } = decodeHeader(object, name);
    if (header.sequence !== sequence) {
      const place = { object: name, part: 'header', index: undefined, offset: 0 } as const;
      throw new CorruptFileError(place, 'sequence', String(sequence), String(header.sequence));
    }
    if (previous !== undefined) checkChain(previous, header);
    const isCompressed = header.compression === FileCompression.Zstd;
    const body = isCompressed ? await inflateChunk(name, object, header) : object.subarray(bodyOffset);
    previous = { sequence, crc: new BodyDecoder(body, header, name).skipToFooter() };
    headers.push(header);
    parts.push(object.subarray(0, bodyOffset), body);
  }
  const [first, last] = [headers[0]!, headers[headers.length - 1]!];
  const content = Buffer.concat(parts);
  const stored = new Uint8Array(await compressBody(content, task.level));
  return {
    frame: {
      first: first.sequence,
      chunks: headers.length,
      nextSequence: last.sequence + 1,
      bytes: stored.length,
      contentBytes: content.length,
      lastCrc: previous!.crc,
    },
    stored,
    records: headers.reduce((sum, { recordsCount }) => sum + recordsCount, 0),
    previousChunkCrc: first.previousChunkCrc,
    createdAtMs: last.createdAtMs,
  };
}
