import type { Clock } from '../../shared/base/clock.ts';
import { type Random, randomId } from '../../shared/base/random.ts';
import { claimAt, encodeChunk } from '../../shared/format/chunk.ts';
import { decodeHeader } from '../../shared/format/decode.ts';
import { type DecodedHeader, FileCompression } from '../../shared/format/file.ts';
import { CHUNKS_PREFIX, chunkKey, SNAPSHOTS_PREFIX } from '../../shared/format/names.ts';
import { type LogRecord, Operation, operationRecord } from '../../shared/model/record.ts';
import type { ObjectStore } from '../store/store.ts';
import type { DatabaseSummary } from './contents.ts';

/**
 * Writes what another server holds as a log into an empty store. What makes it safe:
 *
 * 1. The whole source is read and checked before anything is written.
 * 2. The log of an import has no epoch until its last chunk, which is put when all others are durable. Recovery refuses a
 *    log without an epoch, so that what stopped halfway is never served, and never claimed by a server.
 * 3. The chunks follow from the source and the time in the first one. So the same import, run again after any end, meets
 *    its own chunks, which are left as they are, and goes on where it stopped. Another source gives other chunks (each
 *    has the source's digest as its nonce) and is refused.
 */

/** The store holds something else. */
class StoreInUseError extends Error {
  override name = 'StoreInUseError';
}

/** Chunks are closed when they reach this, at the end of a revision if that is not far. */
const CHUNK_BYTES = 4 * 1024 * 1024;
const CHUNK_BYTES_MAX = 32 * 1024 * 1024;
const CHUNK_RECORDS = 50_000;
/** What a record takes beside its key and value, about. */
const RECORD_BYTES = 64;
const COMPRESS_BYTES_MIN = 16 * 1024;
const UPLOADS_MAX = 4;
const PROGRESS_EVERY_MS = 2000;
const WRITER = 'netsy import';
const FIRST_EPOCH = 1;

/** What is imported: it was read and checked. */
export interface ImportSource {
  /** Of its contents. */
  readonly sha256: Buffer;
  /** Reads and checks all of it. */
  summarize(): DatabaseSummary;
  /** In the log's order, without the records that end an import; `createdAtMs` where the source has no times. */
  records(createdAtMs: number): Iterable<LogRecord> | AsyncIterable<LogRecord>;
  /** `error` with the source's name, if it is about the source. */
  located(error: unknown): unknown;
  /** Other records came than were summed up. */
  changed(): Error;
}

export interface ImportParts {
  readonly source: ImportSource;
  readonly store: ObjectStore;
  append(key: string, object: Uint8Array): Promise<'durable' | 'lost'>;
  compress(body: Uint8Array): Promise<Uint8Array>;
  readonly clock: Clock;
  readonly random: Random;
  progress(done: ImportProgress): void;
}

interface ImportProgress {
  readonly records: number;
  readonly recordsTotal: number;
  readonly chunks: number;
}

export interface ImportResult extends DatabaseSummary {
  readonly chunks: number;
  /** Whether an earlier run had begun it. */
  readonly resumed: boolean;
}

/** Resolves when the store holds all of it. Rejects with an Error whose one line says what to change. */
export async function importDatabase(parts: ImportParts): Promise<ImportResult> {
  try {
    const begunAtMs = await beginning(parts);
    const summary = parts.source.summarize();
    const createdAtMs = begunAtMs ?? parts.clock.wallMs();
    const chunks = await new ImportLog(parts, createdAtMs).write(summary);
    return { ...summary, chunks, resumed: begunAtMs !== undefined };
  } catch (error) {
    throw parts.source.located(error);
  }
}

/** When the import that the store holds the beginning of was begun; undefined for an empty store. */
async function beginning({ store, source }: ImportParts): Promise<number | undefined> {
  let last: string | undefined;
  for (const prefix of [CHUNKS_PREFIX, SNAPSHOTS_PREFIX]) {
    for await (const { key } of store.list(prefix)) last = key;
  }
  if (last === undefined) return undefined;
  const first = chunkKey(1);
  const [firstHeader, lastHeader] = [await headerOf(store, first), await headerOf(store, last)];
  if (firstHeader === undefined || lastHeader === undefined || lastHeader.epoch > 0) {
    throw new StoreInUseError(
      `${store.url} is not empty (it holds ${last}): an import needs a store, or a prefix, of its own`,
    );
  }
  if (firstHeader.epoch > 0 || firstHeader.nonce !== nonceOf(source)) throw anotherImport(store);
  return firstHeader.createdAtMs;
}

/** The header of a chunk; undefined if the object is none. */
async function headerOf(store: ObjectStore, key: string): Promise<DecodedHeader | undefined> {
  const object = key.startsWith(CHUNKS_PREFIX) ? await store.get(key) : undefined;
  try {
    return object && decodeHeader(object, key).header;
  } catch {
    return undefined;
  }
}

