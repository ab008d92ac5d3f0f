import type { PackedKvs } from '../../shared/etcd/packed-kvs.ts';
import type { KeyRange } from '../../shared/model/key-range.ts';
import type { KeyState } from '../../shared/model/key-state.ts';

/** Encoded KeyValues: each by itself, or all together. */
export type KvList = readonly Uint8Array[] | PackedKvs;

/**
 * What a range, a compare or a put sees of the keys: one consistent state with its history. The reader has
 * SQLite's snapshot, the writer SQLite plus the overlay of what is evaluated and not yet applied.
 */
export interface KeyView {
  /** The newest revision in this view. */
  readonly revision: number;
  /** Reads below this revision fail; -1 when nothing was ever compacted. */
  readonly compactRevision: number;
  /** The living key at the newest revision. */
  get(key: Uint8Array): KeyState | undefined;
  /** Living keys of `range` at `revision`, in key order, at most `limit` of them (0: all). */
  list(range: KeyRange, revision: number, limit: number): KeyState[];
  /** The encoded KeyValues of what `list` gives. */
  listKvs(range: KeyRange, revision: number, limit: number): KvList;
  /** How many living keys `range` has at `revision`. */
  count(range: KeyRange, revision: number): number;
  /** How many living keys `range` has at `revision`; its first `keys` lie before the range `behind`, which is the rest. */
  countPage(range: KeyRange, revision: number, keys: number, behind: KeyRange): number;
  /** The encoded KeyValue of a state that this view gave. */
  kv(state: KeyState): Uint8Array;
}
