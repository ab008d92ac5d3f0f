/** What a `.netsy` file says besides its records. `proto/netsy.proto` describes the bytes. */

export const FileKind = { Snapshot: 1, Chunk: 2, Pack: 3 } as const;
export type FileKind = (typeof FileKind)[keyof typeof FileKind];

/** How the bytes after the header are stored. */
export const FileCompression = { None: 1, Zstd: 2 } as const;
export type FileCompression = (typeof FileCompression)[keyof typeof FileCompression];

/** The schema version that we write: 1 has the fields from 100 up. Netsy for Go's files say 0. */
export const SCHEMA_VERSION = 1;

export interface FileHeader {
  schemaVersion: number;
  kind: FileKind;
  compression: FileCompression;
  recordsCount: number;
  /** The node that wrote the file. */
  leaderId: string;
  /** Milliseconds since the Unix epoch, by the writer's clock. */
  createdAtMs: number;
  /** The chunk's place in the log, or the last chunk that a snapshot holds, or the first of a pack; 0 in Netsy for Go's files. */
  sequence: number;
  epoch: number;
  /** `FileFooter.crc` of the chunk before this one; 0n for the first. Of a snapshot: of the last chunk it holds. */
  previousChunkCrc: bigint;
  /** Random and unsigned: tells our own upload from another writer's. */
  nonce: bigint;
  /** In every snapshot of ours, and in nothing else. */
  snapshot?: SnapshotState;
  /** In every pack, and in nothing else: its frames in order, which hold all of its chunks. */
  pack?: PackFrame[];
}

/** One zstd frame of a pack: whole chunks of the log, one after the other, without gaps. */
export interface PackFrame {
  /** The sequence of its first chunk. */
  first: number;
  /** How many chunks it holds. */
  chunks: number;
  /** Where the log goes on behind it: the next sequence, or what its last chunk, an epoch's, says. */
  nextSequence: number;
  /** Of the frame as it is stored, and decompressed. */
  bytes: number;
  contentBytes: number;
  /** `FileFooter.crc` of its last chunk. */
  lastCrc: bigint;
}

/** What a log is at the end of a snapshot, besides the header's own fields and the records. */
export interface SnapshotState {
  clusterId: bigint;
  /** Where the log goes on; not `sequence + 1` after an epoch chunk. */
  nextSequence: number;
  /** The store's. */
  revision: number;
  /** Up to where history was compacted; -1 if it never was. */
  compactRevision: number;
  /** Up to which compaction what can't be reached any more is left out. */
  compactedRevision: number;
  /** `LogRecord.ordinal` of the next put or delete. */
  nextOrdinal: number;
}

export interface FileFooter {
  /** Of all records' bytes, one after the other. */
  recordsCrc: bigint;
  /** The lowest and highest revision among the records; 0 if no record has one. */
  firstRevision: number;
  lastRevision: number;
  /** Of the footer, which holds the records' and the header's: the whole file's. The chain is made of it. */
  crc: bigint;
  /** The header's own CRC again, so that `crc` covers the header too; 0n in Netsy for Go's files. */
  headerCrc: bigint;
}

/** A header as it was read. */
export interface DecodedHeader extends FileHeader {
  crc: bigint;
  /** Bytes of the header with its length: where the records begin. */
  byteLength: number;
}
