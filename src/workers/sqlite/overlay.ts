import { assert } from '../../shared/base/assert.ts';
import { bytesKey, compareBytes, NO_BYTES } from '../../shared/base/bytes.ts';
import { isSingleKey, type KeyRange, rangeContains } from '../../shared/model/key-range.ts';
import type { KeyState } from '../../shared/model/key-state.ts';
import type { LogRecord } from '../../shared/model/record.ts';
import type { RowView } from './rows.ts';
import type { KeyView, KvList } from './view.ts';

/** A KeyValue record that is evaluated, with its encoded KeyValue. */
export interface PendingChange {
  record: LogRecord;
  /** The encoded KeyValue; for a delete it has only key and mod_revision, as in etcd's delete events. */
  kv: Uint8Array;
}

/**
 * SQLite's rows plus what is evaluated and not yet applied, so that the next batch can be evaluated while
 * the chunks before it are still on their way to the store.
 *
 * Invariants: changes come in (revision, sub) order; they leave in the same order, when they are applied;
 * a key's changes here are all newer than its row in SQLite.
 */
export class OverlayView implements KeyView {
  revision: number;
  compactRevision: number;
  readonly #rows: RowView;
  /** By key: its changes, oldest first. */
  readonly #changes = new Map<string, PendingChange[]>();
  /**
   * The row that was looked up last: a transaction's guard asks for a key, and then its put does. Rows change by what
   * leaves here, and by nothing else.
   */
  #seen: { readonly name: string; readonly state: KeyState | undefined } | undefined;

  constructor(rows: RowView) {
    this.#rows = rows;
    this.revision = rows.revision;
    this.compactRevision = rows.compactRevision;
  }

  /** Keys that have changes here. */
  get size(): number {
    return this.#changes.size;
  }

  add(change: PendingChange): void {
    const key = bytesKey(change.record.key);
    const changes = this.#changes.get(key);
    if (changes === undefined) this.#changes.set(key, [change]);
    else changes.push(change);
    this.revision = change.record.revision;
  }

  /** Forgets a change that SQLite now has. */
  remove(record: LogRecord): void {
    this.#seen = undefined;
    const key = bytesKey(record.key);
    const changes = this.#changes.get(key);
    assert(changes?.[0]?.record === record, 'changes leave the overlay in the order they came');
    if (changes.length === 1) this.#changes.delete(key);
    else changes.shift();
  }

  /** Takes back the changes of the transaction that was added last. */
  undo(changes: PendingChange[]): void {
    for (const { record } of changes.toReversed()) {
      const key = bytesKey(record.key);
      const pending = this.#changes.get(key);
      assert(pending?.pop()?.record === record, 'only the newest changes can be taken back');
      if (pending.length === 0) this.#changes.delete(key);
      this.revision = record.revision - 1;
    }
  }

  get(key: Uint8Array): KeyState | undefined {
    const name = bytesKey(key);
    const changes = this.#changes.get(name);
    if (changes !== undefined) return stateOf(changes[changes.length - 1]!);
    if (this.#seen?.name !== name) this.#seen = { name, state: this.#rows.get(key) };
    return this.#seen.state;
  }

  list(range: KeyRange, revision: number, limit: number): KeyState[] {
    const changed = this.#changedIn(range, revision);
    if (changed.size === 0) return this.#rows.list(range, revision, limit);
    const rows = this.#rows.list(range, revision, limit > 0 ? limit + changed.size : 0);
    const states = rows.filter((state) => !changed.has(bytesKey(state.key)));
    for (const change of changed.values()) {
      const state = stateOf(change);
      if (state !== undefined) states.push(state);
    }
    states.sort((a, b) => compareBytes(a.key, b.key));
    return limit > 0 ? states.slice(0, limit) : states;
  }

  listKvs(range: KeyRange, revision: number, limit: number): KvList {
    if (this.#changedIn(range, revision).size === 0) return this.#rows.listKvs(range, revision, limit);
    return this.list(range, revision, limit).map((state) => this.kv(state));
  }

  count(range: KeyRange, revision: number): number {
    const changed = this.#changedIn(range, revision);
    let count = this.#rows.count(range, revision);
    for (const change of changed.values()) {
      const before = this.#rows.count({ key: change.record.key, rangeEnd: NO_BYTES }, revision);
      count += (change.record.deleted ? 0 : 1) - before;
    }
    return count;
  }

  countPage(_range: KeyRange, revision: number, keys: number, behind: KeyRange): number {
    return keys + this.count(behind, revision);
  }

  kv(state: KeyState): Uint8Array {
    return state.kv ?? this.#rows.kv(state);
  }

  /** The keys attached to a lease, in key order. */
  leaseKeys(lease: bigint, leaseBytes: Uint8Array): Uint8Array[] {
    const keys = this.#rows.leaseKeys(leaseBytes).filter((key) => !this.#changes.has(bytesKey(key)));
    for (const changes of this.#changes.values()) {
      const { record } = changes[changes.length - 1]!;
      if (!record.deleted && record.lease === lease) keys.push(record.key);
    }
    return keys.sort(compareBytes);
  }

  /** The newest change at or below `revision` of each changed key in `range`. */
  #changedIn(range: KeyRange, revision: number): Map<string, PendingChange> {
    const found = new Map<string, PendingChange>();
    if (isSingleKey(range)) {
      const key = bytesKey(range.key);
      const change = newestAt(this.#changes.get(key), revision);
      if (change !== undefined) found.set(key, change);
      return found;
    }
    for (const [key, changes] of this.#changes) {
      const change = newestAt(changes, revision);
      if (change !== undefined && rangeContains(range, change.record.key)) found.set(key, change);
    }
    return found;
  }
}

function newestAt(changes: PendingChange[] | undefined, revision: number): PendingChange | undefined {
  if (changes === undefined) return undefined;
  for (let index = changes.length - 1; index >= 0; index--) {
    if (changes[index]!.record.revision <= revision) return changes[index];
  }
  return undefined;
}

function stateOf({ record, kv }: PendingChange): KeyState | undefined {
  if (record.deleted) return undefined;
  return {
    key: record.key,
    modRevision: record.revision,
    createRevision: record.createRevision,
    version: record.version,
    lease: record.lease,
    rowId: 0,
    kv,
  };
}
