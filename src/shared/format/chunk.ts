import { PIPELINE_DEPTH_MAX } from '../model/limits.ts';
import { type EpochClaim, type LogRecord, Operation, operationRecord } from '../model/record.ts';
import { type EncodedFile, encodeFile } from './encode.ts';
import { FileCompression, type FileHeader, FileKind, SCHEMA_VERSION } from './file.ts';

/** What a chunk's writer has to say in its header. */
type ChunkHeader = Pick<
  FileHeader,
  'leaderId' | 'createdAtMs' | 'sequence' | 'epoch' | 'previousChunkCrc' | 'nonce'
>;

/** Encodes a chunk as `encodeFile` does; unless the caller says otherwise, one that is stored as it is. */
export function encodeChunk(
  header: ChunkHeader,
  records: readonly LogRecord[],
  compression: FileCompression = FileCompression.None,
): EncodedFile {
  return encodeFile({ schemaVersion: SCHEMA_VERSION, kind: FileKind.Chunk, compression, ...header }, records);
}

/** Where a log is claimed: its end as far as it is known. */
interface ClaimedEnd {
  readonly nextSequence: number;
  readonly epoch: number;
  readonly chunkCrc: bigint;
}

/** What a claim of an epoch says. After its chunk a fenced primary may still fill so many names. */
export function claimAt(sequence: number, said: Omit<EpochClaim, 'skipTo'>): EpochClaim {
  return { ...said, skipTo: sequence + PIPELINE_DEPTH_MAX + 1 };
}

/** The chunk with which `holder` begins the next epoch at the end of a log. */
export function encodeClaim(
  { nextSequence: sequence, epoch: before, chunkCrc: previousChunkCrc }: ClaimedEnd,
  by: Pick<EpochClaim, 'holder' | 'clusterId'> & Pick<FileHeader, 'createdAtMs' | 'nonce'>,
): { readonly claim: EpochClaim; readonly bytes: Uint8Array<ArrayBuffer> } {
  const { holder, clusterId, createdAtMs, nonce } = by;
  const epoch = before + 1;
  const claim = claimAt(sequence, { epoch, holder, clusterId });
  const { bytes } = encodeChunk({ leaderId: holder, createdAtMs, sequence, epoch, previousChunkCrc, nonce }, [
    { ...operationRecord(Operation.Epoch, createdAtMs), epoch: claim },
  ]);
  return { claim, bytes };
}
