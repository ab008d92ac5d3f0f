import { compareBytes, keyAfter } from '../../shared/base/bytes.ts';
import { EtcdError } from '../../shared/etcd/errors.ts';
import { PackedKvs } from '../../shared/etcd/packed-kvs.ts';
import type { RangeRequest } from '../../shared/etcd/requests.ts';
import {
  decodeKeyValue,
  encodeRangeResponse,
  keyValueBytes,
  stripValue,
} from '../../shared/etcd/responses.ts';
import { isSingleKey } from '../../shared/model/key-range.ts';
import type { KeyState } from '../../shared/model/key-state.ts';
import type { KeyView, KvList } from './view.ts';

/** etcdserverpb.RangeRequest.SortOrder and SortTarget. */
const SortOrder = { None: 0, Ascend: 1, Descend: 2 } as const;
export const SortTarget = { Key: 0, Version: 1, Create: 2, Mod: 3, Value: 4 } as const;
const NO_VALUE = new Uint8Array(0);

export interface RangeResult {
  /** Encoded KeyValues, in the order asked for. */
  kvs: KvList;
  /** More keys than the limit let through. */
  more: boolean;
  /** Keys in the range, whatever limit and filters say. */
  count: number;
}

/** Answers a checked RangeRequest as etcd does. Throws Compacted and FutureRev. */
export function executeRange(view: KeyView, request: RangeRequest): RangeResult {
  const revision = readRevision(view, request.revision);
  if (request.countOnly) return { kvs: [], more: false, count: view.count(request, revision) };
  return isPage(request) ? readPage(view, request, revision) : readChosen(view, request, revision);
}

/** The first keys of the range, up to the limit. */
function readPage(view: KeyView, request: RangeRequest, revision: number): RangeResult {
  const limit = Math.max(0, request.limit);
  const kvs = request.keysOnly
    ? view.list(request, revision, limit).map((state) => answerKv(view, state, request))
    : view.listKvs(request, revision, limit);
  const keys = keysOf(kvs);
  if (limit === 0 || keys < limit || isSingleKey(request)) return { kvs, more: false, count: keys };
  const behind = { key: keyAfter(lastKeyOf(kvs)), rangeEnd: request.rangeEnd };
  const count = view.countPage(request, revision, keys, behind);
  return { kvs, more: count > limit, count };
}

/** How many keys a list has. */
export function keysOf(kvs: KvList): number {
  return kvs instanceof PackedKvs ? kvs.keys : kvs.length;
}

/** The last key of a list, which has one. */
export function lastKeyOf(kvs: KvList): Uint8Array {
  return kvs instanceof PackedKvs ? kvs.lastKey : decodeKeyValue(kvs[kvs.length - 1]!).key;
}

/** The RangeResponse under `header`; `result` is not to be used again. */
export function rangeResponse(header: Uint8Array, { kvs, more, count }: RangeResult): Uint8Array {
  if (kvs instanceof PackedKvs) return kvs.response(header, more, count);
  return encodeRangeResponse(header, kvs, more, count);
}

/** Keys that are sorted, or chosen by their revisions, before the limit cuts them off. */
function readChosen(view: KeyView, request: RangeRequest, revision: number): RangeResult {
  const limit = Math.max(0, request.limit);
  const inKeyOrder = isDefaultOrdering(request) && !hasRevisionFilters(request);
  const listed = view.list(request, revision, inKeyOrder && limit > 0 ? limit + 1 : 0);
  const allListed = !inKeyOrder || limit === 0 || listed.length <= limit;
  const count = allListed ? listed.length : view.count(request, revision);
  const chosen = sortStates(view, filterStates(listed, request), request);
  const more = limit > 0 && chosen.length > limit;
  const states = more ? chosen.slice(0, limit) : chosen;
  return { kvs: states.map((state) => answerKv(view, state, request)), more, count };
}

