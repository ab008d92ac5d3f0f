import type { WatchEvent } from './events.ts';
import { IntervalTree } from './interval-tree.ts';
import type { WatchRange } from './range.ts';
import type { Watcher } from './watcher.ts';

/** The watchers of one and the same range. */
export interface WatcherGroup {
  readonly range: WatchRange;
  readonly watchers: Set<Watcher>;
  /** What `match` found for this group and its caller has not taken yet. */
  events: WatchEvent[];
}

/** The synced watchers, found by key: single keys in a map, ranges in an interval tree. */
export class WatcherIndex {
  readonly #single = new Map<string, WatcherGroup>();
  readonly #ranges = new IntervalTree<WatcherGroup>();
  #size = 0;

  /** How many watchers there are. */
  get size(): number {
    return this.#size;
  }

  /** Adds a watcher that is not in the index. */
  add(watcher: Watcher): void {
    this.#group(watcher.spec.range).watchers.add(watcher);
    this.#size += 1;
  }

  /** Removes a watcher that is in the index. */
  delete(watcher: Watcher): void {
    const { range } = watcher.spec;
    const group = this.#find(range);
    if (!group?.watchers.delete(watcher)) return;
    this.#size -= 1;
    if (group.watchers.size > 0) return;
    if (range.single) this.#single.delete(range.start);
    else this.#ranges.delete(range.start, range.end);
  }

  /**
   * The groups that have events among `events`, each with its own in `group.events`, in order; the caller
   * takes them and leaves an empty array. `keys` are the events' keys as latin1 strings.
   */
  match(events: readonly WatchEvent[], keys: readonly string[]): WatcherGroup[] {
    const touched: WatcherGroup[] = [];
    if (this.#size === 0) return touched;
    const found: WatcherGroup[] = [];
    for (let at = 0; at < events.length; at++) {
      found.length = 0;
      this.#groupsOf(keys[at]!, found);
      for (const group of found) {
        if (group.events.length === 0) touched.push(group);
        group.events.push(events[at]!);
      }
    }
    return touched;
  }

  #groupsOf(key: string, found: WatcherGroup[]): void {
    const single = this.#single.get(key);
    if (single !== undefined) found.push(single);
    this.#ranges.stab(key, found);
  }

  #find(range: WatchRange): WatcherGroup | undefined {
    return range.single ? this.#single.get(range.start) : this.#ranges.get(range.start, range.end);
  }

  #group(range: WatchRange): WatcherGroup {
    const present = this.#find(range);
    if (present !== undefined) return present;
    const group: WatcherGroup = { range, watchers: new Set(), events: [] };
    if (range.single) this.#single.set(range.start, group);
    else this.#ranges.set(range.start, range.end, group);
    return group;
  }
}
