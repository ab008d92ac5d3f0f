import { setMaxListeners } from 'node:events';
import { StoreError } from '../../src/main/store/errors.ts';
import { compareKeys } from '../../src/main/store/keys.ts';
import type { ObjectInfo, ObjectStore } from '../../src/main/store/store.ts';
import type { Life } from './life.ts';
import type { Scheduler } from './scheduler.ts';
import type { SimRandom } from './sim-random.ts';

/** What the store, and the network before it, may do to one request. */
const STORE_FAULTS = [
  'fails before the effect',
  'loses the answer',
  'arrives late',
  'answers 429',
  'answers 503',
  'answers 412',
  'never answers',
  'flips a bit of the answer',
] as const;
export type StoreFault = (typeof STORE_FAULTS)[number];

/** How likely each fault is, per request; changed while a simulation runs. */
export interface StoreWeather {
  readonly faults: Partial<Record<StoreFault, number>>;
  /** Each way, mostly much less. */
  readonly delayMsMax: number;
  /** How late a request may arrive whose sender has given up. */
  readonly lateMsMax: number;
}

type Request = 'get' | 'getRange' | 'putIfAbsent' | 'put' | 'list' | 'delete' | 'putMultipart';

interface StoredObject {
  readonly body: Uint8Array;
  readonly modifiedMs: number;
}

/** Sees every change of what is stored, when it happens. */
export interface BucketObserver {
  created(key: string, body: Uint8Array): void;
  deleted(key: string, object: ObjectInfo): void;
  fault(fault: StoreFault, life: Life): void;
}

const LISTED_AT_ONCE_MAX = 40;
const LISTED_AT_ONCE_MIN = 3;
/** The HTTP client gives up. */
const HTTP_TIMEOUT_MS = 30_000;
/** Reads that find a bit flipped. */
const MAY_FLIP: readonly Request[] = ['get', 'getRange'];
/** Writes that a store may refuse with 412 for no good reason: another request was under way. */
const MAY_EXIST: readonly Request[] = ['putIfAbsent'];

/**
 * The one store of a simulation. A request travels, has its effect at one moment, whatever has become of its sender, and
 * its answer travels back.
 */
export class Bucket {
  readonly objects = new Map<string, StoredObject>();
  weather: StoreWeather = { faults: {}, delayMsMax: 10, lateMsMax: 0 };
  /** Of single processes, instead of that of all. */
  readonly partitions = new Map<Life, StoreWeather>();
  readonly #scheduler: Scheduler;
  readonly #random: SimRandom;
  readonly #observer: BucketObserver;
  /** The store's clock is ahead of the world's time by this. */
  readonly #clockOffsetMs: number;

  constructor(scheduler: Scheduler, random: SimRandom, observer: BucketObserver) {
    this.#scheduler = scheduler;
    this.#random = random;
    this.#observer = observer;
    this.#clockOffsetMs = 1_700_000_000_000 + random.integer(-7_200_000, 7_200_000);
  }

