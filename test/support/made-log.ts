import type { ObjectStore } from '../../src/main/store/store.ts';
import { encodeChunk } from '../../src/shared/format/chunk.ts';
import { FileCompression } from '../../src/shared/format/file.ts';
import { chunkKey } from '../../src/shared/format/names.ts';
import { PIPELINE_DEPTH_MAX } from '../../src/shared/model/limits.ts';
import { type LogRecord, Operation, operationRecord } from '../../src/shared/model/record.ts';
import type { LogPosition } from '../../src/workers/contract/writer.ts';
import { compressBody } from '../../src/workers/task/compress.ts';

/** Where a process stands that has read nothing yet. */
export const EMPTY_LOG: LogPosition = {
  sequence: 0,
  chunkCrc: 0n,
  nextSequence: 1,
  epoch: 0,
  clusterId: 0n,
  revision: 1,
  compactRevision: -1,
};

const CREATED_AT_MS = 1_790_000_000_000;

/** Writes a log's chunks into a store, as primaries one after the other would have, without running any. */
export class MadeLog {
  readonly store: ObjectStore;
  /** Of the log's chunks so far. */
  readonly sequences: number[] = [];
  /** By the clock of whoever writes now. */
  createdAtMs = CREATED_AT_MS;
  #crc = 0n;
  #next = 1;
  #epoch = 0;
  #revision = 1;
  #nonce = 0n;
  readonly #keys = new Map<string, Pick<LogRecord, 'createRevision' | 'revision' | 'version'>>();

  constructor(store: ObjectStore) {
    this.store = store;
  }

  get next(): number {
    return this.#next;
  }

  get revision(): number {
    return this.#revision;
  }

  /** A new primary takes the log over. */
  async claim(): Promise<void> {
    this.#epoch++;
    const skipTo = this.#next + PIPELINE_DEPTH_MAX + 1;
    const epoch = { epoch: this.#epoch, skipTo, holder: 'a1', clusterId: 7n };
    await this.#append([{ ...operationRecord(Operation.Epoch, CREATED_AT_MS), epoch }]);
    this.#next = skipTo;
  }

  /** One chunk that puts these keys (or deletes those whose value is undefined), each in a revision of its own. */
  async write(entries: readonly (readonly [key: string, value: string | undefined])[]): Promise<void> {
    await this.#append(entries.flatMap(([key, value]) => this.#record(key, value)));
  }

  /** What a fenced process of an epoch before the last left at `sequence`: no part of the log. */
  async straggle(sequence: number): Promise<void> {
    const { object } = await this.#encode(sequence, 0xbadn, []);
    await this.store.putIfAbsent(chunkKey(sequence), object);
  }

  #record(key: string, value: string | undefined): LogRecord[] {
    const before = this.#keys.get(key);
    if (value === undefined && before === undefined) return [];
    const revision = ++this.#revision;
    const version = value === undefined ? 0 : (before?.version ?? 0) + 1;
    const createRevision = value === undefined ? 0 : (before?.createRevision ?? revision);
    if (value === undefined) this.#keys.delete(key);
    else this.#keys.set(key, { createRevision, revision, version });
    return [
      {
        operation: Operation.KeyValue,
        revision,
        sub: 0,
        key: Buffer.from(key),
        created: before === undefined,
        deleted: value === undefined,
        createRevision,
        prevRevision: before?.revision ?? 0,
        version,
        lease: 0n,
        value: Buffer.from(value ?? ''),
        createdAtMs: CREATED_AT_MS,
      },
    ];
  }

  async #append(records: LogRecord[]): Promise<void> {
    const sequence = this.#next;
    const { object, crc } = await this.#encode(sequence, this.#crc, records);
    await this.store.putIfAbsent(chunkKey(sequence), object);
    this.sequences.push(sequence);
    this.#crc = crc;
    this.#next = sequence + 1;
  }

  async #encode(
    sequence: number,
    previousChunkCrc: bigint,
    records: LogRecord[],
  ): Promise<{ object: Uint8Array; crc: bigint }> {
    const nonce = ++this.#nonce;
    const compress = nonce % 3n === 0n;
    const file = encodeChunk(
      {
        leaderId: 'a1',
        createdAtMs: this.createdAtMs,
        sequence,
        epoch: this.#epoch,
        previousChunkCrc,
        nonce,
      },
      records,
      compress ? FileCompression.Zstd : FileCompression.None,
    );
    if (!compress) return { object: file.bytes, crc: file.crc };
    const body = await compressBody(file.body, 1);
    return { object: Buffer.concat([file.header, body]), crc: file.crc };
  }
}
