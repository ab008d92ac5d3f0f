/** One object of a listing. */
export interface ObjectInfo {
  /** Relative to the store's prefix. */
  readonly key: string;
  /** In bytes. */
  readonly size: number;
  /** When it was written, in milliseconds since the Unix epoch by the store's own clock; S3's are whole seconds. */
  readonly modifiedMs: number;
}

/**
 * The one narrow interface to durable storage. Every implementation is held to `test/store/contract.ts`.
 *
 * Keys are relative, '/'-separated and never name a directory of other keys: with the key 'a/b' there is
 * no key 'a'. Bodies must not be changed while a call runs; returned bytes are the caller's own.
 *
 * Every method rejects with `StoreError` (see `errors.ts` for its kinds), or with the signal's reason when
 * it was aborted. After a 'transient' error or an abort of a writing call the outcome is unknown: the
 * write may have happened, or may still happen.
 */
export interface ObjectStore {
  /** For logs and messages; holds no secrets. */
  readonly url: string;
  /** The whole object, or undefined when there is none. */
  get(key: string, signal?: AbortSignal): Promise<Uint8Array | undefined>;
  /**
   * The bytes from `offset` on, at most `length` (> 0) of them, fewer where the object ends (none when it
   * ends before `offset`); undefined when there is no such object.
   */
  getRange(
    key: string,
    offset: number,
    length: number,
    signal?: AbortSignal,
  ): Promise<Uint8Array | undefined>;
  /**
   * Creates the object when no object has the name, atomically among all writers. 'created' means durable.
   * 'exists' says nothing about whose object it is: an earlier try of the caller's may have created it.
   */
  putIfAbsent(key: string, body: Uint8Array, signal?: AbortSignal): Promise<'created' | 'exists'>;
  /** Creates or replaces the object; durable when it resolves. */
  put(key: string, body: Uint8Array, signal?: AbortSignal): Promise<void>;
  /**
   * All objects whose keys begin with `prefix`, in ascending order of the keys' UTF-8 bytes, only those
   * after `startAfter` (a full key) when given. Fetched in pages as the caller advances.
   */
  list(prefix: string, startAfter?: string): AsyncIterable<ObjectInfo>;
  /** Removes the object; no error when there is none. */
  delete(key: string, signal?: AbortSignal): Promise<void>;
  /**
   * Creates or replaces the object from `parts` (of any sizes) without holding all of them in memory.
   * Nothing of it is visible before all of it is durable, nor after a failure. Rejects with what `parts` threw when
   * that is why it failed.
   */
  putMultipart(key: string, parts: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<void>;
  /** Releases connections and handles. Nothing may be called afterwards. */
  close(): Promise<void>;
}

/** A store that is only looked at. */
export type ReadableStore = Pick<ObjectStore, 'url' | 'get' | 'getRange' | 'list' | 'close'>;
