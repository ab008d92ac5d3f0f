import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { asBuffer, NO_BYTES } from '../../shared/base/bytes.ts';
import type { Clock } from '../../shared/base/clock.ts';
import type { Log } from '../../shared/base/log.ts';
import {
  DeleteRangeRequestSchema,
  PutRequestSchema,
  RangeRequestSchema,
  type RequestOp,
  RequestOpSchema,
  TxnRequestSchema,
} from '../../shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { Reader } from '../../shared/etcd/wire.ts';
import type { CallMeter, MeterOfMethod, UnaryCall } from './service.ts';

/** In an outage every call is slow; so many lines a second say it. */
const LINES_PER_SECOND = 10;
/** Of a key, and of a transaction's operations. */
const KEY_BYTES_SHOWN = 256;
const OPERATIONS_SHOWN = 8;

export interface RequestLogParts {
  readonly log: Log;
  readonly clock: Clock;
  /** Unary calls that take longer are told. */
  readonly slowerThanMs: number;
}

/**
 * Tells of slow unary calls as etcd does (its `logUnaryRequestStats`): the same text and the same names of fields, and
 * what was asked for without values. Of services other than KV nothing is told but the method: Auth's requests have
 * passwords in them.
 */
export class RequestLog {
  readonly #parts: RequestLogParts;
  #secondBegunMs = Number.NEGATIVE_INFINITY;
  #lines = 0;
  #untold = 0;

  constructor(parts: RequestLogParts) {
    this.#parts = parts;
  }

  /** The same meters; their unary calls are looked at when they have ended. */
  watch(meterOf: MeterOfMethod): MeterOfMethod {
    return (service, method, type) => {
      const meter = meterOf(service, method, type);
      return type === 'unary' ? this.#watched(meter, `/${service}/${method}`) : meter;
    };
  }

  #watched(meter: CallMeter, path: string): CallMeter {
    const { slowerThanMs } = this.#parts;
    return {
      ...meter,
      handled: (code, startedMs, call, response) => {
        const tookMs = meter.handled(code, startedMs);
        if (tookMs > slowerThanMs && call !== undefined && this.#mayTell())
          this.#tell(path, tookMs, call, response);
        return tookMs;
      },
    };
  }

  #mayTell(): boolean {
    const nowMs = this.#parts.clock.monotonicMs();
    if (nowMs - this.#secondBegunMs >= 1000) {
      this.#secondBegunMs = nowMs;
      this.#lines = 0;
    }
    if (this.#lines >= LINES_PER_SECOND) {
      this.#untold++;
      return false;
    }
    this.#lines++;
    return true;
  }

  #tell(path: string, tookMs: number, call: UnaryCall, response: Uint8Array | undefined): void {
    const { log, clock } = this.#parts;
    const stats = statsOf(path, call.request, response);
    log.warn('request stats', {
      'start time': new Date(clock.wallMs() - tookMs).toISOString(),
      'time spent': goDuration(tookMs),
      remote: call.getPeer(),
      'response type': path,
      'request count': stats.requests,
      'request size': stats.requestBytes,
      'response count': stats.responses,
      'response size': stats.responseBytes,
      'request content': stats.content,
      ...(this.#untold > 0 && { 'slow requests not told': this.#untold }),
    });
    this.#untold = 0;
  }
}

/** Counts and sizes as etcd reckons them; -1 where it does not, which is all but KV. */
interface Stats {
  readonly requests: number;
  readonly requestBytes: number;
  readonly responses: number;
  readonly responseBytes: number;
  /** What was asked for, in protobuf's text form as far as it matters; empty where it may have secrets. */
  readonly content: string;
}

const UNTOLD: Stats = { requests: -1, requestBytes: -1, responses: -1, responseBytes: -1, content: '' };

/** Fields of responses. */
const RANGE_COUNT = 4;
const DELETED = 2;
const SUCCEEDED = 2;

