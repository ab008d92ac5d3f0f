import type { Clock } from '../../shared/base/clock.ts';
import { StoreError, type StoreErrorKind } from './errors.ts';
import type { ObjectInfo, ObjectStore } from './store.ts';

type StoreOperation = 'get' | 'getRange' | 'putIfAbsent' | 'put' | 'list' | 'delete' | 'putMultipart';

/** 'aborted': the caller gave up. */
type StoreOutcome = 'ok' | 'exists' | 'absent' | 'aborted' | StoreErrorKind;

export interface StoreCall {
  readonly operation: StoreOperation;
  readonly outcome: StoreOutcome;
  readonly latencyMs: number;
  /** Of the body that was sent or received; a list's objects are not counted. */
  readonly bytes: number;
  /** False where no connection came about, and for the store's own trouble (5xx): S3 does not charge for these. */
  readonly billed: boolean;
  /** Of a failure: the store's error code ('SlowDown'), else its HTTP status, else the kind of the failure. */
  readonly code?: string;
}

/** Told of every call when it has ended. A list is one call, from its first step to its end. */
export interface StoreMeter {
  observe(call: StoreCall): void;
}

/** The same store, with its calls counted and timed. */
export function meteredStore(store: ObjectStore, meter: StoreMeter, clock: Clock): ObjectStore {
  const gauge = new Gauge(meter, clock);
  return {
    url: store.url,
    get: (key, signal) => gauge.read('get', store.get(key, signal)),
    getRange: (key, offset, length, signal) =>
      gauge.read('getRange', store.getRange(key, offset, length, signal)),
    putIfAbsent: (key, body, signal) =>
      gauge.measure('putIfAbsent', store.putIfAbsent(key, body, signal), (answer) => ({
        outcome: answer === 'exists' ? 'exists' : 'ok',
        bytes: body.length,
      })),
    put: (key, body, signal) =>
      gauge.measure('put', store.put(key, body, signal), () => ({ outcome: 'ok', bytes: body.length })),
    list: (prefix, startAfter) => gauge.list(store.list(prefix, startAfter)),
    delete: (key, signal) =>
      gauge.measure('delete', store.delete(key, signal), () => ({ outcome: 'ok', bytes: 0 })),
    putMultipart: (key, parts, signal) => {
      const counter = new PartCounter(parts);
      return gauge.measure('putMultipart', store.putMultipart(key, counter, signal), () => ({
        outcome: 'ok',
        bytes: counter.bytes,
      }));
    },
    close: () => store.close(),
  };
}

type Result = Pick<StoreCall, 'outcome' | 'bytes' | 'code'> & { readonly billed?: boolean };

class Gauge {
  readonly #meter: StoreMeter;
  readonly #clock: Clock;

  constructor(meter: StoreMeter, clock: Clock) {
    this.#meter = meter;
    this.#clock = clock;
  }

  read(operation: StoreOperation, call: Promise<Uint8Array | undefined>): Promise<Uint8Array | undefined> {
    return this.measure(operation, call, (body) => ({
      outcome: body === undefined ? 'absent' : 'ok',
      bytes: body?.length ?? 0,
    }));
  }

  async measure<T>(operation: StoreOperation, call: Promise<T>, resultOf: (answer: T) => Result): Promise<T> {
    const begun = this.#clock.monotonicMs();
    let result: Result = { outcome: 'aborted', bytes: 0 };
    try {
      const answer = await call;
      result = resultOf(answer);
      return answer;
    } catch (error) {
      if (error instanceof StoreError) result = failureOf(error);
      throw error;
    } finally {
      this.#observe(operation, result, begun);
    }
  }

  async *list(objects: AsyncIterable<ObjectInfo>): AsyncIterable<ObjectInfo> {
    const begun = this.#clock.monotonicMs();
    let result: Result = { outcome: 'ok', bytes: 0 };
    try {
      yield* objects;
    } catch (error) {
      result = error instanceof StoreError ? failureOf(error) : { outcome: 'aborted', bytes: 0 };
      throw error;
    } finally {
      this.#observe('list', result, begun);
    }
  }

  #observe(operation: StoreOperation, result: Result, begun: number): void {
    const latencyMs = this.#clock.monotonicMs() - begun;
    this.#meter.observe({ operation, billed: true, ...result, latencyMs });
  }
}

/** The system's and undici's codes of a request that was not sent. */
const NOT_SENT: ReadonlySet<string | undefined> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

function failureOf({ kind, code, status }: StoreError): Result {
  const billed = status === undefined ? !NOT_SENT.has(code) : status < 500;
  return { outcome: kind, bytes: 0, billed, code: code ?? (status === undefined ? kind : String(status)) };
}

class PartCounter implements AsyncIterable<Uint8Array> {
  readonly #parts: AsyncIterable<Uint8Array>;
  bytes = 0;

  constructor(parts: AsyncIterable<Uint8Array>) {
    this.#parts = parts;
  }

  async *[Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    for await (const part of this.#parts) {
      this.bytes += part.length;
      yield part;
    }
  }
}
