import { CorruptFileError, hex64 } from './corrupt.ts';
import type { FileHeader } from './file.ts';
import { chunkKey } from './names.ts';

/** A chunk as its successor in the log sees it. Before the first chunk: sequence 0, CRC 0n. */
export interface ChainLink {
  sequence: number;
  /** `FileFooter.crc` */
  crc: bigint;
}

function linkName(link: ChainLink): string {
  return link.sequence === 0 ? 'the start of the log' : chunkKey(link.sequence);
}

/**
 * Throws `CorruptFileError` unless the chunk of `header` was written to follow `previous`. Sequences must
 * rise, but may jump: after an epoch chunk the log goes on at its `skip_to`, and which sequence is due is
 * the caller's to know.
 */
export function checkChain(
  previous: ChainLink,
  header: Pick<FileHeader, 'sequence' | 'previousChunkCrc'>,
): void {
  const place = {
    object: header.sequence < 1 ? `chunk after ${linkName(previous)}` : chunkKey(header.sequence),
    part: 'header',
    index: undefined,
    offset: 0,
  } as const;
  if (header.sequence <= previous.sequence) {
    const expected = `one above ${previous.sequence} (${linkName(previous)})`;
    throw new CorruptFileError(place, 'sequence', expected, String(header.sequence));
  }
  if (header.previousChunkCrc !== previous.crc) {
    const expected = `${hex64(previous.crc)} (${linkName(previous)})`;
    throw new CorruptFileError(place, 'previous chunk CRC64', expected, hex64(header.previousChunkCrc));
  }
}
