/** Messages of the thread that creates the files of a directory store. Types only. */

export type FileRequest =
  /**
   * Writes `body` to the new file `temporary`, durable, then links it to `path`, durable too. Unlinks `temporary`.
   * `isAlone`: nothing else was under way when it was asked.
   */
  | { type: 'create'; id: number; temporary: string; path: string; body: Uint8Array; isAlone: boolean }
  /** Makes the names in a directory durable. */
  | { type: 'sync'; id: number; directory: string }
  /** Closes everything and ends. Everything before must have been answered. */
  | { type: 'close' };

/** The answers that one sync made true. */
export interface FileReply {
  answers: FileAnswer[];
}

export type FileAnswer =
  /** 'exists': another file has the name, which is durable. */
  | { type: 'created' | 'exists' | 'synced'; id: number }
  | { type: 'failed'; id: number; code: string | undefined; message: string }
  /** The directory could not be synced, so that nothing is known of its names any more. */
  | { type: 'unsynced'; id: number; directory: string; code: string | undefined; message: string };