  /** By the store's own clock. S3's times are whole seconds. */
  get nowMs(): number {
    return Math.floor((this.#clockOffsetMs + this.#scheduler.nowMs) / 1000) * 1000;
  }

  /** Damages an object at rest: one bit of it is another. */
  flipAtRest(key: string): void {
    const object = this.objects.get(key);
    if (object !== undefined) this.objects.set(key, { ...object, body: this.#flipped(object.body) });
  }

  /** The store as one process reaches it. */
  connect(life: Life): ObjectStore {
    const call = <T>(request: Request, key: string, signal: AbortSignal | undefined, effect: () => T) =>
      this.#call(life, request, key, signal, effect);
    return {
      url: 'sim:',
      get: (key, signal) => call('get', key, signal, () => this.objects.get(key)?.body.slice()),
      getRange: (key, offset, length, signal) =>
        call('getRange', key, signal, () => this.objects.get(key)?.body.slice(offset, offset + length)),
      putIfAbsent: (key, body, signal) => {
        const sent = body.slice();
        return call('putIfAbsent', key, signal, () => {
          if (this.objects.has(key)) return 'exists';
          this.#create(key, sent);
          return 'created';
        });
      },
      put: (key, body, signal) => {
        const sent = body.slice();
        return call('put', key, signal, () => this.#create(key, sent));
      },
      list: (prefix, startAfter) => this.#list(life, prefix, startAfter),
      delete: (key, signal) => call('delete', key, signal, () => this.#delete(key)),
      putMultipart: async (key, parts, signal) => {
        const pieces: Uint8Array[] = [];
        for await (const part of parts) {
          pieces.push(part.slice());
          await call('putMultipart', key, signal, () => undefined);
        }
        const whole = new Uint8Array(Buffer.concat(pieces));
        await call('putMultipart', key, signal, () => this.#create(key, whole));
      },
      close: async () => undefined,
    };
  }

  #create(key: string, body: Uint8Array): void {
    this.objects.set(key, { body, modifiedMs: this.nowMs });
    this.#observer.created(key, body);
  }

  #delete(key: string): void {
    const object = this.objects.get(key);
    if (object === undefined) return;
    this.objects.delete(key);
    this.#observer.deleted(key, { key, size: object.body.length, modifiedMs: object.modifiedMs });
  }

  async *#list(life: Life, prefix: string, startAfter: string | undefined): AsyncIterable<ObjectInfo> {
    let after = startAfter;
    for (;;) {
      const from = after;
      const count = this.#random.integer(LISTED_AT_ONCE_MIN, LISTED_AT_ONCE_MAX);
      const page = await this.#call(life, 'list', prefix, undefined, () => this.#page(prefix, from, count));
      yield* page;
      if (page.length < count) return;
      after = page[page.length - 1]!.key;
    }
  }

  #page(prefix: string, after: string | undefined, count: number): ObjectInfo[] {
    return [...this.objects.keys()]
      .filter((key) => key.startsWith(prefix) && (after === undefined || compareKeys(key, after) > 0))
      .sort(compareKeys)
      .slice(0, count)
      .map((key) => {
        const { body, modifiedMs } = this.objects.get(key)!;
        return { key, size: body.length, modifiedMs };
      });
  }

  #call<T>(
    life: Life,
    request: Request,
    key: string,
    signal: AbortSignal | undefined,
    effect: () => T,
  ): Promise<T> {
    const kind = `${request} ${key.split('/')[0]}`;
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      // A caller that has given up hears at once; what it has sent goes on.
      const giveUp = (): void => reject(signal!.reason);
      // Many requests of a reader share one signal.
      if (signal !== undefined) setMaxListeners(0, signal);
      signal?.addEventListener('abort', giveUp, { once: true });
      const weather = this.partitions.get(life) ?? this.weather;
      const delay = (): number => this.#random.skewed(0.2, weather.delayMsMax);
      const fault = this.#fault(request, life, weather);
      const answer = (settle: () => void): void => {
        life.after(delay(), `answer ${kind}`, () => {
          signal?.removeEventListener('abort', giveUp);
          settle();
        });
      };
      const happen = (delayMs: number, then: (result: T) => void): void => {
        this.#scheduler.after(delayMs, `store ${kind}`, () => then(effect()));
      };
      switch (fault) {
        case 'fails before the effect':
          return answer(() => reject(new StoreError('transient', 'sim: connection refused')));
        case 'answers 429':
        case 'answers 503': {
          const retryAfterMs = this.#random.chance(0.3) ? this.#random.between(10, 1500) : undefined;
          const status = fault === 'answers 429' ? 429 : 503;
          return answer(() =>
            reject(new StoreError('transient', `sim: ${status}`, { status, retryAfterMs })),
          );
        }
        case 'answers 412':
          return answer(() => resolve('exists' as T));
        case 'loses the answer':
          return happen(delay(), () => answer(() => reject(lost())));
        case 'arrives late':
          answer(() => reject(lost()));
          return happen(this.#random.between(500, Math.max(1_000, weather.lateMsMax)), () => undefined);
        case 'never answers':
          life.after(HTTP_TIMEOUT_MS, `answer ${kind}`, () => reject(lost()));
          return happen(delay(), () => undefined);
        case 'flips a bit of the answer':
          return happen(delay(), (result) => answer(() => resolve(this.#flipped(result))));
        case undefined:
          return happen(delay(), (result) => answer(() => resolve(result)));
      }
    });
  }

  #fault(request: Request, life: Life, { faults }: StoreWeather): StoreFault | undefined {
    for (const fault of STORE_FAULTS) {
      if (!this.#random.chance(faults[fault] ?? 0)) continue;
      if (fault === 'answers 412' && !MAY_EXIST.includes(request)) continue;
      if (fault === 'flips a bit of the answer' && !MAY_FLIP.includes(request)) continue;
      this.#observer.fault(fault, life);
      return fault;
    }
    return undefined;
  }

  #flipped<T>(answer: T): T {
    if (!(answer instanceof Uint8Array) || answer.length === 0) return answer;
    const flipped = answer.slice();
    const at = this.#random.integer(0, flipped.length);
    flipped[at] = flipped[at]! ^ (1 << this.#random.integer(0, 8));
    return flipped as T;
  }
}

function lost(): StoreError {
  return new StoreError('transient', 'sim: the answer was lost', { code: 'ECONNRESET' });
}