/** `response` is undefined when the call failed. */
function statsOf(path: string, request: Uint8Array, response: Uint8Array = NO_BYTES): Stats {
  const sizes = { requestBytes: request.length, responseBytes: response.length };
  try {
    switch (path) {
      case '/etcdserverpb.KV/Range': {
        const content = rangeText(fromBinary(RangeRequestSchema, request));
        return { ...sizes, requests: 0, responses: numberIn(response, RANGE_COUNT), content };
      }
      case '/etcdserverpb.KV/Put': {
        const content = putText(fromBinary(PutRequestSchema, request));
        return { ...sizes, requests: 1, responses: 0, content };
      }
      case '/etcdserverpb.KV/DeleteRange': {
        const content = rangeText(fromBinary(DeleteRangeRequestSchema, request));
        return { ...sizes, requests: 0, responses: numberIn(response, DELETED), content };
      }
      case '/etcdserverpb.KV/Txn': {
        const { compare, success, failure } = fromBinary(TxnRequestSchema, request);
        const keys = compare.slice(0, OPERATIONS_SHOWN).map(({ key }) => keyText('key', key));
        const content = `compare:<${keys.join(' ')}> success:<${operationsText(success)}> failure:<${operationsText(failure)}>`;
        const chosen = numberIn(response, SUCCEEDED) === 1 ? success : failure;
        const requestBytes = chosen.reduce((sum, op) => sum + toBinary(RequestOpSchema, op).length, 0);
        return { ...sizes, requests: chosen.length, requestBytes, responses: 0, content };
      }
    }
  } catch {
    return { ...UNTOLD, content: 'malformed' };
  }
  return UNTOLD;
}

/** A field of a response that is a number; 0 if it is not there. */
function numberIn(response: Uint8Array, field: number): number {
  const reader = new Reader(response);
  while (reader.more()) {
    const tag = reader.tag();
    if (tag === field * 8) return reader.varint();
    reader.skip(tag);
  }
  return 0;
}

/** As Go writes times of less than a minute. */
function goDuration(ms: number): string {
  return ms < 1000 ? `${ms.toFixed(3)}ms` : `${(ms / 1000).toFixed(6)}s`;
}

interface RangeLike {
  readonly key: Uint8Array;
  readonly rangeEnd: Uint8Array;
  readonly limit?: bigint;
  readonly revision?: bigint;
  readonly prevKv?: boolean;
}

function rangeText({ key, rangeEnd, limit = 0n, revision = 0n, prevKv = false }: RangeLike): string {
  return [
    keyText('key', key),
    ...(rangeEnd.length > 0 ? [keyText('range_end', rangeEnd)] : []),
    ...(limit > 0n ? [`limit:${limit}`] : []),
    ...(revision > 0n ? [`revision:${revision}`] : []),
    ...(prevKv ? ['prev_kv:true'] : []),
  ].join(' ');
}

function putText({ key, value, lease }: { key: Uint8Array; value: Uint8Array; lease: bigint }): string {
  return `${keyText('key', key)} value_size:${value.length}${lease === 0n ? '' : ` lease:${lease}`}`;
}

function operationsText(operations: readonly RequestOp[]): string {
  const shown = operations.slice(0, OPERATIONS_SHOWN).map(({ request }) => {
    if (request.case === 'requestPut') return `request_put:<${putText(request.value)}>`;
    if (request.case === 'requestRange') return `request_range:<${rangeText(request.value)}>`;
    if (request.case === 'requestDeleteRange') return `request_delete_range:<${rangeText(request.value)}>`;
    return 'request_txn:<…>';
  });
  const more = operations.length - shown.length;
  return [...shown, ...(more > 0 ? [`… ${more} more`] : [])].join(' ');
}

function keyText(name: string, key: Uint8Array): string {
  const cut = key.length > KEY_BYTES_SHOWN ? '…' : '';
  return `${name}:${JSON.stringify(asBuffer(key.subarray(0, KEY_BYTES_SHOWN)).toString())}${cut}`;
}
