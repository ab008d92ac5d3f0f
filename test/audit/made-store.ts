import { cpSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { create, type DescMessage, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import Database from 'better-sqlite3';
import { encodeLease } from '../../src/main/cluster/lease-record.ts';
import {
  CompactionRequestSchema,
  DeleteRangeRequestSchema,
  LeaseGrantRequestSchema,
  LeaseRevokeRequestSchema,
  PutRequestSchema,
} from '../../src/shared/etcd/gen/etcdserverpb/rpc_pb.ts';
import { encodeChunk } from '../../src/shared/format/chunk.ts';
import { chunkKey, leaseKey, snapshotKey } from '../../src/shared/format/names.ts';
import { PIPELINE_DEPTH_MAX } from '../../src/shared/model/limits.ts';
import { type LogRecord, Operation, operationRecord, systemRecord } from '../../src/shared/model/record.ts';
import { WriteKind } from '../../src/workers/contract/writer.ts';
import { openChunk } from '../../src/workers/task/open.ts';
import { MemoryStore } from '../support/memory-store.ts';
import { temporaryDirectory } from '../support/netsy.ts';
import { Seeded } from '../support/seeded.ts';
import { snapshotObject } from '../support/snapshots.ts';
import { LocalWriter, type Write } from '../workers/local-writer.ts';

const CREATED_AT_MS = 1_790_000_000_000;
const LEASES = [1n, 2n ** 62n + 1n, -3n];

function request<T extends DescMessage>(kind: WriteKind, schema: T, message: MessageInitShape<T>): Write {
  return { kind, request: toBinary(schema, create(schema, message)) };
}

/**
 * A log as primaries one after the other would have left it, with everything that a log can hold: made by the code
 * that servers run, in memory, from a seed.
 */
export class MadeStore {
  readonly store = new MemoryStore();
  readonly seeded: Seeded;
  /** Chunks of the log, and snapshots. */
  readonly chunks: number[] = [];
  readonly snapshots: number[] = [];
  /** What no reader of the log reads. */
  readonly stragglers: number[] = [];
  readonly #clusterId: bigint;
  readonly #writer = new LocalWriter();
  #epoch = 0;
  #crc = 0n;
  #next = 1;

  constructor(seed: number) {
    this.seeded = new Seeded(seed);
    this.#clusterId = BigInt(seed) + 7n;
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** The store's. */
  revision(): number {
    const [position] = this.#writer.dump()['log_position'] as { revision: number }[];
    return position!.revision;
  }

  close(): void {
    this.#writer.close();
  }

  /** So many chunks, of several epochs, and a snapshot after about every tenth. */
  static async random(seed: number, chunks: number): Promise<MadeStore> {
    const made = new MadeStore(seed);
    const { seeded } = made;
    await made.claim();
    while (made.chunks.length < chunks) {
      if (seeded.fraction() < 0.05) await made.claim();
      else await made.write(Array.from({ length: seeded.integer(1, 5) }, () => made.#randomWrite()));
      if (seeded.fraction() < 0.3) made.compactRows(seeded.integer(0, 3));
      if (seeded.fraction() < 0.1) await made.snapshot();
    }
    await made.lease();
    return made;
  }

  /** A new primary takes the log over; the one before may have left some that nobody reads. */
  async claim(before: readonly LogRecord[] = []): Promise<void> {
    const sequence = this.#next;
    const skipTo = sequence + PIPELINE_DEPTH_MAX + 1;
    const epoch = { epoch: this.#epoch + 1, skipTo, holder: 'test', clusterId: this.#clusterId };
    const entry = { name: 'other/entry', value: Buffer.from([this.#epoch]) };
    const straggles = this.#epoch > 0 ? this.seeded.integer(0, 4) : 0;
    for (let count = 1; count <= straggles; count++) await this.#straggle(sequence + count);
    this.#epoch++;
    await this.append([
      ...before,
      { ...operationRecord(Operation.Epoch, CREATED_AT_MS), epoch },
      systemRecord(entry, CREATED_AT_MS),
    ]);
    this.#next = skipTo;
    this.#writer.begin();
  }

  /** A chunk of these records, that the state is made to have followed. */
  async append(records: LogRecord[]): Promise<void> {
    const sequence = this.#next;
    const object = this.#encode(sequence, this.#crc, records);
    await this.store.putIfAbsent(chunkKey(sequence), object);
    const chunk = await openChunk(chunkKey(sequence), sequence, object);
    this.#writer.load([chunk]);
    this.#crc = chunk.crc;
    this.chunks.push(sequence);
    this.#next = sequence + 1;
  }

  /** The same as the one that `append` would put next, which the state knows nothing of. */
  async putUnapplied(records: LogRecord[]): Promise<number> {
    const sequence = this.#next;
    await this.store.putIfAbsent(chunkKey(sequence), this.#encode(sequence, this.#crc, records));
    return sequence;
  }

  async write(writes: readonly Write[]): Promise<void> {
    const before = this.#writer.chunks.length;
    this.#writer.evaluate(writes);
    const chunk = this.#writer.chunks[before];
    if (chunk === undefined) return;
    const { sequence, header, body } = chunk;
    const object = Buffer.concat([header, body]);
    await this.store.putIfAbsent(chunkKey(sequence), object);
    this.#writer.apply(sequence);
    this.#crc = (await openChunk(chunkKey(sequence), sequence, object)).crc;
    this.chunks.push(sequence);
    this.#next = sequence + 1;
  }

  async put(key: string, value: string): Promise<void> {
    const message = { key: Buffer.from(key), value: Buffer.from(value) };
    await this.write([request(WriteKind.Put, PutRequestSchema, message)]);
  }

  /** Does so many slices of the removal of what was compacted. */
  compactRows(slices: number): void {
    this.#writer.idle(slices);
  }

  /** `tamper`: SQL that changes the state that it is made of; its CRCs will be right. */
  async snapshot(tamper?: string): Promise<number> {
    const file = tamper === undefined ? this.#writer.file : tampered(this.#writer.file, tamper);
    const { sequence, object } = await snapshotObject(file);
    await this.store.put(snapshotKey(sequence), object);
    if (this.snapshots[this.snapshots.length - 1] !== sequence) this.snapshots.push(sequence);
    return sequence;
  }

  /** What the primary says when it goes. */
  async lease(): Promise<void> {
    const record = {
      holder: 'a1',
      process: 'b2',
      ttlMs: 10_000,
      released: true,
      name: 'test',
      clientUrls: [],
    };
    const sequence = this.chunks[this.chunks.length - 1]!;
    await this.store.put(leaseKey(1), encodeLease(1, { ...record, sequence }));
  }

  /** A copy of what is stored, to be damaged. */
  async copy(): Promise<MemoryStore> {
    const copied = new MemoryStore();
    for await (const { key } of this.store.list('')) {
      // A Buffer's own slice would be a view.
      await copied.put(key, Uint8Array.from((await this.store.get(key))!));
    }
    return copied;
  }

  async #straggle(sequence: number): Promise<void> {
    await this.store.putIfAbsent(chunkKey(sequence), this.#encode(sequence, 0xbadn, []));
    this.stragglers.push(sequence);
  }

  #encode(sequence: number, previousChunkCrc: bigint, records: LogRecord[]): Uint8Array {
    return encodeChunk(
      {
        leaderId: 'test',
        createdAtMs: CREATED_AT_MS,
        sequence,
        epoch: this.#epoch,
        previousChunkCrc,
        nonce: BigInt(sequence),
      },
      records,
    ).bytes;
  }

  #randomWrite(): Write {
    const { seeded } = this;
    const key = Buffer.from(seeded.pick(['a', 'aa', 'b', 'c', 'd']));
    const die = seeded.integer(0, 16);
    if (die < 9) {
      const value = Buffer.from(seeded.text(seeded.integer(0, 60)));
      const lease = seeded.pick([0n, 0n, 0n, 1n, -3n]);
      return request(WriteKind.Put, PutRequestSchema, { key, value, lease });
    }
    if (die < 12) {
      const rangeEnd = Buffer.from(seeded.pick(['', 'b', 'c']));
      return request(WriteKind.DeleteRange, DeleteRangeRequestSchema, { key, rangeEnd });
    }
    const ID = seeded.pick(LEASES);
    if (die < 14) return request(WriteKind.LeaseGrant, LeaseGrantRequestSchema, { ID, TTL: 60n });
    if (die < 15) return request(WriteKind.LeaseRevoke, LeaseRevokeRequestSchema, { ID });
    const revision = BigInt(seeded.integer(1, this.chunks.length + 2));
    return request(WriteKind.Compact, CompactionRequestSchema, { revision });
  }
}

/** A copy of a cache in which something is changed. */
function tampered(file: string, sql: string): string {
  const copied = join(temporaryDirectory(), 'tampered.sqlite');
  for (const suffix of ['', '-wal']) if (existsSync(file + suffix)) cpSync(file + suffix, copied + suffix);
  const connection = new Database(copied);
  connection.exec(sql);
  connection.close();
  return copied;
}
