import { decompress } from '@mongodb-js/zstd';
import { asBuffer } from '../../shared/base/bytes.ts';
import { CorruptFileError } from '../../shared/format/corrupt.ts';
import { BodyDecoder, decodeHeader } from '../../shared/format/decode.ts';
import { FileCompression, type FileKind } from '../../shared/format/file.ts';
import { checkZstdFrames, decompressionError } from '../../shared/format/zstd-frame.ts';

/** A file is held whole, so it may not expand to more than Node's buffers reliably hold. */
const BODY_BYTES_MAX = 2 ** 31;
const CHUNK_NAME = /^chunks\/(\d{4})\/(\d{19})\.netsy$/;
const SNAPSHOT_NAME = /^snapshots\/(\d{19})\.netsy$/;
/** Chunks are spread over so many folders, by their revision. */
const FOLDERS = 10_000;

/** The revision in a chunk's name, which is its last record's; undefined for every other key. */
export function parseGoChunk(key: string): number | undefined {
  const [, folder, digits] = CHUNK_NAME.exec(key) ?? [];
  const revision = revisionOf(digits);
  return revision !== undefined && Number(folder) === revision % FOLDERS ? revision : undefined;
}

/** The revision in a snapshot's name; undefined for every other key. */
export function parseGoSnapshot(key: string): number | undefined {
  return revisionOf(SNAPSHOT_NAME.exec(key)?.[1]);
}

function revisionOf(digits: string | undefined): number | undefined {
  const revision = Number(digits);
  return Number.isSafeInteger(revision) && revision >= 1 ? revision : undefined;
}

/** A file of Netsy for Go, decompressed; its records' CRCs are checked as they are read. Throws `CorruptFileError`. */
export async function openGoFile(
  object: Uint8Array,
  key: string,
  kind: FileKind,
): Promise<{ decoder: BodyDecoder }> {
  const { header, bodyOffset } = decodeHeader(object, key);
  const refuse = (check: string, expected: string, found: string): CorruptFileError =>
    new CorruptFileError(
      { object: key, part: 'header', index: undefined, offset: 0 },
      check,
      expected,
      found,
    );
  if (header.kind !== kind) throw refuse('kind', String(kind), String(header.kind));
  if (header.schemaVersion !== 0 || header.sequence !== 0) {
    throw refuse('schema_version', "0 (Netsy for Go's)", String(header.schemaVersion));
  }
  if (header.compression === FileCompression.None) {
    return { decoder: new BodyDecoder(object.subarray(bodyOffset), header, key) };
  }
  checkZstdFrames(object, header, key, BODY_BYTES_MAX);
  try {
    const body = await decompress(asBuffer(object.subarray(bodyOffset)));
    return { decoder: new BodyDecoder(body, header, key) };
  } catch (error) {
    throw decompressionError(header, key, (error as Error).message);
  }
}
