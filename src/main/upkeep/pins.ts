import { NO_BYTES } from '../../shared/base/bytes.ts';
import { condemnedKey, PINS_PREFIX, parsePinKey, snapshotKey } from '../../shared/format/names.ts';
import type { ObjectStore } from '../store/store.ts';

/**
 * What forks in other stores need of this one (see `restore/refer.ts`). Whoever deletes a snapshot first condemns it, by an
 * object with a name of its own, and then looks for pins; whoever pins it looks for that name afterwards. So one of the
 * two sees the other, however slow either is. A condemned snapshot is none of this store's any more: where it is pinned, its
 * object stays, and nothing else. Its sentence is never taken back, because a delete may still be on its way.
 */
export class SnapshotPins {
  readonly #store: ObjectStore;
  /** A key among the pins that says nothing to this version: then each snapshot counts as pinned. */
  unknown: string | undefined;

  constructor(store: ObjectStore) {
    this.#store = store;
  }

  /** Deletes the snapshots that were condemned earlier and are no longer pinned; resolves to how many. */
  async deleteUnpinned(isOver: () => boolean): Promise<number> {
    let deleted = 0;
    const { condemned, isPinned } = await this.#list();
    for (const sequence of condemned) {
      if (isOver() || isPinned(sequence)) continue;
      await this.#delete(sequence);
      deleted++;
    }
    return deleted;
  }

  /** Deletes a snapshot, or leaves its object to those that pinned it; resolves to whether it is gone. */
  async deleteUnlessPinned(sequence: number): Promise<boolean> {
    await this.#store.put(condemnedKey(sequence), NO_BYTES);
    const { isPinned } = await this.#list();
    if (isPinned(sequence)) return false;
    await this.#delete(sequence);
    return true;
  }

  async #delete(sequence: number): Promise<void> {
    await this.#store.delete(snapshotKey(sequence));
    await this.#store.delete(condemnedKey(sequence));
  }

  async #list(): Promise<{ condemned: number[]; isPinned(sequence: number): boolean }> {
    const condemned: number[] = [];
    const pinned = new Set<number>();
    for await (const { key } of this.#store.list(PINS_PREFIX)) {
      const pin = parsePinKey(key);
      if (pin === undefined) this.unknown = key;
      else if (pin.isCondemned) condemned.push(pin.sequence);
      else pinned.add(pin.sequence);
    }
    const { unknown } = this;
    return { condemned, isPinned: (sequence) => unknown !== undefined || pinned.has(sequence) };
  }
}
