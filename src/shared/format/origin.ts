import { asBuffer } from '../base/bytes.ts';
import { type LogRecord, Operation, operationRecord } from '../model/record.ts';
import { CorruptFileError } from './corrupt.ts';
import { decodeBody, decodeHeader } from './decode.ts';
import { type DecodedHeader, FileCompression } from './file.ts';

/**
 * The beginning of a log whose history stands in another store: one record of the operation Origin in a chunk of its own,
 * which is never applied. With 'restore' the state after that chunk is in the snapshot of the same sequence. With
 * 'fork' the log goes on as the other store's did, from one of its snapshots on.
 */
export interface Origin {
  readonly how: 'restore' | 'fork';
  /** The other store's URL. */
  readonly store: string;
  /** Of the log that begins here. */
  readonly clusterId: bigint;
  /** The other log's, up to where it counts. */
  readonly revision: number;
  readonly sequence: number;
}

/** Who holds the epoch that a fork begins with. */
export const FORK_HOLDER = 'netsy fork';

const CLUSTER_ID = /^[0-9a-f]{16}$/;

/** The record that says it. `createdAtMs` is the wall clock's. */
export function originRecord(origin: Origin, createdAtMs: number): LogRecord {
  const { how, clusterId, ...rest } = origin;
  const said = { ...rest, clusterId: clusterId.toString(16).padStart(16, '0') };
  return {
    ...operationRecord(Operation.Origin, createdAtMs),
    key: Buffer.from(how),
    value: Buffer.from(JSON.stringify(said)),
  };
}

/** A chunk that is a log's origin. */
export interface OriginChunk {
  readonly origin: Origin;
  readonly header: DecodedHeader;
  /** The chunk's own CRC. */
  readonly crc: bigint;
}

/** Reads the object `name` as an origin's, which is never compressed; undefined if it is anything else, or damaged. */
export function decodeOrigin(object: Uint8Array, name: string): OriginChunk | undefined {
  try {
    const { header, bodyOffset } = decodeHeader(object, name);
    if (header.epoch > 0 || header.compression !== FileCompression.None) return undefined;
    const { records, footer } = decodeBody(object.subarray(bodyOffset), header, name);
    const origin = originOf(records);
    return origin && { origin, header, crc: footer.crc };
  } catch (error) {
    if (error instanceof CorruptFileError) return undefined;
    throw error;
  }
}

/** As `decodeOrigin`, of a chunk that was opened. */
export function originOfChunk(chunk: {
  readonly sequence: number;
  readonly header: Uint8Array;
  readonly body: Uint8Array;
}): Origin | undefined {
  const name = `chunk ${chunk.sequence}`;
  if (decodeHeader(chunk.header, name).header.epoch > 0) return undefined;
  return decodeOrigin(Buffer.concat([chunk.header, chunk.body]), name)?.origin;
}

function originOf(records: readonly LogRecord[]): Origin | undefined {
  const [record] = records;
  if (record?.operation !== Operation.Origin) return undefined;
  const how = asBuffer(record.key).toString();
  if (how !== 'restore' && how !== 'fork') return undefined;
  try {
    const said = JSON.parse(asBuffer(record.value).toString()) as Record<string, unknown>;
    const { store, clusterId, revision, sequence } = said;
    if (typeof store !== 'string' || typeof clusterId !== 'string' || !CLUSTER_ID.test(clusterId))
      return undefined;
    if (typeof revision !== 'number' || typeof sequence !== 'number') return undefined;
    return { how, store, clusterId: BigInt(`0x${clusterId}`), revision, sequence };
  } catch {
    return undefined;
  }
}
