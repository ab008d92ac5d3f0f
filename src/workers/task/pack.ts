import { checkChain } from '../../shared/format/chain.ts';
import { BodyDecoder } from '../../shared/format/decode.ts';
import type { DecodedHeader } from '../../shared/format/file.ts';
import { chunkKey } from '../../shared/format/names.ts';
import type { PackedFrame, TaskRequest } from '../contract/task.ts';
import { compressBody } from './compress.ts';
import { chunkBody } from './open.ts';

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
    const { header, headerBytes, body } = await chunkBody(name, sequence, object);
    if (previous !== undefined) checkChain(previous, header);
    previous = { sequence, crc: new BodyDecoder(body, header, name).skipToFooter() };
    headers.push(header);
    parts.push(headerBytes, body);
  }
  const [first, last] = [headers[0]!, headers[headers.length - 1]!];
  const content = Buffer.concat(parts);
  // A copy: zstd's own buffer can't be handed over.
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
