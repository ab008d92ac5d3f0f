/** Messages of the piscina pool. Types only. */

export type TaskRequest =
  /** zstd over a chunk's records and footer; answers the frame. */
  | { type: 'compress'; body: Uint8Array; level: number }
  /** Recovery: decompresses a chunk and checks every CRC in it; answers a LoadedChunk. */
  | { type: 'open'; name: string; sequence: number; object: Uint8Array }
  /** Copies what SQLite's write-ahead log holds into the database file. */
  | { type: 'checkpoint'; cacheFile: string };

/** A chunk that failed its checks; sent as data, since an error's class does not cross threads. */
export interface TaskCorrupt {
  type: 'corrupt';
  message: string;
}
