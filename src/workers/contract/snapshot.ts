/** Messages of a snapshot worker, which lives for one snapshot. Types only. */

/** How the worker is started. */
export interface SnapshotData {
  cacheFile: string;
  /** Where the file is built; it has no name there. */
  directory: string;
  /** A name in `directory` that no other snapshot has; the file loses it as soon as it is there. */
  fileName: string;
  memberId: bigint;
  /** One Int32; not 0 when nobody wants the snapshot any more. */
  cancelled: SharedArrayBuffer;
}

export type SnapshotRequest =
  /** The next bytes of the file; answers `piece`. */
  { type: 'next'; bytesMax: number } | { type: 'close' };

export type SnapshotReply =
  /** The file is complete. */
  | { type: 'built'; bytes: number; revision: number }
  /** After the last byte `digest`, the SHA-256 of all. */
  | { type: 'piece'; bytes: Uint8Array; digest: Uint8Array | undefined }
  | { type: 'failed'; message: string; noSpace: boolean };
