import { keyAfter } from '../../shared/base/bytes.ts';
import { KVS_TAG, PackedKvs } from '../../shared/etcd/packed-kvs.ts';
import { Writer } from '../../shared/etcd/wire.ts';
import { isSingleKey } from '../../shared/model/key-range.ts';
import type { RangePieceReply, RangePieceRequest } from '../contract/reader.ts';
import { answerKv, keysOf, lastKeyOf, readRevision, SortTarget, sortStates } from './range.ts';
import type { KeyView } from './view.ts';

type Piece = Pick<RangePieceReply, 'kvs' | 'keys' | 'nextKey'>;

/** One piece of a RangeStream. Throws Compacted and FutureRev. */
export function readPiece(view: KeyView, request: RangePieceRequest): RangePieceReply {
  const revision = readRevision(view, request.revision);
  const isPlain = !request.keysOnly && request.sortTarget === SortTarget.Key;
  const piece = isPlain ? plainPiece(view, request, revision) : chosenPiece(view, request, revision);
  const remaining =
    piece.nextKey !== undefined && request.last
      ? view.count({ key: piece.nextKey, rangeEnd: request.rangeEnd }, revision)
      : 0;
  return { ...piece, newestRevision: view.revision, remaining };
}

/** The first keys of the range, with their values. */
function plainPiece(view: KeyView, request: RangePieceRequest, revision: number): Piece {
  const listed = view.listKvs(request, revision, request.limit);
  const kvs = listed instanceof PackedKvs ? listed.fields() : kvFields(listed);
  const keys = keysOf(listed);
  if (keys < request.limit || isSingleKey(request)) return { kvs, keys, nextKey: undefined };
  const nextKey = keyAfter(lastKeyOf(listed));
  const behind = view.list({ key: nextKey, rangeEnd: request.rangeEnd }, revision, 1);
  return { kvs, keys, nextKey: behind.length > 0 ? nextKey : undefined };
}

/** Keys without their values, or in the order of something else. */
function chosenPiece(view: KeyView, request: RangePieceRequest, revision: number): Piece {
  const listed = view.list(request, revision, request.limit + 1);
  const more = listed.length > request.limit;
  // etcd sorts each piece by itself. Beyond the first that loses keys or repeats them: we keep key order then.
  const alone = request.first && (request.last || !more);
  const states = alone ? sortStates(view, listed, { sortTarget: request.sortTarget, sortOrder: 0 }) : listed;
  const chosen = more ? states.slice(0, request.limit) : states;
  const nextKey = more ? keyAfter(chosen[chosen.length - 1]!.key) : undefined;
  return {
    kvs: kvFields(chosen.map((state) => answerKv(view, state, request))),
    keys: chosen.length,
    nextKey,
  };
}

/** KeyValues as a RangeResponse has them. */
function kvFields(kvs: readonly Uint8Array[]): Uint8Array {
  const out = new Writer();
  for (const kv of kvs) {
    out.varint(KVS_TAG);
    out.delimited(kv);
  }
  return out.finish();
}
