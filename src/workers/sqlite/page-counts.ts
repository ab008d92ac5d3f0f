import { bytesKey } from '../../shared/base/bytes.ts';
import type { KeyRange } from '../../shared/model/key-range.ts';

const ENTRIES_MAX = 64;
const KEYS_BYTES_MAX = 2048;
/** Fewer keys are counted as quickly. */
const COUNT_MIN = 1000;

/**
 * How many keys lay behind pages, for whoever asks for the next page of the same revision. It stays true, because
 * what a revision holds never changes.
 */
export class PageCounts {
  /** The oldest first. */
  readonly #counts = new Map<string, number>();

  get(range: KeyRange, revision: number): number | undefined {
    return this.#counts.size === 0 ? undefined : this.#counts.get(nameOf(range, revision));
  }

  set(range: KeyRange, revision: number, count: number): void {
    if (count < COUNT_MIN || range.key.length + range.rangeEnd.length > KEYS_BYTES_MAX) return;
    this.#counts.set(nameOf(range, revision), count);
    if (this.#counts.size > ENTRIES_MAX) this.#counts.delete(this.#counts.keys().next().value!);
  }
}

function nameOf({ key, rangeEnd }: KeyRange, revision: number): string {
  return `${revision}/${key.length}/${bytesKey(key)}${bytesKey(rangeEnd)}`;
}
