import type { JsonPlace } from '../../shared/etcd/json.ts';
import type { FilePlace } from '../../shared/format/corrupt.ts';
import type { PackFrame } from '../../shared/format/file.ts';
import type { FramePlace } from '../../shared/format/pack.ts';
import type { PieceTally } from '../../shared/format/snapshot.ts';
import type { SystemChange } from '../../shared/model/record.ts';
import type { LeaseChange } from './writer.ts';

/** Messages of the piscina pool. Types only. */

export type TaskRequest =
  /** Answers one zstd frame of `body`, behind its first `plain` bytes as they are. */
  | { type: 'compress'; body: Uint8Array; plain: number; level: number }
  /** Recovery: decompresses a chunk and checks every CRC in it; answers a LoadedChunk. */
  | { type: 'open'; name: string; sequence: number; object: Uint8Array; form?: ChunkForm }
  /**
   * A frame of a pack, checked: answers its chunks from the sequence `from` on as LoadedChunks; none of them if that
   * lies behind the frame.
   */
  | { type: 'frame'; place: FramePlace; bytes: Uint8Array; from: number; form?: ChunkForm }
  /** Chunks that follow each other, as they are in the store, as a frame of a pack; answers a PackedFrame. */
  | { type: 'pack'; chunks: StoredChunk[]; level: number }
  /** A piece of a snapshot, checked: answers a SnapshotPiece, without what it holds unless `keep`. */
  | { type: 'piece'; name: string; offset: number; frame: Uint8Array; keep: boolean }
  /** A zstd frame of the object `name`; answers what it holds. */
  | { type: 'inflate'; name: string; offset: number; frame: Uint8Array }
  /** Copies what SQLite's write-ahead log holds into the database file; answers a LogCopy. */
  | { type: 'checkpoint'; cacheFile: string }
  /** What two caches at the same place of the log differ in; answers a CacheComparison. */
  | { type: 'compareCaches'; expectedFile: string; foundFile: string; differencesMax: number }
  /** The gateway: the message of that name that a JSON body stands for; answers its bytes or a TaskRefused. */
  | { type: 'bodyToMessage'; message: string; body: Uint8Array }
  /** The gateway: an encoded message of that name as JSON; answers its text in UTF-8. */
  | { type: 'messageToJson'; message: string; bytes: Uint8Array; place: JsonPlace };

/** A chunk's object, whole. */
export interface StoredChunk {
  readonly sequence: number;
  readonly object: Uint8Array;
}

/** A frame of a pack, and what the pack's header says of it and of the chunks around it. */
export interface PackedFrame {
  readonly frame: PackFrame;
  readonly stored: Uint8Array;
  readonly records: number;
  /** Of its first chunk. */
  readonly previousChunkCrc: bigint;
  /** Of its last chunk. */
  readonly createdAtMs: number;
}

/** Pages in SQLite's write-ahead log, and how many of them its database has. */
export interface LogCopy {
  pages: number;
  copied: number;
}

/** Rows that one of two caches has otherwise, or not at all. */
export interface CacheDifference {
  /** Such as `revision 7.0 of "key"`. */
  place: string;
  expected: string;
  found: string;
}

export interface CacheComparison {
  /** Rows of a compaction are still being removed, so that nothing was compared yet. */
  pending: boolean;
  /** The first ones. */
  differences: CacheDifference[];
  count: number;
}

/** What a LoadedChunk is to have: the chunk's bytes, as it has if nothing is said, or rows for the writer. */
export type ChunkForm = 'bytes' | 'rows';

/** One piece of a snapshot, whose CRCs hold. */
export interface SnapshotPiece {
  tally: PieceTally;
  /** Puts and deletes, see `snapshot-rows.ts`. */
  rows: Uint8Array;
  leases: LeaseChange[];
  system: SystemChange[];
}

/** An object that failed its checks; sent as data, since an error's class does not cross threads. */
export interface TaskCorrupt {
  type: 'corrupt';
  place: FilePlace;
  check: string;
  expected: string;
  found: string;
}

/** JSON that is not the message's. */
export interface TaskRefused {
  type: 'refused';
  message: string;
}
