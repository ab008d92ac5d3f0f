import type { DurableChunk } from './apply.ts';

/**
 * A transaction has no more chunks when it has so many records: a few milliseconds, for which a batch that comes meanwhile
 * waits to be evaluated.
 */
const APPLIED_RECORDS_MAX = 128;

/** Chunks that are durable and not applied yet, in the log's order. */
export class DurableChunks {
  #chunks: DurableChunk[] = [];

  get isEmpty(): boolean {
    return this.#chunks.length === 0;
  }

  add(chunk: DurableChunk): void {
    this.#chunks.push(chunk);
  }

  /** The first ones, to be applied in one transaction; one at least, if there are any. */
  first(): readonly DurableChunk[] {
    let [count, records] = [0, 0];
    while (count < this.#chunks.length && records < APPLIED_RECORDS_MAX) {
      records += this.#chunks[count++]!.changes.length;
    }
    return this.#chunks.slice(0, count);
  }

  /** They are applied. */
  remove(count: number): void {
    this.#chunks = this.#chunks.slice(count);
  }
}
