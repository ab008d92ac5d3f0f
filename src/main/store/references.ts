import { asBuffer } from '../../shared/base/bytes.ts';
import { errorMessage } from '../../shared/base/errors.ts';
import type { Log } from '../../shared/base/log.ts';
import { CorruptFileError, hex64 } from '../../shared/format/corrupt.ts';
import { decodeHeader } from '../../shared/format/decode.ts';
import {
  parsePinKey,
  parseReferenceKey,
  REFERENCES_PREFIX,
  referenceKey,
  SNAPSHOTS_PREFIX,
  snapshotKey,
} from '../../shared/format/names.ts';
import { StoreError } from './errors.ts';
import { compareKeys } from './keys.ts';
import type { ObjectInfo, ObjectStore, ReadableStore } from './store.ts';

/** That a snapshot of this store stands in another one, under the same key. */
export interface Reference {
  /** The other store, as `openStore` takes it. */
  readonly url: string;
  readonly sequence: number;
  /** Of the snapshot, in bytes. */
  readonly size: number;
  /** Its header's, in hexadecimal: with it goes a nonce, so that no other object has the same. */
  readonly headerCrc: string;
  /** The object in the other store for whose sake retention there keeps the snapshot. */
  readonly pin: string;
}

const VERSION = 1;
/** More than a snapshot's header takes. */
const HEADER_BYTES_MAX = 64 * 1024;

export function encodeReference(reference: Reference): Uint8Array {
  return Buffer.from(`${JSON.stringify({ version: VERSION, ...reference })}\n`);
}

/** What `store` says of where its snapshot at `sequence` is; undefined if it has none elsewhere. */
export async function readReference(
  store: Pick<ReadableStore, 'url' | 'get'>,
  sequence: number,
): Promise<Reference | undefined> {
  const key = referenceKey(sequence);
  const object = await store.get(key);
  if (object === undefined) return undefined;
  const reference = decodeReference(object);
  if (reference?.sequence === sequence) return reference;
  throw new StoreError(
    'fatal',
    `${key} of ${store.url} is damaged, or of another version of netsy: restore a version of it, or use that netsy`,
  );
}

function decodeReference(object: Uint8Array): Reference | undefined {
  let said: Partial<Record<string, unknown>>;
  try {
    said = { ...(JSON.parse(asBuffer(object).toString()) as object) };
  } catch {
    return undefined;
  }
  const { version, url, sequence, size, headerCrc, pin } = said;
  if (version !== VERSION || typeof url !== 'string' || !url.startsWith('s3://')) return undefined;
  if (typeof sequence !== 'number' || typeof size !== 'number' || !Number.isSafeInteger(size))
    return undefined;
  if (typeof headerCrc !== 'string' || typeof pin !== 'string') return undefined;
  if (parsePinKey(pin)?.sequence !== sequence) return undefined;
  return { url, sequence, size, headerCrc, pin };
}

/** Opens the store that a reference names. */
export type OpenReferred = (url: string) => Promise<ObjectStore>;

/**
 * `store`, with the snapshots that it refers to as if they were its own: they are listed, with the time of the reference,
 * and read where they are. Deleting one deletes the reference and then its pin. What has no references is returned as it is.
 */
export async function withReferences(store: ObjectStore, open: OpenReferred, log: Log): Promise<ObjectStore> {
  const references = await References.of(store, open);
  if (references === undefined) return store;
  return {
    ...referringReads(store, references),
    putIfAbsent: (key, body, signal) => store.putIfAbsent(key, body, signal),
    put: (key, body, signal) => store.put(key, body, signal),
    putMultipart: (key, parts, signal) => store.putMultipart(key, parts, signal),
    delete: async (key, signal) => {
      const referred = references.get(key);
      if (referred === undefined) return store.delete(key, signal);
      await store.delete(referenceKey(referred.reference.sequence), signal);
      references.forget(key);
      await referred.unpin(log);
    },
  };
}

/** The same for a store that is only looked at. */
export async function withReferencesToRead(store: ReadableStore, open: OpenReferred): Promise<ReadableStore> {
  const references = await References.of(store, open);
  return references === undefined ? store : referringReads(store, references);
}

function referringReads(store: ReadableStore, references: References): ReadableStore {
  return {
    url: store.url,
    get: async (key, signal) => {
      const referred = references.get(key);
      return referred === undefined
        ? store.get(key, signal)
        : referred.read((other) => other.get(key, signal));
    },
    getRange: async (key, offset, length, signal) => {
      const referred = references.get(key);
      return referred === undefined
        ? store.getRange(key, offset, length, signal)
        : referred.read((other) => other.getRange(key, offset, length, signal));
    },
    list: (prefix, startAfter) =>
      prefix.startsWith(SNAPSHOTS_PREFIX) || SNAPSHOTS_PREFIX.startsWith(prefix)
        ? references.list(prefix, startAfter)
        : store.list(prefix, startAfter),
    close: async () => {
      await references.close();
      await store.close();
    },
  };
}

