import { checkKey, compareKeys } from '../../src/main/store/keys.ts';
import type { ObjectInfo, ObjectStore } from '../../src/main/store/store.ts';
import { systemClock } from '../../src/shared/base/clock.ts';

/** A store in memory, held to the same contract as the real ones, for simulations on a clock of their own. */
export class MemoryStore implements ObjectStore {
  readonly url = 'memory:';
  readonly #objects = new Map<string, Uint8Array>();
  readonly #modifiedMs = new Map<string, number>();
  readonly #nowMs: () => number;

  /** `nowMs` is the store's own clock. */
  constructor(nowMs: () => number = () => systemClock.wallMs()) {
    this.#nowMs = nowMs;
  }

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
    this.#set(key, body);
    return 'created';
  }

  async put(key: string, body: Uint8Array, signal?: AbortSignal): Promise<void> {
    checkKey(key);
    signal?.throwIfAborted();
    this.#set(key, body);
  }

  #set(key: string, body: Uint8Array): void {
    this.#objects.set(key, body.slice());
    this.#modifiedMs.set(key, this.#nowMs());
  }

  async *list(prefix: string, startAfter?: string): AsyncIterable<ObjectInfo> {
    for (const key of [...this.#objects.keys()].sort(compareKeys)) {
      const body = this.#objects.get(key);
      const isAfter = startAfter === undefined || compareKeys(key, startAfter) > 0;
      if (body === undefined || !key.startsWith(prefix) || !isAfter) continue;
      yield { key, size: body.length, modifiedMs: this.#modifiedMs.get(key)! };
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
