import { fromBinary } from '@bufbuild/protobuf';
import { asBuffer } from '../../shared/base/bytes.ts';
import type { Clock } from '../../shared/base/clock.ts';
import type { Log } from '../../shared/base/log.ts';
import {
  DeleteRangeRequestSchema,
  PutRequestSchema,
  RangeRequestSchema,
  type RequestOp,
  TxnRequestSchema,
} from '../../shared/etcd/gen/etcdserverpb/rpc_pb.ts';
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
    const content = contentOf(path, call.request);
    log.warn('request stats', {
      'start time': new Date(clock.wallMs() - tookMs).toISOString(),
      'time spent': `${tookMs.toFixed(3)}ms`,
      remote: call.getPeer(),
      'response type': path,
      'request size': content === undefined ? -1 : call.request.length,
      'response size': content === undefined || response === undefined ? -1 : response.length,
      ...(content !== undefined && { 'request content': content }),
      ...(this.#untold > 0 && { 'slow requests not told': this.#untold }),
    });
    this.#untold = 0;
  }
}

/** What a request asks for, in protobuf's text form as far as it matters; undefined where it may have secrets. */
function contentOf(path: string, request: Uint8Array): string | undefined {
  try {
    switch (path) {
      case '/etcdserverpb.KV/Range':
        return rangeText(fromBinary(RangeRequestSchema, request));
      case '/etcdserverpb.KV/Put':
        return putText(fromBinary(PutRequestSchema, request));
      case '/etcdserverpb.KV/DeleteRange':
        return rangeText(fromBinary(DeleteRangeRequestSchema, request));
      case '/etcdserverpb.KV/Txn': {
        const { compare, success, failure } = fromBinary(TxnRequestSchema, request);
        const keys = compare.slice(0, OPERATIONS_SHOWN).map(({ key }) => keyText('key', key));
        return `compare:<${keys.join(' ')}> success:<${operationsText(success)}> failure:<${operationsText(failure)}>`;
      }
    }
  } catch {
    return 'malformed';
  }
  return undefined;
}

interface RangeLike {
  readonly key: Uint8Array;
  readonly rangeEnd: Uint8Array;
  readonly limit?: bigint;
  readonly revision?: bigint;
}

function rangeText({ key, rangeEnd, limit = 0n, revision = 0n }: RangeLike): string {
  return [
    keyText('key', key),
    ...(rangeEnd.length > 0 ? [keyText('range_end', rangeEnd)] : []),
    ...(limit > 0n ? [`limit:${limit}`] : []),
    ...(revision > 0n ? [`revision:${revision}`] : []),
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