class References {
  readonly #store: ReadableStore;
  readonly #open: OpenReferred;
  readonly #opened: Promise<ObjectStore>[] = [];
  #referred = new Map<string, Referred>();

  private constructor(store: ReadableStore, open: OpenReferred) {
    this.#store = store;
    this.#open = (url) => {
      const opened = open(url);
      this.#opened.push(opened);
      return opened;
    };
  }

  /** Undefined when there are none. */
  static async of(store: ReadableStore, open: OpenReferred): Promise<References | undefined> {
    const references = new References(store, open);
    await references.#refresh();
    return references.#referred.size === 0 ? undefined : references;
  }

  get(key: string): Referred | undefined {
    return this.#referred.get(key);
  }

  forget(key: string): void {
    this.#referred.delete(key);
  }

  /** With what is referred to now: another process may have dropped a reference. */
  async *list(prefix: string, startAfter?: string): AsyncIterable<ObjectInfo> {
    await this.#refresh();
    const isAsked = ({ key }: ObjectInfo): boolean =>
      key.startsWith(prefix) && (startAfter === undefined || compareKeys(key, startAfter) > 0);
    const others = [...this.#referred.values()].map(({ info }) => info).filter(isAsked);
    for await (const object of this.#store.list(prefix, startAfter)) {
      while (others[0] !== undefined && compareKeys(others[0].key, object.key) < 0) yield others.shift()!;
      if (!this.#referred.has(object.key)) yield object;
    }
    yield* others;
  }

  async close(): Promise<void> {
    for (const opened of this.#opened) await (await opened).close();
  }

  async #refresh(): Promise<void> {
    const found = new Map<string, Referred>();
    for await (const { key: name, modifiedMs } of this.#store.list(REFERENCES_PREFIX)) {
      const sequence = parseReferenceKey(name);
      if (sequence === undefined) continue;
      const key = snapshotKey(sequence);
      const known = this.#referred.get(key);
      const reference = known?.reference ?? (await readReference(this.#store, sequence));
      if (reference === undefined) continue;
      const info = { key, size: reference.size, modifiedMs };
      found.set(key, known ?? new Referred(this.#store.url, reference, info, this.#open));
    }
    this.#referred = found;
  }
}

/** A snapshot that stands in another store. That is not asked before it is read. */
class Referred {
  readonly reference: Reference;
  readonly info: ObjectInfo;
  readonly #from: string;
  readonly #open: OpenReferred;
  #opened: Promise<ObjectStore> | undefined;
  #checked = false;

  constructor(from: string, reference: Reference, info: ObjectInfo, open: OpenReferred) {
    this.#from = from;
    this.reference = reference;
    this.info = info;
    this.#open = open;
  }

  async read(action: (store: ObjectStore) => Promise<Uint8Array | undefined>): Promise<Uint8Array> {
    const store = await this.#store();
    try {
      if (!this.#checked) await checkReferred(store, this.reference);
      this.#checked = true;
      const bytes = await action(store);
      if (bytes === undefined) throw gone(this.reference);
      return bytes;
    } catch (error) {
      if (!(error instanceof StoreError)) throw error;
      const { kind, message } = error;
      const advice =
        kind === 'fatal' ? '' : '; it must be there, and readable with the credentials of this store';
      throw new StoreError(
        kind,
        `${this.#from} is a fork that still needs ${this.info.key} of ${this.reference.url}: ${message}${advice}`,
        { cause: error },
      );
    }
  }

  /** Lets the other store delete the snapshot. One that stays only keeps it there. */
  async unpin(log: Log): Promise<void> {
    const { url, pin } = this.reference;
    try {
      await (await this.#store()).delete(pin);
    } catch (error) {
      const fields = { store: url, pin, error: errorMessage(error) };
      log.warn('could not delete a pin that is no longer needed: delete it by hand', fields);
    }
  }

  #store(): Promise<ObjectStore> {
    this.#opened ??= this.#open(this.reference.url);
    return this.#opened;
  }
}

/** Rejects with a StoreError unless `store` has the snapshot, and it is the one that was referred to. */
export async function checkReferred(store: ReadableStore, reference: Reference): Promise<void> {
  const key = snapshotKey(reference.sequence);
  const bytes = await store.getRange(key, 0, HEADER_BYTES_MAX);
  if (bytes === undefined) throw gone(reference);
  if (headerCrcOf(bytes, key) === reference.headerCrc) return;
  throw new StoreError('fatal', 'another object has that name now; restore a version of the bucket');
}

function headerCrcOf(bytes: Uint8Array, key: string): string | undefined {
  try {
    return hex64(decodeHeader(bytes, key).header.crc);
  } catch (error) {
    if (error instanceof CorruptFileError) return undefined;
    throw error;
  }
}

function gone({ url }: Reference): StoreError {
  return new StoreError(
    'fatal',
    `it is gone from ${url}; restore it from a backup or a version of the bucket`,
  );
}