/** The revision that a read at `asked` reads: 0 and below mean the newest. Throws as etcd does. */
export function readRevision(view: KeyView, asked: number): number {
  if (asked > view.revision) throw new EtcdError('FutureRev');
  const revision = asked <= 0 ? view.revision : asked;
  if (revision < view.compactRevision) throw new EtcdError('Compacted');
  return revision;
}

/** True when the answer is the first keys of the range, in key order. */
export function isPage(request: RangeRequest): boolean {
  const { sortTarget, sortOrder } = request;
  const inKeyOrder = sortTarget === SortTarget.Key && sortOrder !== SortOrder.Descend;
  return inKeyOrder && !hasRevisionFilters(request);
}

/** True when the keys that the limit lets through are those that come first. */
function isDefaultOrdering(request: RangeRequest): boolean {
  return (
    request.sortOrder === SortOrder.None ||
    (request.sortTarget === SortTarget.Key && request.sortOrder === SortOrder.Ascend)
  );
}

/** True when minimum or maximum revisions are asked for. */
function hasRevisionFilters(request: RangeRequest): boolean {
  return (
    request.minModRevision !== 0 ||
    request.maxModRevision !== 0 ||
    request.minCreateRevision !== 0 ||
    request.maxCreateRevision !== 0
  );
}

/** The KeyValue of a state without its value, and without its lease, as etcd answers `keys_only`. */
function keyOnly(state: KeyState): Uint8Array {
  return keyValueBytes({
    key: state.key,
    createRevision: state.createRevision,
    modRevision: state.modRevision,
    version: state.version,
    value: NO_VALUE,
    lease: 0n,
  });
}

function filterStates(states: KeyState[], request: RangeRequest): KeyState[] {
  if (!hasRevisionFilters(request)) return states;
  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = request;
  return states.filter(
    (state) =>
      (maxModRevision === 0 || state.modRevision <= maxModRevision) &&
      (minModRevision === 0 || state.modRevision >= minModRevision) &&
      (maxCreateRevision === 0 || state.createRevision <= maxCreateRevision) &&
      (minCreateRevision === 0 || state.createRevision >= minCreateRevision),
  );
}

/** The states in the order that is asked for; `states` are in key order. */
export function sortStates(
  view: KeyView,
  states: KeyState[],
  request: Pick<RangeRequest, 'sortTarget' | 'sortOrder'>,
): KeyState[] {
  const { sortTarget, sortOrder } = request;
  // etcd sorts by any other target than the key in ascending order when no order is given.
  if (sortTarget === SortTarget.Key ? sortOrder !== SortOrder.Descend : false) return states;
  const direction = sortOrder === SortOrder.Descend ? -1 : 1;
  const compare = comparatorOf(view, sortTarget);
  return [...states].sort((a, b) => direction * compare(a, b));
}

function comparatorOf(view: KeyView, sortTarget: number): (a: KeyState, b: KeyState) => number {
  switch (sortTarget) {
    case SortTarget.Version:
      return (a, b) => a.version - b.version;
    case SortTarget.Create:
      return (a, b) => a.createRevision - b.createRevision;
    case SortTarget.Mod:
      return (a, b) => a.modRevision - b.modRevision;
    case SortTarget.Value:
      return (a, b) => compareBytes(decodeKeyValue(view.kv(a)).value, decodeKeyValue(view.kv(b)).value);
    default:
      return (a, b) => compareBytes(a.key, b.key);
  }
}

/** The encoded KeyValue that answers `request`: without its value for `keys_only`. */
export function answerKv(
  view: KeyView,
  state: KeyState,
  request: Pick<RangeRequest, 'keysOnly' | 'sortTarget'>,
): Uint8Array {
  if (!request.keysOnly) return view.kv(state);
  // etcd answers from its index then, which knows no lease; sorting by value makes it read the values.
  return request.sortTarget === SortTarget.Value ? stripValue(view.kv(state)) : keyOnly(state);
}
