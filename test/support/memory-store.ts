import { checkKey, compareKeys } from '../../src/main/store/keys.ts';
import type { ObjectInfo, ObjectStore } from '../../src/main/store/store.ts';

/** A store in memory, held to the same contract as the real ones, for simulations on a clock of their own. */
export class MemoryStore implements ObjectStore {
  readonly url = 'memory:';
  readonly #objects = new Map<string, Uint8Array>();

  async get(key: string, signal?: AbortSignal): Promise<Uint8Array | undefined> {
    checkKey(key);
    signal?.throwIfAborted();
    return this.#objects.get(key)?.slice();
  }

  async getRange(
    key: string,
    offset: number,
    length: number,
    signal?: AbortSignal,
  ): Promise<Uint8Array | undefined> {
    return (await this.get(key, signal))?.slice(offset, offset + length);
  }

  async putIfAbsent(key: string, body: Uint8Array, signal?: AbortSignal): Promise<'created' | 'exists'> {
    checkKey(key);
    signal?.throwIfAborted();
    if (this.#objects.has(key)) return 'exists';
    this.#objects.set(key, body.slice());
    return 'created';
  }

  async put(key: string, body: Uint8Array, signal?: AbortSignal): Promise<void> {
    checkKey(key);
    signal?.throwIfAborted();
    this.#objects.set(key, body.slice());
  }

  async *list(prefix: string, startAfter?: string): AsyncIterable<ObjectInfo> {
    for (const key of [...this.#objects.keys()].sort(compareKeys)) {
      const body = this.#objects.get(key);
      const isAfter = startAfter === undefined || compareKeys(key, startAfter) > 0;
      if (body !== undefined && key.startsWith(prefix) && isAfter) yield { key, size: body.length };
    }
  }

  async delete(key: string, signal?: AbortSignal): Promise<void> {
    checkKey(key);
    signal?.throwIfAborted();
    this.#objects.delete(key);
  }

  async putMultipart(key: string, parts: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<void> {
    checkKey(key);
    const pieces: Uint8Array[] = [];
    for await (const part of parts) {
      signal?.throwIfAborted();
      pieces.push(part.slice());
    }
    await this.put(key, new Uint8Array(Buffer.concat(pieces)), signal);
  }

  async close(): Promise<void> {}
}
