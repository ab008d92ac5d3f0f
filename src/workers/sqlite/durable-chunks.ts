import type { DurableChunk } from './apply.ts';

/**
 * A transaction has no more chunks when it has so many records, or half of those that wait if that is more: a few
 * milliseconds, for which a batch that comes meanwhile waits to be evaluated. Half of them, so that what waits is never more
 * than about twice what comes in the time of one transaction, however fast that is: reads wait for it, and it is in memory.
 */
const APPLIED_RECORDS_MAX = 128;
const APPLIED_SHARE = 0.5;
/** More than so many are applied even while commits are held: whoever copies the log may be waiting for a disk that hangs. */
const HELD_RECORDS_MAX = 20_000;

/** Chunks that are durable and not applied yet, in the log's order. */
export class DurableChunks {
  readonly #chunks: DurableChunk[] = [];
  #records = 0;

  get isEmpty(): boolean {
    return this.#chunks.length === 0;
  }

  /** Of all chunks that wait. */
  get records(): number {
    return this.#records;
  }

  /** Whether more wait than memory should hold. */
  get areTooMany(): boolean {
    return this.#records > HELD_RECORDS_MAX;
  }

  add(chunk: DurableChunk): void {
    this.#chunks.push(chunk);
    this.#records += chunk.changes.length;
  }

  /** The first ones, to be applied in one transaction; one at least, if there are any. */
  first(): readonly DurableChunk[] {
    const most = Math.max(APPLIED_RECORDS_MAX, this.#records * APPLIED_SHARE);
    let [count, records] = [0, 0];
    while (count < this.#chunks.length && records < most) {
      records += this.#chunks[count++]!.changes.length;
    }
    return this.#chunks.slice(0, count);
  }

  /** They are applied. */
  remove(count: number): void {
    for (const { changes } of this.#chunks.splice(0, count)) this.#records -= changes.length;
  }
}
