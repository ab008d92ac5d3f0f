import { GrpcCode } from '../../shared/etcd/errors.ts';
import { decodeRangeRequest, type RangeRequest } from '../../shared/etcd/requests.ts';
import { checkRange } from '../../shared/etcd/validate.ts';
import { Writer } from '../../shared/etcd/wire.ts';
import { type RangePieceReply, ReadKind } from '../../workers/contract/reader.ts';
import type { ReadGate } from '../commit/read-gate.ts';
import type { ReaderPool } from '../state/reader-client.ts';
import type { Guard } from './guard.ts';
import type { Identity } from './identity.ts';
import { failStream, type StreamingCall, sendTaken } from './service.ts';
import { reserveRoom, wantedBy } from './wanted.ts';

export interface RangeStreamParts {
  gate: ReadGate;
  readers: ReaderPool;
  identity: Identity;
  guard: Guard;
  maxRequestBytes: number;
}

/** As etcd: the first piece is small, then pieces grow or shrink towards the target size. */
const FIRST_PIECE_KEYS = 10;
/** RangeStreamResponse.range_response; RangeResponse.header, more and count. */
const TAGS = { rangeResponse: 10, header: 10, more: 24, count: 32 } as const;

/**
 * Serves KV.RangeStream (etcd 3.7): the first piece pins the revision, and header, more and count come with the
 * last piece only. While a piece is on its way the next is read, and no more; what comes first is room for it.
 */
export async function streamRange(parts: RangeStreamParts, call: StreamingCall): Promise<void> {
  try {
    const request = decodeRangeRequest(call.request);
    checkRange(request);
    const refusal = refusalOf(request);
    if (refusal !== undefined) {
      call.emit('error', { code: GrpcCode.Unimplemented, details: refusal });
      return;
    }
    await passGate(parts.gate, request.serializable);
    const info = parts.guard.enabled ? await parts.guard.whoIs(call) : undefined;
    if (info !== undefined) parts.guard.state.checkRead(info, request);
    if (request.countOnly) await sendCount(parts, call);
    else await sendPieces(parts, call, request);
    if (info !== undefined) parts.guard.checkFresh(info);
    call.end();
  } catch (error) {
    failStream(call, error);
  }
}

/** etcd's words for what a stream can't do. */
function refusalOf(request: RangeRequest): string | undefined {
  const { sortOrder, sortTarget } = request;
  if (sortOrder === 2 || (sortOrder === 1 && sortTarget > 0)) {
    return 'RangeStream does not support custom sort orders';
  }
  const { minModRevision, maxModRevision, minCreateRevision, maxCreateRevision } = request;
  const filters = [minModRevision, maxModRevision, minCreateRevision, maxCreateRevision];
  return filters.some((revision) => revision !== 0)
    ? 'RangeStream does not support revision filters'
    : undefined;
}

async function passGate(gate: ReadGate, serializable: boolean): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    gate.enter((error) => (error === undefined ? resolve() : reject(error)), serializable);
  });
}

/** A count is one response, the same as Range gives. */
async function sendCount(parts: RangeStreamParts, call: StreamingCall): Promise<void> {
  const response = await new Promise<Uint8Array>((resolve, reject) => {
    parts.readers.read(ReadKind.Range, call.request, (error, bytes) => {
      if (error === undefined) resolve(bytes);
      else reject(error);
    });
  });
  await send(call, response);
}

async function sendPieces(
  parts: RangeStreamParts,
  call: StreamingCall,
  request: RangeRequest,
): Promise<void> {
  const total = request.limit > 0 ? request.limit : Number.MAX_SAFE_INTEGER;
  let limit = Math.min(FIRST_PIECE_KEYS, total);
  let { key, revision } = request;
  let headerRevision = 0;
  let sent = 0;
  let sending = Promise.resolve();
  const wanted = wantedBy(call);
  while (!call.cancelled) {
    const last = sent + limit >= total;
    const { rangeEnd, keysOnly, sortTarget } = request;
    const first = sent === 0;
    const options = { limit, keysOnly, sortTarget, first, last };
    const room = await reserveRoom(wanted, parts.maxRequestBytes);
    const leave = (): void => room.leave();
    let piece: RangePieceReply;
    try {
      piece = await parts.readers.piece({ key, rangeEnd, revision, ...options });
      room.resize(piece.kvs.length);
      await sending;
    } catch (error) {
      leave();
      throw error;
    }
    if (headerRevision === 0) headerRevision = piece.newestRevision;
    if (revision <= 0) revision = headerRevision;
    sent += piece.keys;
    const done = piece.nextKey === undefined || sent >= total;
    const end = done ? { header: parts.identity.header(headerRevision), sent } : undefined;
    sending = send(call, pieceBytes(piece, end)).finally(leave);
    // Waited for below, or when the next piece is here.
    sending.catch(() => {});
    if (piece.nextKey === undefined || done) return sending;
    key = piece.nextKey;
    limit = Math.min(nextLimit(limit, piece.kvs.length, parts.maxRequestBytes), total - sent);
  }
}

function nextLimit(limit: number, bytes: number, target: number): number {
  if (bytes < target / 2) return limit * 2;
  return bytes > target * 2 ? Math.max(1, limit >>> 1) : limit;
}

/** A RangeResponse around a piece's KeyValues, with what only the last one carries. */
function pieceBytes(
  piece: RangePieceReply,
  end: { header: Uint8Array; sent: number } | undefined,
): Uint8Array {
  const writer = new Writer(piece.kvs.length + 64);
  if (end !== undefined) {
    writer.varint(TAGS.header);
    writer.delimited(end.header);
  }
  writer.raw(piece.kvs);
  if (end !== undefined) {
    if (piece.nextKey !== undefined) {
      writer.varint(TAGS.more);
      writer.varint(1);
    }
    const count = end.sent + piece.remaining;
    if (count > 0) {
      writer.varint(TAGS.count);
      writer.varint(count);
    }
  }
  return writer.finish();
}

/** Sends a RangeResponse as a RangeStreamResponse, and waits until the client has taken it. */
async function send(call: StreamingCall, rangeResponse: Uint8Array): Promise<void> {
  const writer = new Writer(rangeResponse.length + 8);
  writer.varint(TAGS.rangeResponse);
  writer.delimited(rangeResponse);
  await sendTaken(call, writer.finish());
}