function anotherImport(store: ObjectStore): StoreInUseError {
  return new StoreInUseError(
    `${store.url} holds an import of something else, or by another version of netsy, that did not end: ` +
      'run that one again, or empty the store',
  );
}

function nonceOf({ sha256 }: ImportSource): bigint {
  return sha256.readBigUInt64LE();
}

/** The log under construction. */
class ImportLog {
  readonly #parts: ImportParts;
  readonly #createdAtMs: number;
  #sequence = 0;
  #crc = 0n;
  #records: LogRecord[] = [];
  #bytes = 0;
  #keyValues = 0;
  readonly #uploads = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;
  #shownAtMs: number;

  constructor(parts: ImportParts, createdAtMs: number) {
    this.#parts = parts;
    this.#createdAtMs = createdAtMs;
    this.#shownAtMs = parts.clock.monotonicMs();
  }

  /** Gives the number of chunks. */
  async write(summary: DatabaseSummary): Promise<number> {
    for await (const record of this.#parts.source.records(this.#createdAtMs)) {
      if (this.#isFull(record)) await this.#putChunk();
      // What the source's reader gives is a view of far more.
      this.#records.push({ ...record, key: record.key.slice(), value: record.value.slice() });
      this.#bytes += record.key.length + record.value.length + RECORD_BYTES;
      if (record.operation === Operation.KeyValue) this.#keyValues++;
      this.#show(summary);
    }
    if (this.#records.length > 0) await this.#putChunk();
    await this.#settled(0);
    if (this.#keyValues !== summary.records) throw this.#parts.source.changed();
    this.#records = this.#ending(summary);
    await this.#putChunk(FIRST_EPOCH);
    await this.#settled(0);
    return this.#sequence;
  }

  /** Whether `next` belongs into another chunk. A revision is kept together unless it is very large. */
  #isFull(next: LogRecord): boolean {
    if (this.#bytes < CHUNK_BYTES && this.#records.length < CHUNK_RECORDS) return false;
    const last = this.#records[this.#records.length - 1];
    return last?.revision !== next.revision || next.revision === 0 || this.#bytes >= CHUNK_BYTES_MAX;
  }

  /** The records that make the log whole: compaction, what was imported, and the claim of the first epoch. */
  #ending({ compactRevision, revision, records, leases }: DatabaseSummary): LogRecord[] {
    const record = (operation: Operation): LogRecord => operationRecord(operation, this.#createdAtMs);
    const compaction =
      compactRevision === undefined ? [] : [{ ...record(Operation.Compaction), compactRevision }];
    const importEnd = { revision, records, leases };
    const clusterId = randomId(this.#parts.random);
    const epoch = claimAt(this.#sequence + 1, { epoch: FIRST_EPOCH, holder: WRITER, clusterId });
    return [
      ...compaction,
      { ...record(Operation.ImportEnd), importEnd },
      { ...record(Operation.Epoch), epoch },
    ];
  }

  /** Encodes the gathered records and begins their upload; waits while too many are under way. */
  async #putChunk(epoch = 0): Promise<void> {
    const compress = this.#bytes >= COMPRESS_BYTES_MIN;
    const sequence = ++this.#sequence;
    const encoded = encodeChunk(
      {
        leaderId: WRITER,
        createdAtMs: this.#createdAtMs,
        sequence,
        epoch,
        previousChunkCrc: this.#crc,
        nonce: nonceOf(this.#parts.source),
      },
      this.#records,
      compress ? FileCompression.Zstd : FileCompression.None,
    );
    this.#crc = encoded.crc;
    this.#records = [];
    this.#bytes = 0;
    const frame = compress ? await this.#parts.compress(encoded.body) : encoded.body;
    this.#upload(chunkKey(sequence), Buffer.concat([encoded.header, frame]));
    // The first chunk stands for the import: before it there must be no other.
    await this.#settled(sequence === 1 ? 0 : UPLOADS_MAX - 1);
  }

  #upload(key: string, object: Uint8Array): void {
    const upload = this.#parts
      .append(key, object)
      .then((outcome) => {
        if (outcome === 'lost') throw anotherImport(this.#parts.store);
      })
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#uploads.delete(upload));
    this.#uploads.add(upload);
  }

  /** Resolves when at most `underWay` uploads are; throws what one of them failed with. */
  async #settled(underWay: number): Promise<void> {
    while (this.#uploads.size > underWay) await Promise.race(this.#uploads);
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #show({ records: recordsTotal }: DatabaseSummary): void {
    const { clock, progress } = this.#parts;
    if (this.#keyValues % 1000 !== 0 || clock.monotonicMs() - this.#shownAtMs < PROGRESS_EVERY_MS) return;
    this.#shownAtMs = clock.monotonicMs();
    progress({ records: this.#keyValues, recordsTotal, chunks: this.#sequence });
  }
}
