import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { compress } from '@mongodb-js/zstd';
import { encodeChunk } from '../../src/shared/format/chunk.ts';
import { FileCompression } from '../../src/shared/format/file.ts';
import { chunkKey, parseChunkKey } from '../../src/shared/format/names.ts';
import { PIPELINE_DEPTH_MAX } from '../../src/shared/model/limits.ts';
import { type LogRecord, Operation, operationRecord } from '../../src/shared/model/record.ts';
import { openChunk } from '../../src/workers/task/open.ts';

const CREATED_AT_MS = 1_790_000_000_000;
const ZSTD_LEVEL = 1;
/** As the server does it. */
const COMPRESS_BYTES_MIN = 64 * 1024;
/** Half of a value is random, so that it compresses about as Kubernetes' objects do. */
const RANDOM_PART = 0.5;

/** The states of the keys, as far as their next records need them. */
interface KeyState {
  createRevision: number;
  modRevision: number;
  version: number;
}

/** Writes a directory store's log from outside, far faster than clients could. No server may run on it. */
export class LogWriter {
  readonly #directory: string;
  readonly #keys = new Map<number, KeyState>();
  #revision = 1;
  #sequence = 0;
  #crc = 0n;
  #next = 1;

  constructor(store: string) {
    this.#directory = store;
    mkdirSync(join(store, 'chunks'), { recursive: true });
  }

  /** Goes on after what servers wrote meanwhile, which may be epoch chunks only. */
  async goOn(): Promise<void> {
    for (const name of readdirSync(join(this.#directory, 'chunks')).sort()) {
      const sequence = parseChunkKey(`chunks/${name}`);
      if (sequence === undefined || sequence <= this.#sequence) continue;
      const object = readFileSync(join(this.#directory, chunkKey(sequence)));
      const { crc, skipTo } = await openChunk(name, sequence, object);
      this.#sequence = sequence;
      this.#crc = crc;
      this.#next = skipTo ?? sequence + 1;
    }
  }

  /** The first chunk of a store. */
  async begin(): Promise<void> {
    const skipTo = 1 + PIPELINE_DEPTH_MAX + 1;
    const epoch = { epoch: 1, skipTo, holder: 'bench', clusterId: 7n };
    await this.#append([{ ...operationRecord(Operation.Epoch, CREATED_AT_MS), epoch }]);
    this.#next = skipTo;
  }

  /** One chunk that writes these keys, each in a revision of its own. */
  async put(keys: readonly number[], valueBytes: number): Promise<void> {
    await this.#append(keys.map((key) => this.#record(key, valueBytes)));
  }

  #record(key: number, valueBytes: number): LogRecord {
    const revision = ++this.#revision;
    const before = this.#keys.get(key);
    const version = (before?.version ?? 0) + 1;
    const createRevision = before?.createRevision ?? revision;
    this.#keys.set(key, { createRevision, modRevision: revision, version });
    return {
      operation: Operation.KeyValue,
      revision,
      sub: 0,
      key: Buffer.from(`/registry/pods/namespace-${key % 100}/pod-${String(key).padStart(9, '0')}`),
      created: before === undefined,
      deleted: false,
      createRevision,
      prevRevision: before?.modRevision ?? 0,
      version,
      lease: 0n,
      value: valueAt(valueBytes, revision),
      createdAtMs: CREATED_AT_MS,
    };
  }

  async #append(records: LogRecord[]): Promise<void> {
    const sequence = this.#next;
    const bytes = records.reduce((sum, { key, value }) => sum + key.length + value.length, 0);
    const compressed = bytes >= COMPRESS_BYTES_MIN;
    const file = encodeChunk(
      {
        leaderId: 'bench',
        createdAtMs: CREATED_AT_MS,
        sequence,
        epoch: 1,
        previousChunkCrc: this.#crc,
        nonce: BigInt(sequence),
      },
      records,
      compressed ? FileCompression.Zstd : FileCompression.None,
    );
    const body = compressed ? await compress(Buffer.from(file.body), ZSTD_LEVEL) : file.body;
    writeFileSync(join(this.#directory, chunkKey(sequence)), Buffer.concat([file.header, body]));
    this.#sequence = sequence;
    this.#crc = file.crc;
    this.#next = sequence + 1;
  }
}

const random = Buffer.alloc(1024 * 1024);
for (let at = 0, state = 1; at < random.length; at += 4) {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
  random.writeInt32LE(state ^ (state >>> 13), at);
}

function valueAt(bytes: number, revision: number): Buffer {
  const value = Buffer.alloc(bytes, 'x');
  const length = Math.floor(bytes * RANDOM_PART);
  const from = Math.imul(revision, 7919) & 0x7fff_ffff;
  random.copy(value, 0, from % (random.length - length), (from % (random.length - length)) + length);
  return value;
}
